"""Progress of long work, reported through a callback, so that the library never prints."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """A callback for the progress of long work; an exception that it raises cancels the work.

    ``stage`` names the work ("optimize", "locate", "download"), of which ``done`` of ``total`` steps are done. ``info``
    holds details to show, such as a loss or an image's name; a callable in it (``preview``) computes its result only
    when it is called.
    """

    def __call__(self, stage: str, done: int, total: int, **info: object) -> None:
        """Report that ``done`` of ``total`` steps of ``stage`` are done."""


def part_of(progress: Progress | None, counted: str, number: int, parts: int) -> Progress | None:
    """Return a callback for one of several equal parts of a stage, which reports how much of all parts is done.

    Args:
        progress: What it reports to; None for nothing.
        counted: The stage that is counted over all parts; others are passed on as they are.
        number: The part, from 0.
        parts: How many there are.
    """
    if progress is None or parts == 1:
        return progress

    def report(stage: str, done: int, total: int, **info: object) -> None:
        before, times = (number * total, parts) if stage == counted else (0, 1)
        progress(stage, before + done, times * total, **info)

    return report


def duration(seconds: float) -> str:
    """Return a duration in seconds as a readable text."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
