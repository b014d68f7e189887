"""Several processes of this machine, each with a model of its own and its share of the threads."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from typing import Any

import torch

from semcorr.errors import RunError
from semcorr.executors.base import Job, Result, StoppedError, Unit, deaf_children, end_with_starter
from semcorr.progress import Progress

_AHEAD = 2
"""Units handed over for every process: one that runs and one that waits."""


def in_processes(job: Job[Unit, Result], units: Sequence[Unit], workers: int) -> Iterator[Result]:
    """Do units in ``workers`` processes; yield results as they come, in whatever order.

    The threads that PyTorch would use in this process (``OMP_NUM_THREADS``, or all cores) are divided among them.

    When the caller stops taking results (an exception, Ctrl-C), the processes end at the job's next call of its
    progress callback. When this process is killed, they end as well.

    Raises:
        RunError: a process was killed, or could not start.
    """
    context = multiprocessing.get_context("spawn")
    told: SimpleQueue[Result] = context.SimpleQueue()
    watch = _UntilStopped(context.Event())
    start = (job, watch, told, max(1, torch.get_num_threads() // workers))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=start) as pool:
        left = iter(units)

        def hand_over(count: int) -> set[Future[None]]:
            with deaf_children():  # The pool starts processes as work comes.
                return {pool.submit(_do, unit) for unit in islice(left, count)}

        waiting = hand_over(_AHEAD * workers)
        try:
            while waiting:
                ready, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                while not told.empty():
                    yield told.get()
                for future in ready:
                    future.result()
                waiting |= hand_over(len(ready))
            while not told.empty():
                yield told.get()
        except BrokenProcessPool as error:
            raise RunError(
                "A worker process was killed, or could not start: memory may have run out. What is finished is kept; "
                "the same command continues, perhaps with fewer --workers."
            ) from error
        except BaseException:
            watch.stop.set()
            waiting = {future for future in waiting if not future.cancel()}
            while waiting:
                _, waiting = wait(waiting, timeout=0.2)
                while not told.empty():  # lest a process wait for ever to be rid of a result
                    told.get()
            raise


@dataclass(frozen=True)
class _UntilStopped:
    """In a worker process, called as work goes on: ends it when the run is stopped."""

    stop: Event

    def __call__(self, stage: str, done: int, total: int, **info: Any) -> None:  # noqa: ARG002  # as Progress has it
        if self.stop.is_set():
            raise StoppedError


@dataclass
class _Process:
    """In a worker process: what its tasks share. ``do`` is there once the job has started, with the first of them."""

    job: Job[Any, Any]
    watch: _UntilStopped
    told: "SimpleQueue[Any]"
    do: Callable[[Any, Progress | None], Iterator[Any]] | None = None


_PROCESS: list[_Process] = []
"""In a worker process: what its initializer left for its tasks. A process pool has no other place for it."""


def _start(job: Job[Any, Any], watch: _UntilStopped, told: "SimpleQueue[Any]", threads: int) -> None:
    end_with_starter()
    torch.set_num_threads(threads)
    _PROCESS.append(_Process(job, watch, told))


def _do(unit: Any) -> None:
    here = _PROCESS[-1]
    if here.do is None:
        here.do = here.job.start()
    here.watch("unit", 0, 0)
    for result in here.do(unit, here.watch):
        here.watch("unit", 0, 0)
        here.told.put(result)
