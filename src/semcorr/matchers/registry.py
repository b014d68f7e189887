"""Methods by name. Light to import: a method's own module is imported when it is loaded."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from semcorr.errors import SettingsError, suggest
from semcorr.models.names import BUNDLED_PHOTO_MODEL, COLLECTION, PHOTO_MODEL, VISION_MODEL

if TYPE_CHECKING:
    from semcorr.matchers.base import NetworkMatcher

AUTO = "auto"
"""Stands for the method that fits the model and the machine (:mod:`semcorr.matchers.choice`)."""

DEFAULT_METHOD = AUTO
"""The method where none is named, in Python and in the command."""

EVALUATED_METHOD = "attention-dift"
"""The method of evaluations where none is named: their figures must not depend on the machine."""

PLUGINS = "semcorr.methods"
"""The entry-point group under which another package adds methods."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """Where a method is, and what is known of it before its module is imported.

    Attributes:
        matcher: Its class as ``"module:Class"``, a :class:`semcorr.matchers.base.Matcher` with ``from_pretrained``.
        presets: The names of its presets, the usual one first.
        default_model: The model that photographs are matched with unless another is named.
        second_model: A further model that it loads by default; None for methods on one network.
    """

    matcher: str
    presets: tuple[str, ...] = ()
    default_model: str = PHOTO_MODEL
    second_model: str | None = None

    def load_class(self) -> "type[NetworkMatcher]":
        """Import the module and return the class.

        Raises:
            ImportError, AttributeError, ValueError: There is no such module or class.
        """
        loaded: type[NetworkMatcher] = EntryPoint(name="", value=self.matcher, group=PLUGINS).load()
        return loaded


def _line(matcher: str, *presets: str, default: str = PHOTO_MODEL, second: str | None = None) -> Method:
    return Method(matcher=f"semcorr.matchers.{matcher}", presets=presets, default_model=default, second_model=second)


# One line a method.
_OWN: Mapping[str, Method] = {
    "prompt": _line("prompt:PromptMatcher", "paper", "reference", "fast"),
    "attention-dift": _line("attention_dift:AttentionDiftMatcher", "fast", "paper", "reference"),
    "dift": _line("features.dift:DiftMatcher", "published", "clean"),
    "hypercolumn": _line("features.hypercolumn:HypercolumnMatcher", "photographs", default=BUNDLED_PHOTO_MODEL),
    "dino": _line("features.dino:DinoMatcher", "published", default=VISION_MODEL),
    "sd-dino": _line("sd_dino:SdDinoMatcher", "published", second=VISION_MODEL),
    "nbb": _line("features.dift:DiftBuddyMatcher", "published", "clean"),
    "nbb-hypercolumn": _line(
        "features.hypercolumn:HypercolumnBuddyMatcher", "photographs", default=BUNDLED_PHOTO_MODEL
    ),
    "nbb-dino": _line("features.dino:DinoBuddyMatcher", "published", default=VISION_MODEL),
    "asic": _line("asic:AsicMatcher", "guided", "published", default=COLLECTION),
}


@cache
def methods() -> Mapping[str, Method]:
    """Return every method by name: the package's own, and those that other installed packages add.

    A package adds one by an entry point of the group ``semcorr.methods`` whose value is a :class:`Method`'s
    ``matcher``. It cannot replace one of the package's own.
    """
    added = {point.name: Method(matcher=point.value) for point in entry_points(group=PLUGINS)}
    return {**added, **_OWN}


def find_method(name: str, *, also: Iterable[str] = ()) -> Method | None:
    """Return the method of a name, which may be a class as ``"module:Class"``; None for one of ``also``.

    Raises:
        SettingsError: There is neither.
    """
    if ":" in name:
        return Method(matcher=name)
    others = list(also)
    known = [*methods(), *others]
    if name == AUTO:
        raise SettingsError(f"{name!r} depends on the machine: name the method here. Methods are: {', '.join(known)}.")
    if name not in known:
        raise SettingsError(
            f"Unknown method {name!r}.{suggest(name, known)} Methods are: {', '.join(known)}; a class of your own is "
            "named as MODULE:CLASS."
        )
    return methods().get(name)


def load_class(name: str) -> "type[NetworkMatcher]":
    """Import a method's module and return its class; diffusers alone takes seconds.

    The module of a ``"module:Class"`` may lie in the current folder.

    Raises:
        SettingsError: There is no such method, or another package's cannot be imported.
    """
    method = find_method(name)
    assert method is not None  # noqa: S101  # an unknown one is an error
    if ":" in name and "" not in sys.path:
        sys.path.append("")  # last, lest a file there hide a library
    try:
        loaded = method.load_class()
        if not hasattr(loaded, "from_pretrained"):
            raise AttributeError(f"{loaded!r} has no from_pretrained, as matchers have")
        return loaded
    except (ImportError, AttributeError, ValueError) as error:
        if name in _OWN:
            raise
        expected = (
            "'module:Class', with the module in this folder or on PYTHONPATH"
            if ":" in name
            else "'module:Class'; update or remove the package that adds it"
        )
        raise SettingsError(
            f"Method {name!r} cannot be loaded from {method.matcher!r}: {type(error).__name__}: {error}. Expected "
            f"{expected}."
        ) from error
