"""Matchers by method and preset: each is loaded once and shared by all users."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path

from semcorr.errors import ModelError, SettingsError
from semcorr.matchers.base import Matcher
from semcorr.matchers.registry import EVALUATED_METHOD, find_method, methods
from semcorr.matchers.spec import MatcherSpec
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.names import BUNDLED_DRAWING_MODELS, PHOTO_MODEL, is_bundled, is_hub_id, split_variant
from semcorr.progress import Progress
from semcorr.storage.files import exists

_DRAWINGS = "toy"
"""The model of the examples."""


class LoadedMatchers:
    """Loads matchers on request, from this machine alone, and keeps them.

    Only the queue's one thread may call it: a network is large, and two users must not load it twice.

    Args:
        spec: The matcher that the page opens with, its method by name; other methods run on its model.
        keep: How many matchers are kept; a checkpoint for photographs takes gigabytes.

    Attributes:
        spec: The same.
        examples: The matcher of the page's examples, which are drawings: a model for drawings knows them alone.
    """

    def __init__(self, spec: MatcherSpec, keep: int | None = None) -> None:
        self.spec = spec
        self.examples = spec if _is_for_drawings(spec) else _on_drawings(spec)
        self._keep = keep or (12 if is_bundled(spec.model_name) else 1)
        self._loaded: OrderedDict[Hashable, Matcher] = OrderedDict()
        self._loaded_for_examples: OrderedDict[Hashable, Matcher] = OrderedDict()

    def start(self, progress: Progress | None = None) -> None:
        """Load the matcher that the page opens with; its model, text encoder included, is downloaded if it is missing.

        Nothing else is ever downloaded: what a visitor selects is loaded from this machine alone.

        Raises:
            SettingsError: There is no such method, preset or setting.
            ModelError: It cannot be loaded or downloaded.
        """
        spec = self.offered(self.spec.method, self.spec.preset)
        model = str(spec.model_name)
        if not is_hub_id(split_variant(model)[0]) or exists(Path(model)):
            self.get(spec)
            return
        matcher = spec.load(progress=progress)
        try:
            if isinstance(matcher.model, DiffusionModel):
                matcher.model.text_encoder()
        except ModelError:
            # There is no text encoder. This matcher would ask the hub for it whenever a visitor uses Words.
            self.get(spec)
        else:
            self.keep(str(spec), lambda: matcher)

    def usual(self, *, example: bool = False) -> MatcherSpec:
        """The matcher of images, or of an example's: what is selected until a visitor selects something else."""
        return self.examples if example else self.spec

    def methods(self, *, example: bool = False) -> list[str]:
        """The methods that run on the model of the usual one, and need no other."""
        known, spec = methods(), self.usual(example=example)
        model = known[spec.method].default_model if spec.method in known else None
        names = [name for name, other in known.items() if other.default_model == model and other.second_model is None]
        return [*names, *([spec.method] if spec.method not in names else [])]

    def presets(self, method: str) -> list[str]:
        """A method's presets, the default first."""
        known = find_method(method)
        return [] if known is None else list(known.presets)

    def offered(self, method: str, preset: str | None, *, example: bool = False) -> MatcherSpec:
        """What a visitor selects.

        Raises:
            SettingsError: The page does not offer it.
        """
        if method not in self.methods(example=example) or (preset is not None and preset not in self.presets(method)):
            raise SettingsError(f"Expected a method and preset of the list, got {method!r}, {preset!r}.")
        return self.usual(example=example).for_method(method, preset)

    def check_finds_regions(self, method: str, *, example: bool = False) -> None:
        """Check that a method finds regions.

        Raises:
            SettingsError: It does not; the message names those that do.
        """
        if not finds_regions(method):
            others = ", ".join(filter(finds_regions, self.methods(example=example))) or "none on this model"
            raise SettingsError(f"The method {method!r} finds no regions. Choose one that does: {others}.")

    def get(self, spec: MatcherSpec) -> Matcher:
        """The matcher of what is offered, loaded if it is not there.

        Raises:
            ModelError: It cannot be loaded from this machine.
        """
        load = spec.with_options(local_files_only=True).load
        if spec.model == self.spec.model:
            return self.keep(str(spec), load)
        return _kept(self._loaded_for_examples, 12, str(spec), load)

    def keep(self, key: Hashable, load: Callable[[], Matcher]) -> Matcher:
        """The matcher of a key, loaded if it is not there; the least recently used one is dropped for it."""
        return _kept(self._loaded, self._keep, key, load)

    def network(self, *, example: bool = False) -> DiffusionModel:
        """A diffusion model, for the tab *Words*.

        Raises:
            SettingsError: The page has none for such images.
        """
        spec = self.usual(example=example)
        for matcher in self._loaded.values():
            # Another method's may be there already, which may have dropped the usual one's.
            if isinstance(matcher.model, DiffusionModel) and matcher.model.model_id == str(spec.model_name):
                return matcher.model
        network = self.get(spec).model
        if isinstance(network, DiffusionModel):
            return network
        raise SettingsError(without_words(spec))


def finds_regions(method: str) -> bool:
    """Whether a method of the page finds regions."""
    return MatcherSpec(method=method).capabilities().regions


def label_of(spec: MatcherSpec) -> str:
    """What is matched with, for the page's texts and files."""
    return f"{spec.method}{f', {spec.preset}' if spec.preset else ''}, on {model_of(spec)}"


def model_of(spec: MatcherSpec) -> str:
    """The model, for people; of a path the last part, because where it is on the server concerns no visitor."""
    name = str(spec.model_name)
    return name if is_hub_id(split_variant(name)[0]) else Path(name).name


def images_of(spec: MatcherSpec) -> str:
    """The kind of images that a model is for, for people."""
    return "drawings of the toy world, and nothing else" if _is_for_drawings(spec) else "photographs"


def without_words(spec: MatcherSpec) -> str:
    """What to do where a model has no words, for people."""
    return (
        f"Words need a text-to-image model, and {model_of(spec)!r} is none. Press an example, which has one, "
        "or start the page with --model and a Stable Diffusion checkpoint."
    )


def _is_for_drawings(spec: MatcherSpec) -> bool:
    return str(spec.model_name) in BUNDLED_DRAWING_MODELS


def _on_drawings(spec: MatcherSpec) -> MatcherSpec:
    """The page's method on the model for drawings, where it can run on it; the recommended one otherwise."""
    options = {name: spec.options[name] for name in ("device", "dtype") if name in spec.options}
    own = methods().get(spec.method)
    if own is not None and own.default_model == PHOTO_MODEL and own.second_model is None:
        return MatcherSpec(method=spec.method, model=_DRAWINGS, preset=spec.preset, options=options)
    return MatcherSpec(method=EVALUATED_METHOD, model=_DRAWINGS, options=options)


def _kept(kept: OrderedDict[Hashable, Matcher], most: int, key: Hashable, load: Callable[[], Matcher]) -> Matcher:
    if key not in kept:
        while len(kept) >= most:
            kept.popitem(last=False)
        kept[key] = load()
    kept.move_to_end(key)
    return kept[key]
