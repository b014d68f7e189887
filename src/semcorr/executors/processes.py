"""Several processes of this machine, each with a model of its own and its share of the threads."""

import multiprocessing
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from typing import Any

import torch

from semcorr.errors import RunError
from semcorr.executors.base import Job, Result, StoppedError, Unit, end_with_parent, ignoring_interrupts
from semcorr.progress import Progress

_AHEAD = 2
"""Units submitted for each process: one that runs and one that waits."""

_SECONDS_BETWEEN_RESULTS = 0.2
"""How often results are taken from the processes while the caller takes none."""


def in_processes(job: Job[Unit, Result], units: Iterable[Unit], workers: int) -> Generator[Result, None, None]:
    """Run units in ``workers`` processes; yield results as they come, in any order. Units are taken as they are needed.

    The threads that PyTorch would use in this process (``OMP_NUM_THREADS``, or all cores) are divided among them.

    When the caller stops taking results (an exception, Ctrl-C), the processes end at the job's next call of its
    progress callback. When this process is killed, they end as well. A caller that keeps the iterator and takes no more
    from it leaves them idle once they have done what they were given.

    Raises:
        RunError: A process was killed, or could not start.
    """
    context = multiprocessing.get_context("spawn")
    results: SimpleQueue[Result] = context.SimpleQueue()
    watch = _UntilStopped(context.Event())
    start = (job, watch, results, max(1, torch.get_num_threads() // workers))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=start) as pool:
        left = iter(units)

        def hand_over(count: int) -> set[Future[None]]:
            with ignoring_interrupts():  # The pool starts processes as work comes.
                return {pool.submit(_do, unit) for unit in islice(left, count)}

        waiting, receiver = hand_over(_AHEAD * workers), _Receiver(results)
        try:
            while waiting:
                ready, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                yield from receiver.received()
                for future in ready:
                    future.result()
                waiting |= hand_over(len(ready))
            yield from receiver.received()
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
            raise
        finally:
            receiver.over.set()


class _Receiver:
    """Results of the processes: a thread takes them from there, whether or not the caller takes them from here.

    Otherwise a process might wait for ever to hand over a result, and Python for that process when it exits.
    """

    def __init__(self, results: "SimpleQueue[Any]") -> None:
        self.over = threading.Event()
        self._lock, self._results, self._received = threading.Lock(), results, queue.SimpleQueue[Any]()
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        while not self.over.wait(_SECONDS_BETWEEN_RESULTS):
            self._receive()

    def _receive(self) -> None:
        with self._lock:
            while not self._results.empty():
                self._received.put(self._results.get())

    def received(self) -> Iterator[Any]:
        """Yield what was handed over and not yet yielded."""
        self._receive()
        while not self._received.empty():
            yield self._received.get()


@dataclass(frozen=True)
class _UntilStopped:
    """The progress callback of a worker process: ends the work when the run is stopped."""

    stop: Event

    def __call__(self, stage: str, done: int, total: int, **info: Any) -> None:  # noqa: ARG002  # as Progress has it
        if self.stop.is_set():
            raise StoppedError


@dataclass
class _Process:
    """What the tasks of a worker process share; ``do`` is set when the job starts, with the first task."""

    job: Job[Any, Any]
    watch: _UntilStopped
    results: "SimpleQueue[Any]"
    do: Callable[[Any, Progress | None], Iterator[Any]] | None = None


_PROCESS: list[_Process] = []
"""Set by the initializer of a worker process, for its tasks: a process pool has no other way to pass it on."""


def _start(job: Job[Any, Any], watch: _UntilStopped, results: "SimpleQueue[Any]", threads: int) -> None:
    end_with_parent()
    torch.set_num_threads(threads)
    _PROCESS.append(_Process(job, watch, results))


def _do(unit: Any) -> None:
    process = _PROCESS[-1]
    if process.do is None:
        process.do = process.job.start()
    process.watch("unit", 0, 0)
    for result in process.do(unit, process.watch):
        process.watch("unit", 0, 0)
        process.results.put(result)
