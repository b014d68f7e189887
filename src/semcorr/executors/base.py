"""What all executors share: a job starts once in each process, and then takes one unit after the other."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from semcorr.progress import Progress

SECONDS_TO_END = 10.0
"""How long a process has to end by itself."""

Unit = TypeVar("Unit")
Result = TypeVar("Result")
_Unit = TypeVar("_Unit", contravariant=True)
_Result = TypeVar("_Result", covariant=True)


@runtime_checkable
class Job(Protocol[_Unit, _Result]):
    """What to do with units. It is pickled, and should be small: models are loaded by :meth:`start`."""

    def start(self) -> Callable[[_Unit, Progress | None], Iterator[_Result]]:
        """Load what is needed, once in each process, and return the function that does a unit.

        It is called with a unit and a progress callback, which it must call from time to time: an exception from the
        callback ends the work. It yields results as they are finished.
        """
        ...


class StoppedError(BaseException):
    """Carries an exception of a progress callback past handlers that turn failures into records."""


@dataclass(frozen=True)
class _Stoppable:
    progress: Progress

    def __call__(self, stage: str, done: int, total: int, **info: Any) -> None:
        try:
            self.progress(stage, done, total, **info)
        except Exception as error:
            raise StoppedError from error


def in_this_process(
    do: Callable[[Unit, Progress | None], Iterator[Result]], units: Iterable[Unit], progress: Progress | None
) -> Generator[Result, None, None]:
    """Run units in order; an exception of ``progress`` ends the work and is raised unchanged."""
    watch = None if progress is None else _Stoppable(progress)
    try:
        for unit in units:
            yield from do(unit, watch)
    except StoppedError as stop:
        raise (stop.__cause__ or stop) from None


@contextlib.contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Processes that are started within ignore Ctrl-C, which reaches all of a terminal's: their parent decides.

    The parent receives it when the ``with`` block ends.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Called in a worker process, lest it outlive its parent and keep a model in memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait_for_parents_end, daemon=True).start()


def _wait_for_parents_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        # At any moment: a line cut short is ignored. On this signal Ray ends its own processes first.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_END)
        os._exit(1)
