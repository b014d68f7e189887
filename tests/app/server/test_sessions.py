"""Many users, some of whom ask for too much: running work stays, and memory is bounded."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from semcorr.app import workspace
from semcorr.app.limits import Limits, check_letters
from semcorr.app.server.jobs import Busy, Job, JobQueue
from semcorr.app.server.served_files import ServedFiles
from semcorr.app.server.sessions import Session, Sessions
from semcorr.app.workspace import Workspace
from semcorr.errors import PointError, SettingsError
from semcorr.imaging.image import load_image


def test_idle_sessions_are_removed_and_busy_ones_are_not() -> None:
    sessions, queue, go = Sessions(ServedFiles(), Limits(sessions=2)), JobQueue(), threading.Event()

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
        # The user of a removed workspace gets a message, and not an empty workspace.
        with pytest.raises(Busy, match="removed to make room"):
            sessions.of("idle")
        assert sessions.open("idle", idle.key) != (idle, True)
        sessions.of("idle").start(queue, work)
        with pytest.raises(Busy, match="Everybody here has work under way"):
            sessions.of("one more")
        assert len(sessions) == 2
    finally:
        go.set()
        queue.close()


def test_the_memory_of_all_users_is_bounded() -> None:
    files = ServedFiles()
    sessions = Sessions(files, Limits(held_megabytes=0.02))
    image = load_image(np.zeros((50, 100, 3), dtype=np.uint8))  # 15,000 bytes
    one, other = sessions.of("one"), sessions.of("other")
    one.do("source", workspace.replace_source(Workspace(), image))
    # The same image as source and target, now and before, is held once.
    one.do("targets", workspace.add_targets(one.work, [image], Limits()))
    assert one.held_bytes == 15_000
    sessions.check_room(other)
    other.files.add(b"x" * 6_000, "image/png")
    with pytest.raises(Busy, match=r"holds 0 MB of images and maps.*try again in a while"):
        sessions.check_room(other)
    sessions.drop("one")
    sessions.check_room(other)


def with_point(session: Session) -> Workspace:
    """Do something in a session that its user would miss."""
    image = load_image(np.zeros((50, 100, 3), dtype=np.uint8))
    session.do("source", workspace.replace_source(session.work, image))
    session.do("point", workspace.add_point(session.work, 3, 4, Limits()))
    return session.work


def test_a_reloaded_page_gets_its_workspace_by_the_key_alone() -> None:
    sessions = Sessions(ServedFiles(), Limits())
    session, known = sessions.open("page", None)
    assert not known
    work = with_point(session)
    sessions.drop("page")
    again, known = sessions.open("reloaded", session.key)
    assert known
    assert again is session
    assert sessions.of("reloaded").work is work
    # The name of the page that was closed leads nowhere.
    assert sessions.of("page").work.source is None
    assert len(session.key) >= 40


def test_nobody_can_choose_a_key_or_take_another_page() -> None:
    sessions = Sessions(ServedFiles(), Limits())
    session, known = sessions.open("page", "chosen by somebody else")
    assert not known
    assert session.key != "chosen by somebody else"
    with_point(session)
    # The proposed key opens nothing, and neither does any other.
    for key in ("chosen by somebody else", "", session.key[:-1], session.key + "x", None):
        other, known = sessions.open(f"attacker {key}", key)
        assert not known
        assert other is not session
        assert other.work.source is None


def test_a_page_keeps_what_it_did_before_it_sent_its_key() -> None:
    sessions = Sessions(ServedFiles(), Limits())
    session = sessions.of("page")
    work = with_point(session)
    assert sessions.open("page", None) == (session, False)
    assert sessions.open("page", session.key) == (session, True)
    assert sessions.of("page").work is work
    assert len(sessions) == 1


def test_a_key_is_handed_out_once() -> None:
    sessions = Sessions(ServedFiles(), Limits())
    session, _ = sessions.open("page", None)
    work = with_point(session)
    # An attacker who knows the page's name, but not the key.
    other, known = sessions.open("page", None)
    assert not known
    assert other.key != session.key
    assert sessions.open("page again", session.key) == (session, True)
    assert session.work is work


def test_a_session_without_a_way_back_is_removed_at_once() -> None:
    files = ServedFiles()
    sessions = Sessions(files, Limits())
    with_point(sessions.of("no key"))
    sessions.of("no key").files.add(b"x", "image/png")
    sessions.drop("no key")
    sessions.open("nothing in it", None)
    sessions.drop("nothing in it")
    assert len(sessions) == len(files) == 0


def test_the_session_of_a_closed_page_is_removed_after_its_time() -> None:
    sessions = Sessions(ServedFiles(), Limits(hours=0.05 / 3600))
    session, _ = sessions.open("page", None)
    with_point(session)
    time.sleep(0.1)
    assert sessions.open("second page", session.key)[1]  # one that is open is kept
    sessions.drop("page")
    sessions.drop("second page")
    time.sleep(0.1)
    _, known = sessions.open("late", session.key)
    assert not known
    assert len(sessions) == 1


def test_empty_sessions_are_removed_first_then_closed_ones() -> None:
    sessions = Sessions(ServedFiles(), Limits(sessions=4))
    opened, closed = sessions.open("open", None)[0], sessions.open("closed", None)[0]
    with_point(opened)
    with_point(closed)
    sessions.drop("closed")
    for number in range(20):  # a flood of new pages with nothing in them
        sessions.of(f"new {number}")
    assert sessions.of("open") is opened
    assert "nearly full" in sessions.warning()
    assert sessions.open("back", closed.key) == (closed, True)
    sessions.drop("back")
    for number in range(3):
        with_point(sessions.of(f"full {number}"))
    assert sessions.of("open") is opened
    assert not sessions.open("back", closed.key)[1]


def test_closed_sessions_free_memory_before_anybody_is_refused() -> None:
    sessions = Sessions(ServedFiles(), Limits(held_megabytes=0.02))
    session, _ = sessions.open("page", None)
    with_point(session)
    session.files.add(b"x" * 6_000, "image/png")
    sessions.drop("page")
    sessions.check_room(sessions.of("other"))
    assert not sessions.open("page", session.key)[1]


def test_a_page_is_behind_when_another_changed_the_workspace() -> None:
    sessions = Sessions(ServedFiles(), Limits())
    session, _ = sessions.open("one", None)
    with_point(session)
    sessions.open("two", session.key)
    session.shows("one")
    session.shows("two")
    assert not session.is_behind("one")
    session.do("point", workspace.add_point(session.work, 5, 6, Limits()))
    session.shows("two")
    assert session.is_behind("one")
    assert not session.is_behind("two")
    session.go(back=True)
    assert session.is_behind("two")


def test_a_job_survives_a_reload_and_ends_when_the_page_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semcorr.app.server.sessions._GRACE", 0.3)
    sessions, queue = Sessions(ServedFiles(), Limits()), JobQueue()

    def endless(job: Job) -> None:
        while True:
            job("optimize", 1, 2)
            time.sleep(0.01)

    try:
        session, _ = sessions.open("page", None)
        with_point(session)
        job = session.start(queue, endless)
        sessions.drop("page")
        sessions.open("reloaded", session.key)
        assert not job.wait(0.6)
        sessions.drop("reloaded")
        assert job.wait(10)
        assert job.status().state == "cancelled"
    finally:
        queue.close()


def test_too_many_names_are_refused_at_once() -> None:
    with pytest.raises(PointError, match="at most 1000 names, got 400000"):
        workspace.name_points(Workspace(), ",".join(map(str, range(400_000))))
    renamed = workspace.name_points(Workspace(), ",".join(map(str, range(1000))))
    assert len(dataclasses.replace(renamed).names) == 1000


def test_a_prompt_has_a_maximum_length() -> None:
    check_letters("a" * 1000, Limits())
    with pytest.raises(SettingsError, match="at most 1000 letters, got 1001"):
        check_letters("a" * 1001, Limits())
