"""Works by their keys: memory is a cache of the disk, bounded, and never the only copy of what somebody did."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from deadline import DEADLINE
from semcorr.app import changes
from semcorr.app.limits import Limits
from semcorr.app.server.jobs import Busy, Job, JobQueue
from semcorr.app.server.served_files import ServedFiles
from semcorr.app.server.session import Gone, Session, Stale
from semcorr.app.server.sessions import Sessions
from semcorr.app.workspace import Workspace
from semcorr.imaging.image import Image, load_image

Works = Callable[..., Sessions]


def image(shade: int = 0) -> Image:
    return load_image(np.full((50, 100, 3), shade, dtype=np.uint8))  # 15,000 bytes


def with_point(session: Session) -> Workspace:
    """Do something in a work that its owner would miss."""
    session.do("source", changes.replace_source(session.work, image()))
    session.do("point", changes.add_point(session.work, 3, 4, Limits()))
    return session.work


def filled(sessions: Sessions) -> str:
    key = sessions.new()
    with sessions.using(key) as session:
        with_point(session)
    return key


def test_a_work_opens_with_its_own_key_alone(works: Works) -> None:
    sessions = works()
    key = filled(sessions)
    assert len(key) >= 40
    with sessions.using(key) as session:
        assert session.work.points == ((3, 4),)
    for wrong in ("chosen by somebody", "", key[:-1], key + "x", key.swapcase(), "../" + key, "x" * 100_000, "\0", "é"):
        with pytest.raises(Gone), sessions.using(wrong):
            pass
    assert sessions.new() != key


def test_works_that_make_room_in_memory_are_read_again(works: Works) -> None:
    files = ServedFiles()
    sessions = works(files, sessions=2)
    keys = [filled(sessions) for _ in range(5)]
    with sessions.using(keys[0]) as session:
        session.files.add(b"x", "image/png")
    for key in keys:
        with sessions.using(key) as session:
            assert session.work.points == ((3, 4),)
    sessions.check_room(session)
    assert len(sessions) == 2
    assert len(files) == 0


def test_a_work_in_use_or_with_a_job_stays_in_memory(works: Works) -> None:
    sessions, queue, go = works(sessions=1), JobQueue(), threading.Event()
    try:
        busy = filled(sessions)
        with sessions.using(busy) as session:
            session.start(queue, "find", lambda job: go.wait(DEADLINE))
        with sessions.using(filled(sessions)) as used:
            for _ in range(5):
                filled(sessions)
            sessions.check_room(used)
            with sessions.using(busy) as again:
                assert again is session
            with sessions.using(used.key) as again:
                assert again is used
    finally:
        go.set()
        queue.close()


def test_empty_works_cost_nothing_on_the_disk_and_are_bounded_in_memory(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semcorr.app.server.sessions._MOST_EMPTY", 20)
    sessions = works()
    key = filled(sessions)
    for _ in range(100):
        sessions.new()
    assert len(sessions) <= 21
    with sessions.using(key) as session:
        assert session.work.points


def test_the_memory_of_all_is_bounded(works: Works) -> None:
    sessions = works(held_megabytes=0.02)
    one = sessions.new()
    with sessions.using(one) as session:
        # The same image as source and target, now and before, is held once.
        session.do("source", changes.replace_source(Workspace(), image()))
        session.do("targets", changes.add_targets(session.work, [session.work.source], Limits()))
        assert session.held_bytes == 15_000
        with sessions.using(sessions.new()) as other:
            other.files.add(b"x" * 6_000, "image/png")
            with pytest.raises(Busy, match=r"holds 0 MB of images and maps.*Try again in a while"):
                sessions.check_room(other)
    with sessions.using(sessions.new()) as third:
        sessions.check_room(third)


def test_a_step_is_taken_only_from_what_all_persons_did(works: Works) -> None:
    sessions = works()
    with sessions.using(filled(sessions)) as session:
        seen = session.revision
        session.check_base(seen)
        session.do("matches found", changes.add_point(session.work, 5, 6, Limits()), by_person=False)
        session.check_base(seen)  # a run that ended meanwhile changes nothing that a person did
        with pytest.raises(Stale, match="changed on another page"):
            session.check_base(seen, exact=True)
        session.do("point", changes.add_point(session.work, 7, 8, Limits()))
        for base in (seen, session.revision - 1, session.revision + 1):
            with pytest.raises(Stale):
                session.check_base(base)
        session.go(back=True)
        with pytest.raises(Stale):
            session.check_base(session.revision - 1)


def test_a_deleted_work_is_gone_for_a_job_as_well(works: Works) -> None:
    sessions, queue, go = works(), JobQueue(), threading.Event()
    try:
        key = filled(sessions)
        with sessions.using(key) as session:

            def work(job: Job) -> None:
                go.wait(DEADLINE)
                session.do("matches found", changes.clear_points(session.work), by_person=False)

            session.start(queue, "find", work)
            sessions.delete(session)
            go.set()
            assert session.job is not None
            assert session.job.wait(DEADLINE)
        with pytest.raises(Gone), sessions.using(key):
            pass
    finally:
        queue.close()


def test_a_job_is_cancelled_when_nobody_has_asked_for_its_work_for_a_while(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semcorr.app.server.session._PATIENCE", 1.5)
    sessions, queue = works(), JobQueue()

    def endless(job: Job) -> None:
        while True:
            job("optimize", 1, 2)
            time.sleep(0.01)

    try:
        key = filled(sessions)
        with sessions.using(key) as session:
            session.start(queue, "find", endless)
            job = session.job
        assert job is not None
        for _ in range(10):
            with sessions.using(key):
                assert not job.wait(0.2)
        assert job.wait(DEADLINE)
        assert job.status().state == "cancelled"
    finally:
        queue.close()
