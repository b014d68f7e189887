"""What makes one target fail and leaves the others: its image, its points, memory, or NaN and infinity."""

from semcorr.errors import ImageError, NumericsError, OutOfMemoryError, PointError
from semcorr.models.memory import out_of_memory_message


def failure_message(error: Exception) -> str | None:
    """Return the message of a target's record for an error of its own; None for an error that ends the work."""
    if isinstance(error, ImageError | PointError | OutOfMemoryError | NumericsError):
        return str(error)
    return out_of_memory_message(error)
