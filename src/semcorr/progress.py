"""How long-running work reports itself: through a callback, so that the library never prints."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Called as work goes on; raise from it to cancel the work.

    ``stage`` names the work ("learn", "locate", "download"), ``done`` of ``total`` steps are behind,
    and ``info`` carries what is worth showing (a loss, an image's name); what can be called among it (``look``) is
    worked out only for a callback that calls it.
    """

    def __call__(self, stage: str, done: int, total: int, **info: object) -> None:
        """Take note of the work."""


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
