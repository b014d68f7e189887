"""What to match with, as the command, evaluation, transfer, worker processes and the page pass it around.

Light to import: neither the method's module nor PyTorch is imported before :meth:`MatcherSpec.load`.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcorr.errors import ModelError, SettingsError
from semcorr.matchers.choice import Task, choose, situation_of
from semcorr.matchers.registry import AUTO, DEFAULT_METHOD, load_class, methods
from semcorr.models.names import PHOTO_MODEL, with_variant
from semcorr.progress import Progress

if TYPE_CHECKING:
    from semcorr.matchers.base import Capabilities, Matcher

LOADING_OPTIONS = ("revision", "variant", "dtype", "device", "offload", "quantize", "local_files_only")
"""Options that say how a network is loaded, whatever the method."""

_CHOSEN_BY = ("device", "revision", "variant", "local_files_only")
"""Those of them that the choice of a method depends on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatcherSpec:
    """A method, its model, preset and further options; each as in :func:`semcorr.load_matcher`.

    Attributes:
        method: The method's name, or ``"auto"``; an unknown one is an error when it is loaded.
        model: A bundled name, a folder, a ``.safetensors`` file or a hub id; None for the method's default.
        preset: The settings by name; None becomes the method's usual preset.
        options: Everything else that :func:`semcorr.load_matcher` takes, by name.
    """

    method: str = DEFAULT_METHOD
    model: str | os.PathLike[str] | None = None
    preset: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.preset and self.method in methods():
            object.__setattr__(self, "preset", next(iter(methods()[self.method].presets), None))

    def __str__(self) -> str:
        """Return one line for people: method, preset and model."""
        return f"{self.method}{f' (preset {self.preset})' if self.preset else ''} on {self.model_name}"

    @property
    def model_name(self) -> str | Path:
        """The model, the method's default where none is named, with the variant of its files.

        Raises:
            ModelError: The option ``variant`` is no name of a variant, or the model's name has one already.
        """
        model = _default_model(self.method) if self.model is None else self.model
        return with_variant(model if isinstance(model, Path) else os.fspath(model), self.options.get("variant"))

    def chosen(self, task: Task = "points", note: Callable[[str], None] = lambda _: None) -> "MatcherSpec":
        """Return the same with the method's name where it was ``"auto"``, and with the model's name.

        Args:
            task: What the method is for.
            note: Called with one sentence that says what is matched with; for ``"auto"`` also why, and how to get
                another method.

        Raises:
            ModelError: There is no such model or device, or the model does not say which method fits it.
            SettingsError: There is no such method, or the chosen one has no such preset.
        """
        if self.method != AUTO:
            note(f"Matching with {self}.")
            return self
        loading = {name: self.options[name] for name in _CHOSEN_BY if name in self.options}
        choice = choose(situation_of(self.model, **loading), task)
        if self.preset is not None and self.preset not in methods()[choice.method].presets:
            having = [name for name, method in methods().items() if self.preset in method.presets]
            raise SettingsError(
                f"The method is {choice.method!r} here ({choice.reason}), which has no preset {self.preset!r}. Name "
                f"a method that has it: {', '.join(having) or 'there is none'}."
            )
        spec = dataclasses.replace(self, method=choice.method, model=self.model or _default_model(choice.method))
        note(f"Matching with {spec}: {choice}.")
        return spec

    def as_loaded(self, matcher: "Matcher") -> "MatcherSpec":
        """Return the same with all that was chosen when it was loaded, so that another machine does not choose anew."""
        method = matcher.method if self.method == AUTO else self.method
        dtype = {name: value for name, value in matcher.identity().items() if name == "dtype" in self.options}
        return dataclasses.replace(self, method=method, options={**self.options, **dtype})

    def capabilities(self) -> "Capabilities":
        """Return what the method can do, before its network is loaded.

        Raises:
            SettingsError: There is no such method.
        """
        return load_class(self.method).capabilities

    def with_options(self, **options: Any) -> "MatcherSpec":
        """Return the same with some options replaced."""
        return dataclasses.replace(self, options={**self.options, **options})

    def for_method(self, method: str, preset: str | None = None) -> "MatcherSpec":
        """Return another method and preset on the same model, loaded the same way; settings are a method's own."""
        if method == self.method:
            return dataclasses.replace(self, preset=preset)
        loading = {name: value for name, value in self.options.items() if name in LOADING_OPTIONS}
        return dataclasses.replace(self, method=method, preset=preset, options=loading)

    def load(self, *, progress: Progress | None = None) -> "Matcher":
        """Load the method, inside its wrappers; ``"auto"``, as a method and as a precision, is chosen here.

        Raises:
            SettingsError: Unknown method, preset or setting.
            ModelError: The model cannot be found, read or used.
            CalibrationError: The calibration cannot be read, or is for another method, model or settings.
        """
        from semcorr.matchers.wrappers.calibration import calibrated
        from semcorr.matchers.wrappers.float32_fallback import Float32Fallback
        from semcorr.matchers.wrappers.mirror import MirrorMatcher
        from semcorr.models.device import resolve_dtype

        if self.method == AUTO:
            return self.chosen().load(progress=progress)
        loaded = load_class(self.method)
        options = {name: value for name, value in self.options.items() if name != "variant"}
        align_pose, calibration = options.pop("align_pose", False), options.pop("calibration", None)
        if self.preset is not None:
            options["preset"] = self.preset
        if progress is not None:
            options["progress"] = progress

        if "dtype" in options:
            device = options.get("device", "auto")
            options["dtype"] = resolve_dtype(options["dtype"], loaded.network_type, self.model_name, device)

        def load(**changes: Any) -> "Matcher":
            return loaded.from_pretrained(self.model_name, **{**options, **changes})

        try:
            matcher = load()
        except ModelError as error:
            if self.model is not None:
                raise
            raise ModelError(
                f"{error}\nNo model was named, so it is the default of {self.method!r}: {self.model_name}."
            ) from error
        if options.get("dtype", "float32") != "float32":
            matcher = Float32Fallback(matcher, lambda: load(dtype="float32"))
        matcher = calibrated(MirrorMatcher(matcher) if align_pose else matcher, self.method, calibration)
        matcher.load_again = self.as_loaded(matcher).load
        return matcher


def _default_model(method: str) -> str:
    """A method's default model; that of most methods for a baseline, which needs none."""
    return methods()[method].default_model if method in methods() else PHOTO_MODEL
