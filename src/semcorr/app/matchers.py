"""Matchers by method and preset: each is loaded once and shared by all users."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path

from semcorr.errors import ModelError, SettingsError
from semcorr.matchers.base import Matcher
from semcorr.matchers.registry import find_method, methods
from semcorr.matchers.spec import MatcherSpec
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.names import BUNDLED_DRAWING_MODELS, is_hub_id, split_variant
from semcorr.progress import Progress
from semcorr.storage.files import exists


class LoadedMatchers:
    """Loads matchers on request, from this machine alone, and keeps them.

    Only the queue's one thread may call it: a network is large, and two users must not load it twice.

    Args:
        spec: The matcher that the page opens with; other methods run on its model.
        keep: How many matchers are kept; a checkpoint for photographs takes gigabytes.
    """

    def __init__(self, spec: MatcherSpec, keep: int | None = None) -> None:
        self.spec = spec
        self._keep = keep or (12 if str(spec.model_name) in BUNDLED_DRAWING_MODELS else 1)
        self._loaded: OrderedDict[Hashable, Matcher] = OrderedDict()

    def start(self, progress: Progress | None = None) -> None:
        """Load the matcher that the page opens with; its model, text encoder included, is downloaded if it is missing.

        Nothing else is ever downloaded: what a visitor selects is loaded from this machine alone.

        Raises:
            SettingsError: There is no such method, preset or setting.
            ModelError: It cannot be loaded or downloaded.
        """
        spec = self._offered(self.spec.method, self.spec.preset)
        model = str(spec.model_name)
        if not is_hub_id(split_variant(model)[0]) or exists(Path(model)):
            self.get(spec.method, spec.preset)
            return
        matcher = spec.load(progress=progress)
        try:
            if isinstance(matcher.model, DiffusionModel):
                matcher.model.text_encoder()
        except ModelError:
            # There is no text encoder. This matcher would ask the hub for it whenever a visitor uses Words.
            self.get(spec.method, spec.preset)
        else:
            self.keep((spec.method, spec.preset), lambda: matcher)

    def methods(self) -> list[str]:
        """The methods that run on the model of the one that the page opens with, and need no other."""
        known = methods()
        model = known[self.spec.method].default_model if self.spec.method in known else None
        names = [name for name, other in known.items() if other.default_model == model and other.second_model is None]
        return [*names, *([self.spec.method] if self.spec.method not in names else [])]

    def presets(self, method: str) -> list[str]:
        """A method's presets, the default first."""
        known = find_method(method)
        return [] if known is None else list(known.presets)

    def get(self, method: str, preset: str | None) -> Matcher:
        """The matcher of a method and preset.

        Raises:
            SettingsError: The page does not offer it.
            ModelError: It cannot be loaded from this machine.
        """
        spec = self._offered(method, preset)
        return self.keep((spec.method, spec.preset), spec.with_options(local_files_only=True).load)

    def _offered(self, method: str, preset: str | None) -> MatcherSpec:
        if method not in self.methods() or (preset is not None and preset not in self.presets(method)):
            raise SettingsError(f"Expected a method and preset of the list, got {method!r}, {preset!r}.")
        return self.spec.for_method(method, preset)

    def keep(self, key: Hashable, load: Callable[[], Matcher]) -> Matcher:
        """The matcher of a key, loaded if it is not there; the least recently used one is dropped for it."""
        if key not in self._loaded:
            while len(self._loaded) >= self._keep:
                self._loaded.popitem(last=False)
            self._loaded[key] = load()
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def network(self) -> DiffusionModel:
        """A diffusion model, for the tab *Words*.

        Raises:
            SettingsError: No method of the page has one.
        """
        for matcher in [*reversed(self._loaded.values()), self.get(self.spec.method, self.spec.preset)]:
            if isinstance(matcher.model, DiffusionModel):
                return matcher.model
        raise SettingsError(
            f"Words need a text-to-image model, and {self.spec.method!r} has none. Start the page with another model."
        )
