"""Regions of works on the disk; and works of the version before, which had none."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from app.test_regions import labels_of, merged, stroke
from app.test_workspace import grey
from semcorr.app import changes
from semcorr.app.region_changes import clear_regions, name_region
from semcorr.app.server.session import Gone
from semcorr.app.server.sessions import Sessions
from semcorr.app.workspace import Workspace

Works = Callable[..., Sessions]


@pytest.fixture
def work() -> Workspace:
    """Regions in a source, one of them with a name, and what was predicted of them in a target."""
    made = changes.new_workspace(grey(), {"a": (1.0, 2.0)}, [grey(20, 20)])
    return merged(stroke(name_region(stroke(made, 1, (10, 10), (20, 10)), 1, "ear"), 2, (30, 20)))


def kept(sessions: Sessions, work: Workspace) -> str:
    key = sessions.new()
    with sessions.using(key) as session:
        session.do("regions found", work)
    return key


def test_regions_are_there_after_a_restart(works: Works, work: Workspace, tmp_path: Path) -> None:
    key = kept(works(), work)
    with works().using(key) as again:
        assert again.work.painting is not None
        assert again.work.painting.names == {1: "ear", 2: ""}
        assert np.array_equal(labels_of(again.work), labels_of(work))
        (target,) = again.work.target_ids
        one, before = again.work.regions[target], work.regions[target]
        assert (one.labels.packed, one.confidence, one.made_with) == (before.labels.packed, {1: 0.25, 2: 0.5}, "dift")
        assert not again.work.regions_outdated(target)
        assert again.work.described_regions is not None
        assert np.array_equal(again.work.described_regions.query.tensors["features"], np.ones(4))
        # Files are written once, and removed when no state needs them.
        files = {path.name: path.stat().st_ino for path in tmp_path.glob("works/*/*/*")}
        assert len(files) == 2 + 2 + 1
        again.do("named", name_region(again.work, 2, "tail"))
        assert {path.name: path.stat().st_ino for path in tmp_path.glob("works/*/*/*")} == files
        again.do("cleared", clear_regions(again.work))
    with works().using(key):
        assert len(list(tmp_path.glob("works/*/*/*"))) == 2


def test_a_work_of_the_version_before_is_read(works: Works, work: Workspace, tmp_path: Path) -> None:
    key = kept(works(), clear_regions(work))
    (path,) = tmp_path.glob("works/*/work.json")
    document = json.loads(path.read_text())
    for field in ("painting", "described_regions", "regions"):
        del document[field]
    path.write_text(json.dumps(document))
    with works().using(key) as again:
        assert again.work.points == ((1.0, 2.0),)
        assert (again.work.painting, again.work.regions) == (None, {})


def test_labels_that_are_not_their_image_s_are_broken(works: Works, work: Workspace, tmp_path: Path) -> None:
    key = kept(works(), work)
    assert work.painting is not None
    (path,) = tmp_path.glob(f"works/*/labels/{work.painting.labels.sha256}.png")
    for broken in (
        PIL.Image.new("L", (41, 30)),
        PIL.Image.new("L", (40, 30), color=3),
        PIL.Image.new("RGB", (40, 30)),
    ):
        broken.save(path)
        with pytest.raises(Gone, match="cannot be read any more"), works().using(key):
            pass
    path.unlink()
    with pytest.raises(Gone, match="cannot be read any more"), works().using(key):
        pass
