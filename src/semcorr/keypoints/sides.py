"""Which key-points become which when an image is mirrored: left and right, by their names."""

import re
from collections.abc import Iterator, Sequence

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_WHOLE, _LETTER = {"left": "right", "right": "left"}, {"l": "r", "r": "l"}


def mirrored(names: Sequence[str]) -> tuple[int, ...] | None:
    """The number, from 0, of the key-point that each becomes in a mirrored image; its own where it has no side.

    A name says its side by "left" or "right" anywhere in it, or by a word "l" or "r": left_ear, leftear, earRight,
    L_Paw.

    Returns:
        None where the names are numbers, which say nothing of sides.
    """
    if all(name.isdecimal() for name in names):
        return None
    numbers = {_plain(name): number for number, name in enumerate(names)}
    others = [next((numbers[other] for other in _counterparts(name) if other in numbers), None) for name in names]
    return tuple(
        other if other is not None and others[other] == number else number for number, other in enumerate(others)
    )


def unpaired(names: Sequence[str]) -> list[str]:
    """Names that say a side, without another name that says the other."""
    pairs = mirrored(names) or ()
    return [name for number, name in enumerate(names) if pairs and pairs[number] == number and any(_counterparts(name))]


def _counterparts(name: str) -> Iterator[str]:
    """What the key-point of the other side may be called, plainly."""
    plain = _plain(name)
    for side, other in _WHOLE.items():
        if side in plain:
            yield plain.replace(side, other, 1)
    words = [word.lower() for word in _WORD.findall(name)]
    for number, word in enumerate(words):
        if word in _LETTER:
            yield "".join([*words[:number], _LETTER[word], *words[number + 1 :]])


def _plain(name: str) -> str:
    """A name without separators and capitals."""
    return "".join(_WORD.findall(name)).lower() or name
