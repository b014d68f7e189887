"""Several processes of this machine, each with a model of its own and one thread."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from typing import Any

import torch

from semcorr.errors import RunError
from semcorr.executors.base import Job, Result, StoppedError, Unit
from semcorr.progress import Progress


def in_processes(job: Job[Unit, Result], units: Sequence[Unit], workers: int) -> Iterator[Result]:
    """Do units in ``workers`` processes; yield results as they come, in whatever order.

    When the caller stops taking results (an exception, Ctrl-C), the processes end at the job's next call of its
    progress callback. When this process is killed, they end as well.

    Raises:
        RunError: a process was killed, or could not start.
    """
    context = multiprocessing.get_context("spawn")
    told: SimpleQueue[Result] = context.SimpleQueue()
    watch = _UntilStopped(context.Event())
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(job, watch, told)) as pool:
        waiting = {pool.submit(_do, unit) for unit in units}
        try:
            while waiting:
                ready, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                while not told.empty():
                    yield told.get()
                for future in ready:
                    future.result()
            while not told.empty():
                yield told.get()
        except BrokenProcessPool as error:
            raise RunError(
                "A worker process was killed, or could not start: memory may have run out. What is finished is kept; "
                "the same command goes on, perhaps with fewer --workers."
            ) from error
        except BaseException:
            watch.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(frozen=True)
class _UntilStopped:
    """In a worker process, called as work goes on: ends it when the run is stopped."""

    stop: Event

    def __call__(self, stage: str, done: int, total: int, **info: Any) -> None:  # noqa: ARG002  # as Progress has it
        if self.stop.is_set():
            raise StoppedError


_Started = tuple[Callable[[Any, Progress | None], Iterator[Any]], _UntilStopped, "SimpleQueue[Any]"]

_PROCESS: list[_Started] = []
"""In a worker process: what its initializer left for its tasks. A process pool has no other place for it."""


def _start(job: Job[Any, Any], watch: _UntilStopped, told: "SimpleQueue[Any]") -> None:
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole group; the starter decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_starter, daemon=True).start()
    _PROCESS.append((job.start(), watch, told))


def _end_with_starter() -> None:
    """Without this a worker waits for work for ever when its starter was killed, and keeps its model in memory."""
    starter = multiprocessing.parent_process()
    if starter is not None:
        starter.join()
        os._exit(1)  # Wherever it is: a line cut short is ignored.


def _do(unit: Any) -> None:
    do, watch, told = _PROCESS[-1]
    for result in do(unit, watch):
        watch("unit", 0, 0)
        told.put(result)
