"""``semcorr app`` as a process: killed, restarted, on a full disk, watched for connections."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import pytest

from app.http.test_match import ids, located, png
from app.serving import SITECUSTOMIZE, Client, Page, Visitor
from deadline import DEADLINE

pytestmark = pytest.mark.slow

Serve = Callable[..., Page]


def without_addresses(work: object) -> object:
    """A work without what a restart changes: the addresses of images, undo, the last job, what was said."""
    if isinstance(work, dict):
        changing = ("address", "undo", "redo", "job", "message")
        return {name: without_addresses(value) for name, value in work.items() if name not in changing}
    return [without_addresses(one) for one in work] if isinstance(work, list) else work


def test_after_a_kill_all_that_was_answered_is_there(serve: Serve, tmp_path: Path) -> None:
    page = serve(works=tmp_path / "works")
    visitor = page.visitor()
    visitor.step("example", category="face")
    visitor.find("attention-dift", "fast")
    heat = f"/api/work/heat?target={ids(visitor, 'targets')[0]}&point=all&layer="
    layer = visitor.shown["found"]["layers"][-1]
    heats = [visitor.ask(f"{heat}{one}")[1] for one in ("all%20layers%20together", layer)]
    visitor.step("correct", target=ids(visitor, "targets")[1], point=ids(visitor)[0], x=1 / 3, y=9.5)
    answered = visitor.step("accept")
    page.kill()
    page = serve(works=tmp_path / "works")
    again = Visitor(page.host, visitor.key)
    assert without_addresses(again.reload()) == without_addresses(answered)
    assert [again.ask(f"{heat}{one}")[1] for one in ("all%20layers%20together", layer)] == heats
    assert again.ask(f"/{again.shown['source']['address']}")[0] == 200
    assert again.ask("/api/work/export", {})[0] == 200
    # Work goes on: only the new point is described and located.
    before = located(again)
    again.step("add-point", x=20.5, y=30.5)
    assert again.find("attention-dift", "fast")["state"] == "done"
    assert [target[:-1] for target in located(again)] == before


def test_kills_in_the_middle_of_steps_lose_no_answer(serve: Serve, tmp_path: Path) -> None:
    key, answered, sent = "", 0, 0
    for _ in range(3):
        page = serve(works=tmp_path / "works")
        visitor = Visitor(page.host, key) if key else page.visitor()
        key = visitor.key
        if not sent:
            visitor.step("example", category="face")
        visitor.reload()
        moved = (visitor.shown["points"][0]["x"], visitor.shown["points"][0]["y"])
        # The step under way may have been written before the kill; nobody was answered.
        assert not sent or moved in [(float(answered), 0.5), (float(sent), 0.5)]
        killer = threading.Timer(0.5, page.kill)
        killer.start()
        try:
            while True:
                sent = (sent + 1) % 250
                visitor.step("move-point", point=ids(visitor)[0], x=sent, y=0.5)
                answered = sent
        except (OSError, HTTPException):
            killer.join()
    assert answered > 10


def test_a_full_disk_is_said_and_changes_nothing(serve: Serve) -> None:
    page = serve()
    visitor = page.visitor()
    visitor.step("example", category="face")
    before = visitor.reload()
    limits = resource.prlimit(page.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(page.process.pid, resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        status, answer = visitor.ask("/api/work/add-point", {"base": before["revision"], "x": 1, "y": 2})
        assert (status, answer["error"].startswith("Nothing was changed")) == (507, True)
        status, answer = visitor.send("target", "new.png", png(600, 600))
        assert (status, answer["error"].startswith("Nothing was changed")) == (507, True)
        assert visitor.ask("/api/work/undo", {"base": before["revision"]})[0] == 507
        job = visitor.find("dift", "published")
        assert (job["state"], job["error"].startswith("Nothing was changed")) == ("failed", True)
        after = {**visitor.reload(), "method": before["method"], "preset": before["preset"]}
        assert without_addresses(after) == without_addresses(before)
        assert [path for path in page.works.rglob("*") if path.name.startswith(".")] == []
    finally:
        resource.prlimit(page.process.pid, resource.RLIMIT_FSIZE, limits)
    visitor.step("add-point", x=1, y=2)
    assert len(ids(visitor)) == 5


def test_old_works_are_deleted_at_the_start(serve: Serve, tmp_path: Path) -> None:
    page = serve(works=tmp_path / "works")
    keys = [page.visitor().key for _ in range(2)]
    for key in keys:
        visitor = Visitor(page.host, key)
        visitor.reload()
        visitor.step("example", category="face")
    page.kill()
    old = min((tmp_path / "works").iterdir())
    os.utime(old / "work.json", (time.time() - 3 * 3600,) * 2)
    page = serve("--keep-hours", 2, works=tmp_path / "works")
    kept = Client(page.host).ask("/api/about")[1]["kept"]
    assert f"in the folder {tmp_path / 'works'} for 2 hours" in kept
    deadline = time.monotonic() + DEADLINE
    while old.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert sorted(Visitor(page.host, key).ask("/api/work")[0] for key in keys) == [200, 404]


def test_no_connection_leaves_the_machine_and_nothing_stays(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    record = tmp_path / "outgoing.txt"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("SEMCORR_TEST_OUTGOING", str(record))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    page = serve()
    visitor = page.visitor()
    visitor.step("example", category="face")
    assert visitor.find("nbb", "published")["state"] == "done"
    assert visitor.ask("/api/work/export", {})[0] == 200
    assert visitor.ask("/api/work/delete", {"sure": True}) == (200, {})
    assert list(page.works.iterdir()) == []
    page.process.send_signal(signal.SIGTERM)
    assert page.process.wait(DEADLINE) == 0
    assert not record.exists(), record.read_text()
    assert [path for path in page.temporary.rglob("*") if path.is_file()] == []


def test_the_recorder_of_connections_records(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    record = tmp_path / "outgoing.txt"
    code = "import urllib.request; urllib.request.urlopen('http://example.com')"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SEMCORR_TEST_OUTGOING": str(record)}
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode != 0
    assert "example.com" in record.read_text()
