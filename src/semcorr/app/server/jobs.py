"""One job at a time: a queue for the heavy work of all users, with progress, time left, and cancelling.

A job outlives the request that began it, and stops at the next step of its work.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from semcorr.errors import SemcorrError
from semcorr.matchers.prompt.preview import AttentionPreview
from semcorr.models.memory import out_of_memory_message

State = Literal["waiting", "running", "done", "failed", "cancelled"]

_PREVIEW_SHARE = 0.15
"""The fraction of the time of optimizing that previews of it may take."""

_MAX_LOSSES = 2000


class Cancelled(Exception):  # noqa: N818  # not an error: the user asked for it
    """Raised in the work of a cancelled job."""


class Busy(SemcorrError):  # noqa: N818
    """The queue is full, or the user has a job in it already."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Status:
    """The state and progress of a job.

    Attributes:
        state: Its state.
        ahead: Jobs before it in the queue.
        stage: The stage that its work reports.
        done: Steps done in this stage.
        total: Steps in this stage.
        seconds_left: An estimate for this stage, by its pace so far; None until there is a pace.
        losses: (step, loss) of the optimizing steps so far.
        preview_points: The points of the last preview, counted from 0.
        preview_maps: Their maps over the source.
        error: The error message.
    """

    state: State
    ahead: int = 0
    stage: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    losses: tuple[tuple[int, float], ...] = ()
    preview_points: tuple[int, ...] = ()
    preview_maps: Float[np.ndarray, "points side side"] | None = None
    error: str = ""


class Job:
    """A piece of work in the queue. It is a :class:`semcorr.progress.Progress`, to which its work reports.

    Args:
        work: The work; it gets this job.
        abandoned: Whether nobody waits for the job any longer, so that it is cancelled.
    """

    def __init__(self, work: Callable[["Job"], Any], abandoned: Callable[[], bool] = lambda: False) -> None:
        self._work, self._abandoned = work, abandoned
        self._cancelled, self._finished = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._status = Status(state="waiting")
        self._losses: list[tuple[int, float]] = []
        self._stage_began = self._next_preview = 0.0
        self.result: Any = None

    def cancel(self) -> None:
        """Stop the work at its next step, or before it begins."""
        self._cancelled.set()
        with self._lock:
            if self._status.state == "waiting":
                self._status = replace(self._status, state="cancelled")
                self._finished.set()

    def wait(self, seconds: float) -> bool:
        """Wait at most so many seconds until it is finished, in whatever way; return whether it is."""
        return self._finished.wait(seconds)

    @property
    def finished(self) -> bool:
        """Whether it is done, failed or cancelled."""
        return self._finished.is_set()

    def status(self, ahead: int = 0) -> Status:
        """State and progress at this moment; ``ahead`` is the number of jobs before it in the queue."""
        with self._lock:
            now, losses = self._status, tuple(self._losses)
            return replace(now, ahead=ahead, seconds_left=self._seconds_left(now), losses=losses)

    def __call__(self, stage: str, done: int, total: int, **info: object) -> None:
        """Report progress.

        Raises:
            Cancelled: The job was cancelled.
        """
        if self._cancelled.is_set() or self._abandoned():
            raise Cancelled
        now, loss, preview = time.monotonic(), info.get("loss"), info.get("preview")
        with self._lock:
            if stage != self._status.stage or done < self._status.done:
                self._stage_began = now
            self._status = replace(self._status, stage=stage, done=done, total=total)
            if isinstance(loss, float) and len(self._losses) < _MAX_LOSSES:
                self._losses.append((done, loss))
        if isinstance(preview, AttentionPreview) and (now >= self._next_preview or done == total):
            self._show(preview)

    def _show(self, preview: AttentionPreview) -> None:
        began = time.monotonic()
        maps = preview()
        took = time.monotonic() - began
        self._next_preview = time.monotonic() + max(0.4, took / _PREVIEW_SHARE)
        with self._lock:
            self._status = replace(self._status, preview_points=preview.points, preview_maps=maps)
            self._stage_began += took

    def _seconds_left(self, status: Status) -> float | None:
        if status.state != "running" or not 0 < status.done <= status.total:
            return None
        return (time.monotonic() - self._stage_began) / status.done * (status.total - status.done)

    def run(self) -> None:
        """Do the work, unless the job was cancelled before; an error becomes the job's."""
        if self._abandoned():
            self.cancel()
        with self._lock:
            if self._status.state != "waiting":
                return
            self._status = replace(self._status, state="running")
        state: State = "done"
        message = ""
        try:
            self.result = self._work(self)
        except Cancelled:
            state = "cancelled"
        except SemcorrError as error:
            state, message = "failed", str(error)
        except Exception as error:  # whatever happens to one user's work, the queue continues
            unexpected = f"Something went wrong ({type(error).__name__}: {error}). Please report it."
            state, message = "failed", out_of_memory_message(error) or unexpected
        with self._lock:
            self._status = replace(self._status, state=state, error=message)
            self._finished.set()  # at once: whoever reads that it is done may begin the next


class JobQueue:
    """Runs jobs one after the other in a thread of its own, in the order of submission.

    Args:
        waiting: The number of jobs that may wait.
    """

    def __init__(self, waiting: int = 20) -> None:
        self._limit = waiting
        self._jobs: deque[Job] = deque()
        self._running: Job | None = None
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="semcorr-app-work", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Job], Any], abandoned: Callable[[], bool] = lambda: False) -> Job:
        """Add work to the end of the queue; see :class:`Job`.

        Raises:
            Busy: The queue is full.
        """
        job = Job(work, abandoned)
        with self._wake:
            self._jobs = deque(waiting for waiting in self._jobs if not waiting.finished)
            if len(self._jobs) >= self._limit or self._closed:
                raise Busy(f"Expected at most {self._limit} jobs to wait, and there are as many. Try again in a while.")
            self._jobs.append(job)
            self._wake.notify_all()
        return job

    def ahead(self, job: Job) -> int:
        """The number of jobs before this one, the running one included."""
        with self._wake:
            waiting = [other for other in self._jobs if not other.finished]
            if job not in waiting:
                return 0
            return waiting.index(job) + (self._running is not None)

    def close(self) -> None:
        """Cancel all jobs and end the thread."""
        with self._wake:
            self._closed = True
            for job in [*self._jobs, *([self._running] if self._running else [])]:
                job.cancel()
            self._wake.notify_all()

    def _loop(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    return
                self._running = self._jobs.popleft()
            self._running.run()
            with self._wake:
                self._running = None
