"""The queue: one job at a time, in order, cancelled promptly, whatever a job does."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from deadline import DEADLINE
from semcorr.app.server.jobs import Busy, Job, JobQueue
from semcorr.app.server.sessions import Sessions
from semcorr.errors import SemcorrError
from semcorr.matchers.load import load_matcher
from semcorr.toy.scenes import first_scenes


def endless(job: Job) -> None:
    for step in range(100_000):
        job("optimize", step, 100_000, loss=1 / (step + 1))
        time.sleep(0.005)


def test_jobs_run_one_after_the_other_in_their_order() -> None:
    queue, order, running = JobQueue(), [], []

    def work(number: int, job: Job) -> int:
        running.append(number)
        assert len(running) == 1
        time.sleep(0.02)
        order.append(running.pop())
        return number * 10

    jobs = [queue.submit(lambda job, n=number: work(n, job)) for number in range(5)]
    assert queue.ahead(jobs[4]) >= 3
    assert all(job.wait(DEADLINE) for job in jobs)
    assert order == [0, 1, 2, 3, 4]
    assert [job.result for job in jobs] == [0, 10, 20, 30, 40]
    assert queue.ahead(jobs[4]) == 0
    queue.close()


def test_cancelling_stops_what_runs_and_what_waits_and_frees_the_queue() -> None:
    queue = JobQueue()
    first, second, third = (queue.submit(work) for work in (endless, endless, lambda job: "done"))
    while first.status().done < 3:
        time.sleep(0.01)
    status = first.status()
    assert status.state == "running"
    assert status.seconds_left is not None
    assert status.seconds_left > 100
    assert status.losses[1] == (1, 0.5)
    second.cancel()
    assert second.wait(0)
    first.cancel()
    done = first.status().done
    assert first.wait(DEADLINE)
    assert first.status().done <= done + 1  # promptly: at its next step
    assert third.wait(DEADLINE)
    assert [job.status().state for job in (first, second, third)] == ["cancelled", "cancelled", "done"]
    queue.close()


def test_an_error_becomes_a_message_and_the_queue_continues() -> None:
    queue = JobQueue()

    def expected(job: Job) -> None:
        raise SemcorrError("Expected this, got that.")

    def unexpected(job: Job) -> None:
        raise KeyError("x")

    jobs = [queue.submit(work) for work in (expected, unexpected, lambda job: 1)]
    assert all(job.wait(DEADLINE) for job in jobs)
    assert jobs[0].status().error == "Expected this, got that."
    assert "KeyError" in jobs[1].status().error
    assert jobs[2].status().state == "done"
    queue.close()


def test_a_full_queue_and_a_second_job_of_one_work_are_refused(works: Callable[..., Sessions]) -> None:
    queue, sessions = JobQueue(waiting=1), works()
    with sessions.using(sessions.new()) as one, sessions.using(sessions.new()) as other:
        one.start(queue, "find", endless)
        assert one.job is not None
        while not one.job.status().done:
            time.sleep(0.01)
        with pytest.raises(Busy, match="Cancel"):
            one.start(queue, "find", endless)
        other.start(queue, "words", endless)
        with pytest.raises(Busy, match="at most 1"):
            queue.submit(endless)
        one.cancel()
        assert one.job.wait(DEADLINE)
        one.start(queue, "maps", endless)
        assert (one.job_number, one.job_kind) == (2, "maps")
        queue.close()
        assert other.job is not None
        assert other.job.wait(DEADLINE)


def test_a_closed_queue_ends_its_thread() -> None:
    before = threading.active_count()
    queue = JobQueue()
    job = queue.submit(endless)
    while not job.status().done:
        time.sleep(0.01)
    queue.close()
    assert job.wait(DEADLINE)
    deadline = time.monotonic() + DEADLINE
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_loss_and_source_maps_are_shown_while_points_are_optimized() -> None:
    _, scene = first_scenes("bird", 1, size=128)[0]
    points = [scene.keypoints[name] for name in ("beak", "tail")]
    matcher, queue = load_matcher("prompt", "toy", "fast", steps=40), JobQueue()
    job = queue.submit(lambda job: matcher.describe(scene.image, np.array(points), progress=job))
    assert job.wait(DEADLINE)
    status = job.status()
    assert status.state == "done"
    assert len(status.losses) == 40
    assert status.losses[-1][1] < status.losses[0][1]
    assert status.preview_points == (0, 1)
    assert status.preview_maps is not None
    for point, heat in zip(points, status.preview_maps, strict=True):
        # The optimized embedding attends to its own point.
        column, row = (int(value / 128 * heat.shape[0]) for value in point)
        assert heat[row, column] > heat.mean() + 2 * heat.std()
    queue.close()
