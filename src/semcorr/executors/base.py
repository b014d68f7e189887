"""What every way of running shares: a job that starts once where it runs, and then takes one unit after the other."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from semcorr.progress import Progress

SECONDS_TO_END = 10.0
"""How long a process has to end in order."""

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


def in_this_process(
    do: Callable[[Unit, Progress | None], Iterator[Result]], units: Sequence[Unit], progress: Progress | None
) -> Iterator[Result]:
    """Do units one after the other, in order; what ``progress`` raises ends it and comes out as it is."""
    watch = None if progress is None else _Stoppable(progress)
    try:
        for unit in units:
            yield from do(unit, watch)
    except StoppedError as stop:
        raise (stop.__cause__ or stop) from None


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that are started within do not hear Ctrl-C, which reaches all of a terminal's: the starter decides.

    The starter hears it when the ``with`` block ends.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_starter() -> None:
    """Called in a process that was started for work, lest it outlive its starter and keep a model in memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait_for_starters_end, daemon=True).start()


def _wait_for_starters_end() -> None:
    starter = multiprocessing.parent_process()
    if starter is not None:
        starter.join()
        # Wherever it is: a line cut short is ignored. Ray takes it as a call to end its own processes first.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_END)
        os._exit(1)
