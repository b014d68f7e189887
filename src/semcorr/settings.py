"""The base of every method's settings: checked names and values, conversion to and from JSON."""

import dataclasses
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from semcorr.errors import SettingsError, suggest

S = TypeVar("S", bound="Settings")

EARLIER_NAMES: Mapping[str, str] = {
    "learn_step": "optimize_step",
    "learn_crop": "optimize_crop",
    "learn_crops": "optimize_crops",
    "learn_noise": "optimize_noise",
}
"""Names of settings in files of version 0.1 (queries, runs, calibrations, transfers under way), and today's names.

Only readers of files accept them: :func:`current_names`. Neither Python nor the command does.
"""

_CHANGES, _CHANGE = 3, 40
"""Changed settings that :func:`in_short` lists, and characters of each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of a method's settings: a frozen dataclass whose annotations, including pydantic's, constrain the values.

    Two runs with equal settings give equal results.

    Attributes:
        added: Settings that files of an earlier version do not have. At their defaults :meth:`to_dict` leaves them out,
            so that what is hashed from settings, and compared with them, stays as it was.
    """

    added: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for name, value in _checked(type(self), vars(self)).items():
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a dictionary that JSON can hold."""
        before = {field.name: field.default for field in dataclasses.fields(self) if field.name in self.added}
        return {
            name: _plain(value) for name, value in vars(self).items() if name not in before or value != before[name]
        }

    @classmethod
    def from_dict(cls: type[S], values: Mapping[str, object]) -> S:
        """Rebuild settings from :meth:`to_dict`; names of an earlier version are accepted.

        Raises:
            SettingsError: A name is unknown, a setting without a default is missing, or a value does not fit.
        """
        checked = _checked(cls, {EARLIER_NAMES.get(name, name): value for name, value in values.items()})
        for field in dataclasses.fields(cls):
            if field.name not in checked and field.default is dataclasses.MISSING:
                raise SettingsError(f"Setting {field.name!r} is missing: expected every setting of the method.")
        return cls(**checked)


def override(settings: S, /, **changes: object) -> S:
    """Return ``settings`` with some values replaced.

    Values are checked, and text is converted as from the command line (``rounds="3"``).

    Raises:
        SettingsError: A name is unknown (the message has the nearest known one), or a value does not fit.
    """
    return dataclasses.replace(settings, **_checked(type(settings), changes))


def in_short(settings: Settings, presets: Mapping[str, Settings]) -> list[str]:
    """Return the name of the nearest preset, as "preset fast", and what is changed in it, as "rounds=2".

    Args:
        settings: What to describe.
        presets: Settings of the same class by name; an empty name is not shown.
    """
    changes = {
        name: [f"{key}={_plain(value)}" for key, value in vars(settings).items() if value != getattr(preset, key)]
        for name, preset in presets.items()
    }
    nearest = min(changes, key=lambda name: len(changes[name]))
    shown = [one if len(one) <= _CHANGE else f"{one[: _CHANGE - 1]}…" for one in changes[nearest][:_CHANGES]]
    more = len(changes[nearest]) - len(shown)
    return [*([f"preset {nearest}"] if nearest else []), *shown, *([f"{more} more changed"] if more else [])]


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it."""
    return list(value) if isinstance(value, tuple) else value


def current_names(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings from a file, or a mapping that holds some at any depth, under today's names."""
    return _renamed(stored, EARLIER_NAMES)


def earlier_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same under the names of version 0.1: what keys in its files were hashed from."""
    return _renamed(values, {today: earlier for earlier, today in EARLIER_NAMES.items()})


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        names.get(name, name): _renamed(value, names) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }


@cache
def _adapters(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: TypeAdapter(hints[field.name]) for field in dataclasses.fields(kind)}


def _explain(name: str, value: object, error: ValidationError) -> str:
    # A union reports one error per member; all of them together say what would fit.
    expected = dict.fromkeys(detail["msg"].removeprefix("Input should be ") for detail in error.errors())
    choices = [choice for text in expected for choice in re.findall(r"'([^']+)'", text)]
    near = suggest(value, choices) if isinstance(value, str) else ""
    return f"Setting {name!r}: expected {' or '.join(expected)}, got {value!r}.{near}"


def _checked(kind: type[Settings], values: Mapping[str, object]) -> dict[str, Any]:
    """Return the values converted to the types of their settings; refuse unknown names and values that do not fit."""
    hashable: Any = kind
    adapters, result = _adapters(hashable), {}
    for name, value in values.items():
        if name not in adapters:
            known = ", ".join(sorted(adapters))
            raise SettingsError(f"Unknown setting {name!r}.{suggest(name, adapters)} Settings are: {known}.")
        try:
            result[name] = adapters[name].validate_python(value)
        except ValidationError as error:
            raise SettingsError(_explain(name, value, error)) from None
    return result
