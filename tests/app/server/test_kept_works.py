"""Works on the disk: after a restart everything is there; what is deleted or expired is not; nothing is half done."""

import dataclasses
import json
import os
import resource
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from semcorr.app import changes, examples
from semcorr.app.find import find
from semcorr.app.images import HeldImage
from semcorr.app.limits import Limits
from semcorr.app.server.kept_works import NotKept
from semcorr.app.server.session import Gone
from semcorr.app.server.sessions import Sessions
from semcorr.app.workspace import Workspace
from semcorr.imaging.image import load_image
from semcorr.matchers.load import load_matcher

Works = Callable[..., Sessions]


@pytest.fixture(scope="module")
def matched() -> Workspace:
    """An example with matches, their layers, a correction, an acceptance, names, and a scaled source."""
    made = examples.example("face")
    assert made.source is not None
    source = HeldImage(pixels=made.source.pixels, name="née.png", original=(1024, 1024))
    made = dataclasses.replace(made, source=source, targets=made.targets[:2], target_ids=made.target_ids[:2])
    matcher = load_matcher("attention-dift", "toy", steps=3, locate_crops=4, dift_samples=1)
    work, _ = changes.merge(made, find(matcher, made, "quick", lambda *_, **__: None))
    return changes.accept(changes.correct(work, 0, 1, 1 / 3, 2 / 7), 0)


def numbers(work: Workspace) -> dict[str, object]:
    """All of a work that can be compared."""
    assert work.source is not None
    return {
        "points": work.points,
        "ids": work.ids,
        "names": work.names,
        "images": [(image.sha256, image.name, type(image)) for image in (work.source, *work.targets)],
        "targets": work.target_ids,
        "decisions": dict(work.decisions),
        "matches": {
            cell: (match.point, match.confidence, match.query_point, match.label, match.prediction.matches.calibration)
            for cell, match in work.matches.items()
        },
        "described": {point: (one.point, one.label, one.query.settings) for point, one in work.described.items()},
        "outdated": [work.outdated(cell) for cell in work.matches],
    }


def test_everything_is_there_after_a_restart(works: Works, matched: Workspace) -> None:
    sessions = works()
    key = sessions.new()
    with sessions.using(key) as session:
        session.do("matched", matched)
        session.methods[True] = ("attention-dift", "fast")
        session.set_words(matched.targets[0], example=True, prompt="a née")
        before = session.revision
    with works().using(key) as again:
        assert numbers(again.work) == numbers(matched)
        assert again.revision == before
        assert again.methods == {True: ("attention-dift", "fast")}
        assert (again.words_example, again.words_prompt) == (True, "a née")
        assert again.words_image is not None
        np.testing.assert_array_equal(again.words_image.pixels, matched.targets[0].pixels)
        # Heat maps of all layers, and queries that locate as before.
        for cell, match in matched.matches.items():
            read = again.work.matches[cell].prediction
            np.testing.assert_array_equal(read.matches.heatmaps, match.prediction.matches.heatmaps)
            np.testing.assert_array_equal(read.layers, match.prediction.layers)  # type: ignore[arg-type]
        for point, one in matched.described.items():
            for name, tensor in one.query.tensors.items():
                np.testing.assert_array_equal(again.work.described[point].query.tensors[name], tensor)
        # One prediction and one query for all points, as before.
        assert len({id(match.prediction) for match in again.work.matches.values()}) == 2
        assert len({id(one.query) for one in again.work.described.values()}) == 1
        # New points get ids of their own.
        more = changes.add_point(again.work, 1, 1, Limits())
        assert len(set(more.ids)) == len(more.points)


def test_only_this_user_can_read_it_and_the_key_is_nowhere(works: Works, matched: Workspace, tmp_path: Path) -> None:
    sessions = works()
    key = sessions.new()
    with sessions.using(key) as session:
        session.do("matched", matched)
    root = tmp_path / "works"
    (folder,) = root.iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (root, folder)] == [0o700, 0o700]
    for path in root.rglob("*"):
        assert key not in str(path)
        assert path.is_dir() or key.encode() not in path.read_bytes()


def test_files_are_written_once_and_removed_when_nothing_needs_them(
    works: Works, matched: Workspace, tmp_path: Path
) -> None:
    sessions = works()
    key = sessions.new()

    def files() -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in (tmp_path / "works").glob("*/*/*")}

    with sessions.using(key) as session:
        session.do("matched", matched)
        before = files()
        assert len(before) == 3 + 1 + 4
        session.do("renamed", changes.name_points(matched, "a, b"))
        assert files() == before
        session.do("cleared", changes.clear_points(matched))
        assert files() == before  # an undo would need them
        session.go(back=True)
        session.go(back=False)
        assert files() == before
    # Undo ends with the process; and what a killed one left half written is removed.
    (folder,) = (tmp_path / "works").iterdir()
    left = [folder / ".work.json.x", folder / "images" / ".a.png.x", folder / "queries" / "aa.safetensors"]
    for path in left:
        path.write_bytes(b"half")
    with works().using(key):
        assert len(files()) == 3
        assert not any(path.exists() for path in left)


def test_a_full_disk_changes_nothing(works: Works, matched: Workspace, tmp_path: Path) -> None:
    sessions = works()
    key = sessions.new()
    with sessions.using(key) as session:
        session.do("matched", matched)
        seen, listed = session.revision, sorted(tmp_path.rglob("*"))
        more = changes.add_targets(matched, [load_image(np.zeros((300, 400, 3), dtype=np.uint8))], Limits())
        with full_disk(), pytest.raises(NotKept, match=r"Nothing was changed.*File too large"):
            session.do("target added", more)
        with full_disk(), pytest.raises(NotKept):
            session.go(back=True)
        with full_disk(), pytest.raises(NotKept):
            session.set_words(None, example=False, prompt="x" * 1000)
        assert (session.work, session.revision, session.words_prompt) == (matched, seen, "")
        assert sorted(tmp_path.rglob("*")) == listed
        session.do("target added", more)
        assert len(session.work.targets) == 3
    with works().using(key) as again:
        assert len(again.work.targets) == 3


@contextmanager
def full_disk() -> Iterator[None]:
    """Let files grow to 100 bytes only, as where the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_deletion_deletes(works: Works, matched: Workspace, tmp_path: Path) -> None:
    sessions = works()
    keys = [sessions.new(), sessions.new()]
    for key in keys:
        with sessions.using(key) as session:
            session.do("matched", matched)
    with sessions.using(keys[0]) as session:
        sessions.delete(session)
    assert len(list((tmp_path / "works").iterdir())) == 1
    for process in (sessions, works()):
        with pytest.raises(Gone), process.using(keys[0]):
            pass
        with process.using(keys[1]) as session:
            assert session.work.points


def test_works_that_nobody_used_for_their_time_are_swept_and_nothing_else(
    works: Works, matched: Workspace, tmp_path: Path
) -> None:
    sessions = works(hours=2)
    old, new, broken = (sessions.new() for _ in range(3))
    for key in (old, new, broken):
        with sessions.using(key) as session:
            session.do("matched", matched)
    root, long_ago = tmp_path / "works", time.time() - 3 * 3600

    def folder_of(key: str) -> Path:
        return sessions._kept.of(key)._folder

    (folder_of(broken) / "work.json").write_text("{}")
    for key in (old, broken):
        os.utime(folder_of(key) / "work.json", (long_ago, long_ago))
    others = [root / "photos", root / ("a" * 64), root / "notes.txt", root / ("b" * 64)]
    for path in (others[0], others[1]):
        path.mkdir()
        (path / "mine.png").write_text("mine")
        os.utime(path, (long_ago, long_ago))
    others[2].write_text("mine")
    others[3].symlink_to(folder_of(old))
    unfinished, deleted = root / ("c" * 64), root / ".deleted-x"
    for path in (unfinished, deleted):
        (path / "images").mkdir(parents=True)
        os.utime(path, (long_ago, long_ago))
    sessions.sweep()
    assert set(root.iterdir()) == {folder_of(new), folder_of(broken), *others}
    for process in (sessions, works()):
        with pytest.raises(Gone), process.using(old):
            pass
        with process.using(new) as session:
            assert session.work.points
    # Use keeps it.
    os.utime(folder_of(new) / "work.json", (long_ago, long_ago))
    restarted = works(hours=2)
    with restarted.using(new):
        pass
    restarted.sweep()
    with restarted.using(new) as session:
        assert session.work.points


@pytest.mark.parametrize("what", ["text", "version", "field", "outside", "missing", "cut", "results"])
def test_a_broken_or_foreign_folder_is_left_untouched_and_reported(
    works: Works, matched: Workspace, tmp_path: Path, what: str
) -> None:
    sessions = works()
    key = sessions.new()
    with sessions.using(key) as session:
        session.do("matched", matched)
    (folder,) = (tmp_path / "works").iterdir()
    document = json.loads((folder / "work.json").read_text())
    if what == "version":
        document["version"] = 2
    elif what == "field":
        document["points"][0]["x"] = "left"
    elif what == "outside":
        document["source"]["file"] = "../../../../etc/passwd"
    elif what == "results":
        document["points"] = document["points"][1:]
    elif what == "missing":
        next((folder / "images").iterdir()).unlink()
    elif what == "cut":
        file = next((folder / "predictions").glob("*.npz"))
        file.write_bytes(file.read_bytes()[:100])
    (folder / "work.json").write_text("{" if what == "text" else json.dumps(document))
    listed = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    restarted = works()
    for process in (sessions, restarted):
        with pytest.raises(Gone, match=r"cannot be read.*left untouched"), process.using(key):
            pass
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == listed


def test_another_process_is_noticed(works: Works, matched: Workspace) -> None:
    one, other = works(), works()
    key = one.new()
    with one.using(key) as session:
        session.do("matched", matched)
    with other.using(key) as session:
        session.do("cleared", changes.clear_points(session.work))
    with one.using(key) as session:
        assert session.work.points == ()
        one.delete(session)
    with pytest.raises(Gone), other.using(key):
        pass
