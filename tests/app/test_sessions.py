"""Many users, some of whom want more than their part: running work stays, and memory has a bound."""

import dataclasses
import threading

import numpy as np
import pytest

from semcorr.app import workspace
from semcorr.app.jobs import Busy, Job, JobQueue
from semcorr.app.limits import Limits, check_letters
from semcorr.app.sessions import Sessions
from semcorr.app.shelf import Shelf
from semcorr.app.workspace import Workspace
from semcorr.errors import PointError, SettingsError
from semcorr.images import load_image


def test_who_is_idle_makes_room_and_whose_work_is_under_way_does_not() -> None:
    sessions, queue, go = Sessions(Shelf(), Limits(sessions=2)), JobQueue(), threading.Event()

    def work(job: Job) -> None:
        go.wait(30)

    try:
        busy = sessions.of("busy")
        job = busy.start(queue, work)
        idle = sessions.of("idle")
        for number in range(20):  # a flood of new pages
            sessions.of(f"new {number}")
        assert sessions.of("busy") is busy
        assert not job.finished
        assert sessions.of("idle") is not idle
        sessions.of("idle").start(queue, work)
        with pytest.raises(Busy, match="Everybody here has work under way"):
            sessions.of("one more")
        assert len(sessions) == 2
    finally:
        go.set()
        queue.close()


def test_pictures_of_all_users_have_a_bound() -> None:
    shelf = Shelf()
    sessions = Sessions(shelf, Limits(held_megabytes=0.02))
    picture = load_image(np.zeros((50, 100, 3), dtype=np.uint8))  # 15,000 bytes
    one, other = sessions.of("one"), sessions.of("other")
    one.work = workspace.with_source(Workspace(), picture)
    # The same picture as source and target is held once.
    one.work = workspace.with_targets(one.work, [picture], Limits())
    assert one.held_bytes == 15_000
    sessions.check_room(other)
    other.shelf.put(b"x" * 6_000, "image/png")
    with pytest.raises(Busy, match=r"holds 0 MB of pictures and maps.*try again in a while"):
        sessions.check_room(other)
    sessions.drop("one")
    sessions.check_room(other)


def test_a_flood_of_names_is_refused_at_once() -> None:
    with pytest.raises(PointError, match="at most 1000 names, got 400000"):
        workspace.rename(Workspace(), ",".join(map(str, range(400_000))))
    renamed = workspace.rename(Workspace(), ",".join(map(str, range(1000))))
    assert len(dataclasses.replace(renamed).names) == 1000


def test_a_prompt_has_the_length_that_somebody_types() -> None:
    check_letters("a" * 1000, Limits())
    with pytest.raises(SettingsError, match="at most 1000 letters, got 1001"):
        check_letters("a" * 1001, Limits())
