"""Matchers by method and preset: each is loaded once and shared by all users."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semcorr.errors import ModelError, SettingsError
from semcorr.matchers.base import Matcher
from semcorr.matchers.defaults import DEFAULT_METHOD
from semcorr.matchers.registry import find_method, load_matcher, methods
from semcorr.models.diffusion import BUNDLED, DiffusionModel
from semcorr.models.names import PHOTO_MODEL, is_hub_id, split_variant
from semcorr.progress import Progress
from semcorr.storage.files import exists


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the page is started with.

    Attributes:
        model: as ``--model`` has it.
        method: what is chosen when the page opens.
        preset: its preset; None for the method's usual one.
        options: how a network is loaded (``dtype``, ``device``, ``revision``), for every method.
        changes: settings that replace ``method``'s own.
    """

    model: str = PHOTO_MODEL
    method: str = DEFAULT_METHOD
    preset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, object] = field(default_factory=dict)


class LoadedMatchers:
    """Loads what is asked for, from this machine alone, and keeps it.

    Only the queue's one thread may ask: a network is large, and two users must not load it twice.

    Args:
        choice: what the page is started with.
        keep: how many matchers are kept; a checkpoint for photographs takes gigabytes.
    """

    def __init__(self, choice: Choice, keep: int | None = None) -> None:
        self.choice = choice
        self._keep = keep or (12 if choice.model in BUNDLED else 1)
        self._loaded: OrderedDict[Hashable, Matcher] = OrderedDict()

    def start(self, progress: Progress | None = None) -> None:
        """Load what the page opens with, after downloading what of it is not here, the text encoder included.

        Nothing else ever is: what a visitor asks for is loaded from this machine alone.

        Raises:
            SettingsError: there is no such method, preset or setting.
            ModelError: it cannot be loaded or downloaded.
        """
        choice = self.choice
        key = self._key(choice.method, choice.preset)
        if not is_hub_id(split_variant(choice.model)[0]) or exists(Path(choice.model)):
            self.get(*key)
            return
        options = {**choice.options, **choice.changes}
        matcher = load_matcher(choice.method, choice.model, key[1], progress=progress, **options)
        try:
            if isinstance(matcher.model, DiffusionModel):
                matcher.model.text_encoder()
        except ModelError:  # It has none, or none is to be had: loaded anew, so that no visitor asks the hub for it.
            self.get(*key)
        else:
            self.keep(key, lambda: matcher)

    def methods(self) -> list[str]:
        """Methods that take the same kind of model as the chosen one."""
        mine = find_method(self.choice.method)
        kind = None if mine is None else mine.photo_model
        return [name for name, method in methods().items() if method.photo_model == kind and name != "sd-dino"] + (
            ["sd-dino"] if self.choice.method == "sd-dino" else []
        )

    def presets(self, method: str) -> list[str]:
        """A method's presets, its usual one first."""
        found = find_method(method)
        return [] if found is None else list(found.presets)

    def get(self, method: str, preset: str | None) -> Matcher:
        """The matcher of a method and preset.

        Raises:
            SettingsError: the page does not offer it.
            ModelError: it cannot be loaded from this machine.
        """
        key = self._key(method, preset)
        changes = self.choice.changes if method == self.choice.method else {}
        options = {"local_files_only": True, **self.choice.options, **changes}
        return self.keep(key, lambda: load_matcher(method, self.choice.model, key[1], **options))

    def _key(self, method: str, preset: str | None) -> tuple[str, str | None]:
        known = self.presets(method) if method in self.methods() else []
        if method not in self.methods() or (preset is not None and preset not in known):
            raise SettingsError(f"Expected a method and preset of the list, got {method!r}, {preset!r}.")
        return method, preset or next(iter(known), None)

    def keep(self, key: Hashable, load: Callable[[], Matcher]) -> Matcher:
        """The matcher of a key, loaded if it is not there; the one that was not used for longest makes room."""
        if key not in self._loaded:
            while len(self._loaded) >= self._keep:
                self._loaded.popitem(last=False)
            self._loaded[key] = load()
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def network(self) -> DiffusionModel:
        """A diffusion model, for words.

        Raises:
            SettingsError: the page's methods have none.
        """
        for matcher in [*reversed(self._loaded.values()), self.get(self.choice.method, self.choice.preset)]:
            if isinstance(matcher.model, DiffusionModel):
                return matcher.model
        raise SettingsError(
            f"Words need a text-to-image model, and {self.choice.method!r} has none. Start the page with another model."
        )
