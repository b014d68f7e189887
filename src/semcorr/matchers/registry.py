"""Methods by name, and both halves of a match in one call."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from semcorr.errors import ModelError, SettingsError, suggest
from semcorr.imaging.image import ImageSource
from semcorr.matchers.base import Matcher
from semcorr.matchers.defaults import DEFAULT_METHOD
from semcorr.matchers.results import Matches
from semcorr.matchers.wrappers.calibration import calibrated
from semcorr.matchers.wrappers.float32_fallback import with_float32_fallback
from semcorr.matchers.wrappers.mirror import MirrorMatcher
from semcorr.models.names import PHOTO_MODEL, VISION_MODEL, with_variant
from semcorr.progress import Progress

PLUGINS = "semcorr.methods"
"""The entry-point group under which another package adds methods."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """Where a method is found: ``"module:function"``, imported when it is loaded, and its presets, the usual one first.

    The function is called as ``(model, preset=..., **options)`` and returns a
    :class:`semcorr.matchers.base.Matcher`. ``photo_model`` is what photographs are matched with unless another model
    is named.
    """

    loader: str
    presets: tuple[str, ...] = ()
    photo_model: str = PHOTO_MODEL


# A method's own file, and its line here.
_OWN: Mapping[str, Method] = {
    "prompt": Method(
        loader="semcorr.matchers.prompt:PromptMatcher.from_pretrained", presets=("paper", "reference", "fast")
    ),
    "attention-dift": Method(
        loader="semcorr.matchers.attention_dift:AttentionDiftMatcher.from_pretrained",
        presets=("fast", "paper", "reference"),
    ),
    "dift": Method(loader="semcorr.matchers.features:DiftMatcher.from_pretrained", presets=("published", "clean")),
    "dino": Method(
        loader="semcorr.matchers.features:DinoMatcher.from_pretrained", presets=("published",), photo_model=VISION_MODEL
    ),
    "sd-dino": Method(loader="semcorr.matchers.sd_dino:SdDinoMatcher.from_pretrained", presets=("published",)),
    "nbb": Method(loader="semcorr.matchers.features:DiftBuddyMatcher.from_pretrained", presets=("published", "clean")),
    "nbb-dino": Method(
        loader="semcorr.matchers.features:DinoBuddyMatcher.from_pretrained",
        presets=("published",),
        photo_model=VISION_MODEL,
    ),
}


@cache
def methods() -> Mapping[str, Method]:
    """Every method by name: the package's own, and those that other installed packages add.

    A package adds one by an entry point of the group ``semcorr.methods`` whose value is a :class:`Method`'s ``loader``.
    It cannot take the place of an own one.
    """
    added = {point.name: Method(loader=point.value) for point in entry_points(group=PLUGINS)}
    return {**added, **_OWN}


def find_method(name: str, *, also: Iterable[str] = ()) -> Method | None:
    """Return the method of a name; None for one of ``also``.

    Raises:
        SettingsError: there is neither.
    """
    others = list(also)
    known = [*methods(), *others]
    if name not in known:
        raise SettingsError(f"Unknown method {name!r}.{suggest(name, known)} Methods are: {', '.join(known)}.")
    return methods().get(name)


def load_matcher(
    method: str = DEFAULT_METHOD,
    model: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    *,
    variant: str | None = None,
    align_pose: bool = False,
    calibration: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Matcher:
    """Load a method by name.

    Without a method it is ``"attention-dift"``, without a model CompVis/stable-diffusion-v1-4 (facebook/dinov2-base for
    methods on DINO alone), which is downloaded the first time: the same as on the command line
    (:mod:`semcorr.matchers.defaults`). The bundled ``"toy"`` knows drawings only, and is used where it is named.

    Args:
        method: ``"prompt"``, the paper's; ``"dift"``; or whatever :func:`methods` has.
        model: a bundled name, a folder, a ``.safetensors`` file or a hub id; the method's own for photographs by
            default.
        preset: the method's settings by name; its usual ones by default.
        variant: of the model's files, such as ``"bf16"`` or ``"non_ema"``, where a folder or hub id has several; the
            same as ``model`` with a colon and the variant after it.
        align_pose: look in each target's mirror image as well, and keep the better
            (:class:`semcorr.matchers.wrappers.mirror.MirrorMatcher`).
        calibration: what makes its confidence a probability (:mod:`semcorr.matchers.wrappers.calibration`): a file; the
            package's own by default, if it has one for this very method, model and settings; ``"none"`` for none.
        **options: passed on to the method's ``from_pretrained``: ``dtype``, ``device``, ``memory_budget``, settings to
            replace, and so on. In half precision, what overflows is done in float32
            (:class:`semcorr.matchers.wrappers.float32_fallback.Float32Fallback`).

    Raises:
        SettingsError: unknown method, preset or setting.
        ModelError: the model cannot be found, read or used.
        CalibrationError: the calibration cannot be read, or is another's.
    """
    found = find_method(method)
    assert found is not None  # noqa: S101  # an unknown one is an error
    # Late: diffusers takes seconds, and names alone need none of it.
    try:
        load = EntryPoint(name=method, value=found.loader, group=PLUGINS).load()
    except (ImportError, AttributeError, ValueError) as error:
        if method in _OWN:
            raise
        raise SettingsError(
            f"Method {method!r} cannot be loaded from {found.loader!r}: {type(error).__name__}: {error}. Expected "
            "'module:function'; update or remove the package that adds it."
        ) from error
    chosen = preset or next(iter(found.presets), None)
    asked = found.photo_model if model is None else model if isinstance(model, Path) else os.fspath(model)
    try:
        matcher = with_float32_fallback(
            load, with_variant(asked, variant), {**({} if chosen is None else {"preset": chosen}), **options}
        )
    except ModelError as error:
        if model is not None:
            raise
        raise ModelError(f"{error}\nNo model was named, so it is the default of {method!r}: {asked}.") from error
    return calibrated(MirrorMatcher(matcher) if align_pose else matcher, method, calibration)


def describe_choice(method: str, model: str, preset: str | None = None) -> str:
    """Say in one line what is matched with: the method, its preset (its usual one if None) and the model."""
    found = methods().get(method)
    chosen = preset or next(iter(found.presets if found is not None else ()), None)
    return f"{method}{f' (preset {chosen})' if chosen else ''} on {model}"


def match(
    source: ImageSource,
    target: ImageSource,
    points: ArrayLike,
    *,
    method: str = DEFAULT_METHOD,
    model: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Matches:
    """Find points of one image in another: load, describe and locate in one call.

    Without a method and model they are those of :func:`load_matcher`: attention-dift on
    CompVis/stable-diffusion-v1-4, as on the command line. For several targets, or several sources, load a matcher once
    (:func:`load_matcher`) and use its two halves.

    Args:
        source: the image that the points are in.
        target: the image that they are wanted in.
        points: (N, 2): x to the right, y down, in pixels of ``source``; (0, 0) is its top-left corner.
        method: as in :func:`load_matcher`.
        model: as in :func:`load_matcher`.
        preset: as in :func:`load_matcher`.
        names: a name for each point.
        progress: called with "download", "learn" and "locate"; raise from it to stop.
        **options: as in :func:`load_matcher`.

    Raises:
        SemcorrError: as :func:`load_matcher`, and the method's ``describe`` and ``locate``.
    """
    matcher = load_matcher(method, model, preset, progress=progress, **options)
    query = matcher.describe(source, points, names=names, progress=progress)
    return matcher.locate(query, target, progress=progress)
