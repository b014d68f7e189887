"""What is compared on photographs and on drawings, as data; and networks that run once for each image."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from semcorr.errors import SettingsError, suggest
from semcorr.evaluation.runs.baselines import BASELINES
from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.features import FeatureMatcher
from semcorr.matchers.spec import MatcherSpec
from semcorr.models.cnn import ConvolutionalModel
from semcorr.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One row of the tables.

    Attributes:
        name: Its name in tables and for ``--only``.
        method: A method, or a baseline of :data:`semcorr.evaluation.runs.baselines.BASELINES`.
        model: The network; None for the method's own.
        preset: None for the method's usual one.
        options: Settings that differ from the preset's, and wrappers such as ``align_pose``.
        timed: Whether its time is measured.
        every: Only every so many-th image is a target of a transfer, except for the main configuration.
        only_on: The sets that it is measured on; all if empty.
    """

    name: str
    method: str = "hypercolumn"
    model: str | None = None
    preset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    timed: bool = False
    every: int = 6
    only_on: tuple[str, ...] = ()

    @property
    def is_baseline(self) -> bool:
        """Whether it is a guess without a network."""
        return self.method in BASELINES

    def spec(self) -> MatcherSpec:
        """Return what is loaded for it."""
        return MatcherSpec(method=self.method, model=self.model, preset=self.preset, options=self.options)


_KEPT = 24
"""Images whose features are kept: those of a sub-class and their mirror images."""

MAIN = "hypercolumn"
"""The configuration that is measured with all numbers of supports and all targets, and whose confidence is shown."""

CONFIGURATIONS: tuple[Configuration, ...] = (
    Configuration(name=MAIN, timed=True),
    Configuration(name="peak: cell", options={"peak": "cell"}),
    Configuration(name="not centred", options={"centred": False}),
    Configuration(name="block 10 at 512 alone", options={"layers": ("10@512",)}),
    Configuration(name="block 14 at 512 alone", options={"layers": ("14@512",)}),
    Configuration(name="not turned", options={"turns": 1}, only_on=("mouse",)),
    Configuration(name="not enlarged", options={"enlarge": 1}, only_on=("PF-WILLOW", "mouse")),
    Configuration(name="mirror images too", options={"align_pose": True}, timed=True),
    Configuration(name="no geometric prior", options={"prior": "none"}, timed=True),
    Configuration(name="no prior, peak: soft", options={"prior": "none", "peak": "soft", "window": 2}),
    Configuration(name="no prior, peak: parabola", options={"prior": "none", "peak": "parabola"}),
    Configuration(name="no prior, peak: cell", options={"prior": "none", "peak": "cell"}),
    Configuration(name="no prior, not centred", options={"prior": "none", "centred": False}),
    Configuration(name="moving least squares", method="nbb-hypercolumn", options={"levels": 1, "grid": 32}, timed=True),
    Configuration(name="neural best buddies", method="nbb-hypercolumn", options={"grid": 32}, timed=True),
    Configuration(name="same position", method="same-position"),
    Configuration(name="same position in the box", method="same-box-position"),
)
"""What is compared on photographs, the main one first."""

TOY_CONFIGURATIONS: tuple[Configuration, ...] = (
    Configuration(name="dift", method="dift", model="toy"),
    Configuration(name="peak: gaussian", method="dift", model="toy", options={"peak": "gaussian"}),
    Configuration(name="geometric prior", method="dift", model="toy", options={"prior": "affine"}),
    Configuration(
        name="geometric prior, peak: gaussian",
        method="dift",
        model="toy",
        options={"prior": "affine", "peak": "gaussian"},
    ),
    Configuration(name="moving least squares", method="nbb", model="toy", options={"levels": 1}),
    Configuration(name="neural best buddies", method="nbb", model="toy"),
)
"""The same matching layer on the features of the toy model; of attention, only how a peak is refined can differ, which
:mod:`benchmarks.peak_refinement` measures."""


def chosen(configurations: Sequence[Configuration], only: Sequence[str]) -> list[Configuration]:
    """Return the configurations of these names, or all.

    Raises:
        SettingsError: There is none of a name.
    """
    known = [one.name for one in configurations]
    for name in only:
        if name not in known:
            raise SettingsError(f"Unknown configuration {name!r}.{suggest(name, known)} Known: {', '.join(known)}.")
    return [one for one in configurations if not only or one.name in only]


class RememberedFeatures:
    """Outputs of convolutional networks, each computed once for an image whatever is done with it.

    Configurations that differ in how they match share the same passes of the network. What a method makes of them is
    larger: of the configuration that was attached last, the features of the last images are kept, since pairs of one
    sub-class use the same images again and again.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int, int], Float[Tensor, "_channels _rows _columns"]] = {}
        self._last: dict[tuple[str, str], Tensor] = {}

    def clear(self) -> None:
        """Forget everything, before other images come."""
        self._known.clear()

    def attach(self, matcher: Matcher) -> Matcher:
        """Have a matcher's network, where it is convolutional, run only for what is not known; return the matcher."""
        method = matcher.unwrapped
        if isinstance(method, FeatureMatcher) and isinstance(method.model, ConvolutionalModel):
            method.model.block_outputs = self._remembering(method.model)  # type: ignore[method-assign]  # of this one
            self._last.clear()
            method.features = self._keeping(method)  # type: ignore[method-assign]
        return matcher

    def _remembering(self, model: ConvolutionalModel) -> Callable[..., list[Float[Tensor, "_channels _rows _columns"]]]:
        compute = model.block_outputs

        def block_outputs(
            image: Float[Tensor, "3 height width"], blocks: Sequence[int], resolution: int
        ) -> list[Float[Tensor, "_channels _rows _columns"]]:
            content = hashlib.blake2b(image.cpu().numpy().data, digest_size=16).hexdigest()
            keys = {one: (model.fingerprint, f"{tuple(image.shape)} {content}", resolution, one) for one in blocks}
            missing = [block for block, key in keys.items() if key not in self._known]
            if missing:
                self._known |= zip((keys[one] for one in missing), compute(image, missing, resolution), strict=True)
            return [self._known[keys[block]] for block in blocks]

        return block_outputs

    def _keeping(self, method: FeatureMatcher) -> Callable[..., Tensor]:
        compute, kept = method.features, self._last

        def features(
            image: Image, settings: Any, progress: Progress | None = None
        ) -> Float[Tensor, "_dim _height _width"]:
            key = (image.sha256, repr(settings))
            kept[key] = kept.pop(key) if key in kept else compute(image, settings, progress)
            if len(kept) > _KEPT:
                del kept[next(iter(kept))]
            return kept[key]

        return features
