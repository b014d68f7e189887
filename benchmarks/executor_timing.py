"""What the benchmarks of executors share: jobs that note when their units ran, and ways to run them."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import psutil
import torch

from semcorr.errors import SettingsError
from semcorr.executors import Job
from semcorr.executors.on_ray import on_ray
from semcorr.executors.processes import in_processes
from semcorr.imaging.image import ImageSource
from semcorr.keypoints.predictions import TransferRecord
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import Matches, Query
from semcorr.matchers.wrappers.base import MatcherWrapper
from semcorr.progress import Progress
from semcorr.transfer.run import TransferJob
from semcorr.transfer.targets import Target

Way = Literal["one thread", "all threads", "processes", "Ray"]
"""One process with one thread, or with as many as PyTorch takes; several processes; a Ray cluster of this machine."""

WAYS: tuple[Way, ...] = ("one thread", "all threads", "processes", "Ray")


@dataclass(frozen=True, kw_only=True)
class Span:
    """A unit as the process that did it saw it, by a clock that all processes of a machine share, in seconds.

    ``in_method`` is the part between ``began`` and ``ended`` that the method's own ``locate`` took.
    """

    process: int
    began: float
    ended: float
    in_method: float
    record: TransferRecord


@dataclass(frozen=True)
class Transfers:
    """A transfer whose results come as spans (:class:`semcorr.executors.Job`)."""

    job: TransferJob

    def start(self) -> Callable[[Target, Progress | None], Iterator[Span]]:
        """In a worker process."""
        work = self.job.transferrer()
        clock = work.matcher = _Clock(work.matcher)

        def do(target: Target, progress: Progress | None) -> Iterator[Span]:
            before, began = clock.seconds, time.monotonic()
            record = work.predict(target, progress=progress)
            ended = time.monotonic()
            yield Span(process=os.getpid(), began=began, ended=ended, in_method=clock.seconds - before, record=record)

        return do


class _Clock(MatcherWrapper):
    """A matcher whose ``locate`` is timed."""

    def __init__(self, matcher: Matcher) -> None:
        super().__init__(matcher)
        self.seconds = 0.0

    def locate(
        self, query: Query, image: ImageSource, *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        began = time.monotonic()
        matches = self.matcher.locate(query, image, trace=trace, progress=progress)
        self.seconds += time.monotonic() - began
        return matches


@dataclass(frozen=True)
class Stand:
    """Units that take ``seconds`` of a processor whatever they are, and all give the same record: a stand-in.

    To start takes ``pause`` seconds, so that all workers are there before units without length are done.
    """

    seconds: float
    record: TransferRecord
    pause: float = 0.0

    def start(self) -> Callable[[Target, Progress | None], Iterator[Span]]:
        """In a worker process."""
        time.sleep(self.pause)

        def do(target: Target, progress: Progress | None) -> Iterator[Span]:  # noqa: ARG001  # as a job has it
            began = time.monotonic()
            while time.monotonic() - began < self.seconds:
                pass
            ended = time.monotonic()
            yield Span(process=os.getpid(), began=began, ended=ended, in_method=ended - began, record=self.record)

        return do


@dataclass(frozen=True, kw_only=True)
class Ran:
    """Units done one way: when the executor was asked, when the last result came, when the executor had ended."""

    asked: float
    last: float
    gone: float
    workers: int
    spans: tuple[Span, ...] = field(repr=False)

    @property
    def starting(self) -> float:
        """Seconds from the call to the first unit, the mean over workers: processes, imports, loading the model."""
        return sum(self._first) / self.workers - self.asked

    @property
    def ending(self) -> float:
        """Seconds from the last result until every process of the executor had ended."""
        return self.gone - self.last

    @property
    def steady(self) -> float:
        """Seconds from a worker's first unit to the last result, the mean over workers."""
        return self.last - sum(self._first) / self.workers

    @property
    def rate(self) -> float:
        """Units a minute, without starting and ending."""
        return 60 * len(self.spans) / self.steady

    @property
    def in_method(self) -> float:
        """The share of the workers' steady time that the method's calls took."""
        return sum(span.in_method for span in self.spans) / (self.workers * self.steady)

    @property
    def in_units(self) -> float:
        """The share of it that units took as a whole, with reading images and putting results together."""
        return sum(span.ended - span.began for span in self.spans) / (self.workers * self.steady)

    @property
    def _first(self) -> list[float]:
        """When each worker began its first unit; one that had none until all were done began with the last result."""
        first: dict[int, float] = {}
        for span in self.spans:
            first[span.process] = min(span.began, first.get(span.process, span.began))
        return [*first.values(), *[self.last] * (self.workers - len(first))]

    @property
    def gaps(self) -> list[float]:
        """Seconds between a unit's end and the next one's beginning in the same process."""
        by_process: dict[int, list[Span]] = {}
        for span in sorted(self.spans, key=lambda span: span.began):
            by_process.setdefault(span.process, []).append(span)
        return [late.began - early.ended for spans in by_process.values() for early, late in pairwise(spans)]


def measure(way: Way, job: Job[Target, Span], units: Sequence[Target], workers: int) -> Ran:
    """Do units one way and note the times.

    Raises:
        SettingsError: Ray is not installed, or there are fewer units than workers.
    """
    workers = workers if way in ("processes", "Ray") else 1
    if len(units) < workers:
        raise SettingsError(f"Expected at least as many units as workers, got {len(units)} for {workers}.")
    asked, last, spans = time.monotonic(), 0.0, []
    with _threads(1 if way == "one thread" else torch.get_num_threads()):
        for span in _spans(way, job, units, workers):
            last = time.monotonic()
            spans.append(span)
    return Ran(asked=asked, last=last, gone=time.monotonic(), workers=workers, spans=tuple(spans))


def _spans(way: Way, job: Job[Target, Span], units: Sequence[Target], workers: int) -> Iterator[Span]:
    if way in ("one thread", "all threads"):
        do = job.start()
        for unit in units:
            yield from do(unit, None)
    elif way == "processes":
        yield from in_processes(job, units, workers)
    else:
        yield from on_ray(job, units, "local", workers=workers)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, kw_only=True)
class HandOver:
    """What it takes to hand a unit to a worker and its result back, where units take no time at all.

    Seconds of one unit: ``wall`` by the clock, which holds what the workers take where they share the processor;
    ``driver`` of a processor in the process that hands units over (for "processes" that is the caller's own),
    ``caller`` in the caller's, and ``head`` in Ray's own processes (raylet and GCS).
    """

    way: Way
    workers: int
    units: int
    wall: float
    driver: float
    caller: float
    head: float = 0.0


def hand_over(way: Way, record: TransferRecord, units: Sequence[Target], workers: int) -> HandOver:
    """Do units that take no time, timed from when every worker has done one; see :class:`HandOver`."""
    job = Stand(0.0, record, pause=2.0)
    results = in_processes(job, units, workers) if way == "processes" else on_ray(job, units, "local", workers=workers)
    seen: set[int] = set()
    done = 0
    for span in results:
        seen.add(span.process)
        done += 1
        if len(seen) == workers or done == len(units) // 2:
            break
    own = psutil.Process()
    heads = [one for one in own.children(recursive=True) if one.name() in ("raylet", "gcs_server")]
    # What started Ray's processes; without any, the caller itself.
    drivers = [one for one in own.children() if any(head.ppid() == one.pid for head in heads)] or [own]
    before = [_processor(some) for some in (drivers, [own], heads)]
    began, first, wall, after = time.monotonic(), done, 0.0, before
    for done, _ in enumerate(results, start=first + 1):
        if done == len(units):  # now, before the processes end
            wall = time.monotonic() - began
            after = [_processor(some) for some in (drivers, [own], heads)]
    counted = done - first
    driver, caller, head = ((late - early) / counted for early, late in zip(before, after, strict=True))
    return HandOver(
        way=way, workers=workers, units=len(units), wall=wall / counted, driver=driver, caller=caller, head=head
    )


def _processor(processes: Sequence[psutil.Process]) -> float:
    """Seconds of a processor that processes have had."""
    times = [process.cpu_times() for process in processes]
    return float(sum(one.user + one.system for one in times))
