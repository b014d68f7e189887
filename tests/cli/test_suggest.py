"""``semcorr transfer --suggest``: what is printed, from which files, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Ran
from semcorr.toy.coco import ToyWorld, write_coco

DIFT = ("--method", "dift", "--model", "toy", "--set", "samples=1", "--set", "resolution=32", "--device", "cpu")


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> ToyWorld:
    """One annotated car and four others."""
    return write_coco(tmp_path_factory.mktemp("toy") / "coco", categories=("car",), support=1, targets=4, size=64)


def test_images_without_annotations_are_named_and_nothing_is_written(
    semcorr: Callable[..., Ran], drawings: ToyWorld
) -> None:
    before = sorted(drawings.annotations.parent.rglob("*"))
    command = ("transfer", drawings.annotations, "--images", drawings.images, "--suggest", 2, *DIFT)
    ran = semcorr(*command, "--json")
    assert ran.status == 0, ran.err
    document = json.loads(ran.out)
    annotated = json.loads(drawings.annotations.read_text(encoding="utf-8"))["images"][0]["file_name"]
    named = [one["image"] for one in document["suggested"]]
    assert len(set(named)) == 2
    assert annotated not in named
    assert (document["without_annotations"], document["annotated"]) == (4, 1)
    shown = semcorr(*command).out
    assert all(name in shown for name in named)
    assert "Of 4 images without annotations; 1 is annotated." in shown
    assert sorted(drawings.annotations.parent.rglob("*")) == before


def test_nothing_need_be_annotated(semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path) -> None:
    """A file with categories and no objects, and a folder of images alone, say the same."""
    document = json.loads(drawings.annotations.read_text(encoding="utf-8"))
    (tmp_path / "a.json").write_text(json.dumps({**document, "annotations": []}), encoding="utf-8")
    more = ("--suggest", 5, "--json", *DIFT)
    of_file = json.loads(semcorr("transfer", tmp_path / "a.json", "--images", drawings.images, *more).out)
    of_folder = json.loads(semcorr("transfer", drawings.images, *more).out)
    assert of_file == of_folder
    assert len(of_file["suggested"]) == 5
    assert sum(one["stands_for"] for one in of_file["suggested"]) == 5


def test_what_cannot_be_done_is_refused(semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path) -> None:
    command = ("transfer", drawings.annotations, "--images", drawings.images)
    assert "Name it with -o" in semcorr(*command, *DIFT).err
    assert (
        "leave out --output and --workers"
        in semcorr(*command, "--suggest", 1, "-o", tmp_path / "out.json", "--workers", 2).err
    )
    assert "at least 1" in semcorr(*command, "--suggest", 0, *DIFT).err
    assert "Expected images without annotations" in semcorr("transfer", tmp_path, "--suggest", 1, *DIFT).err
    assert "compares no features" in semcorr(*command, "--suggest", 1, "--method", "prompt", "--model", "toy").err
