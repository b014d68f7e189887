"""What every way of running shares: a job that starts once where it runs, and then takes one unit after the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from semcorr.progress import Progress

Unit = TypeVar("Unit")
Result = TypeVar("Result")
_Unit = TypeVar("_Unit", contravariant=True)
_Result = TypeVar("_Result", covariant=True)


@runtime_checkable
class Job(Protocol[_Unit, _Result]):
    """Something to do with many units. It is pickled, and should be small: models are loaded by :meth:`start`."""

    def start(self) -> Callable[[_Unit, Progress | None], Iterator[_Result]]:
        """Load what is needed, once in each process; return what does a unit.

        That is called with a unit and a progress callback that it must call every now and then: an exception from it
        ends the work. It yields results as they are finished.
        """
        ...


class StoppedError(BaseException):
    """Carries what a progress callback raised past handlers that make failures into records."""


@dataclass(frozen=True)
class _Stoppable:
    progress: Progress

    def __call__(self, stage: str, done: int, total: int, **info: Any) -> None:
        try:
            self.progress(stage, done, total, **info)
        except Exception as error:
            raise StoppedError from error


def stoppable(progress: Progress | None) -> Progress | None:
    """Return a callback whose exceptions end the run as :class:`StoppedError`, whatever they are."""
    return None if progress is None else _Stoppable(progress)
