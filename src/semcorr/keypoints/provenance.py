"""Whether a person or a program made an object's points: the mark that every annotation format carries."""

from collections.abc import Mapping, Sequence
from typing import Final

MARK = "semcorr"
"""The field, attribute or column of an object that says who made its points, in every format."""

PREDICTED: Final = "predicted"
"""What it holds where a format has texts only, if a program predicted the points; also of a single point."""

ACCEPTED: Final = "accepted"
"""The same, if a person has accepted what a program predicted."""

PLACED: Final = "placed"
"""Of a single point: a person set or moved it."""

ORIGINS = "points"
"""The field of a mark that says who set each point, where a format has fields in fields."""


VOTES = "votes"
"""The field of a mark that says how much each source speaks for each point, where a format has fields in fields."""


def predicted_mark() -> Mapping[str, object]:
    """The mark of a predicted object where a format has fields in fields."""
    return {PREDICTED: True}


def reviewed_mark(predicted: bool, origins: Sequence[str | None]) -> Mapping[str, object]:
    """The mark of a predicted object that a person has worked on; ``predicted``: it is not accepted yet."""
    return {PREDICTED: True, **({} if predicted else {ACCEPTED: True}), ORIGINS: list(origins)}


def origins_of(mark: object, keypoints: int) -> tuple[str | None, ...] | None:
    """Who set each point, as a mark says; None if it does not."""
    listed = mark.get(ORIGINS) if isinstance(mark, Mapping) else None
    if not isinstance(listed, list) or len(listed) != keypoints:
        return None
    return tuple(listed) if all(one in (None, PREDICTED, ACCEPTED, PLACED) for one in listed) else None


def votes_of(mark: object, keypoints: int) -> list[list[float | None]] | None:
    """By key-point, how much each source speaks for it, in [0, 1], as a mark says; None if it does not."""
    listed = mark.get(VOTES) if isinstance(mark, Mapping) else None
    if not isinstance(listed, list) or len(listed) != keypoints:
        return None
    if not all(isinstance(row, list) and len(row) == len(listed[0]) for row in listed):
        return None
    fits = all(one is None or (type(one) in (int, float) and 0 <= one <= 1) for row in listed for one in row)
    return listed if fits else None


def is_predicted(mark: object) -> bool | None:
    """Whether a mark says that points are predicted and nobody has accepted them; None: it is no mark.

    Fields such as ``{"predicted": true, "accepted": false}``, or the word "predicted" or "accepted".
    """
    if isinstance(mark, Mapping):
        predicted, accepted = mark.get(PREDICTED, False), mark.get(ACCEPTED, False)
        known = isinstance(predicted, bool) and isinstance(accepted, bool) and bool({PREDICTED, ACCEPTED} & set(mark))
        return predicted and not accepted if known else None
    word = mark.strip().lower() if isinstance(mark, str) else ""
    return {PREDICTED: True, ACCEPTED: False}.get(word)
