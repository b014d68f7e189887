"""Whether a person or a program made an object's points: the mark that every annotation format carries."""

from collections.abc import Mapping

MARK = "semcorr"
"""The field, attribute or column of an object that says who made its points, in every format."""

PREDICTED, ACCEPTED = "predicted", "accepted"
"""What it holds where a format has texts only: a program predicted the points; a person has accepted them."""


def predicted_mark() -> dict[str, bool]:
    """The mark of a predicted object where a format has fields in fields."""
    return {PREDICTED: True}


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
