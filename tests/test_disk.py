"""A disk that fills up, as the kernel shows it: an error that says so, what was there before, and no half file."""

import contextlib
import resource
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from evaluation.handmade import pair_record, run_of
from semcorr.errors import DatasetError, RunError, SemcorrError, TransferError
from semcorr.evaluation.report.plots import write_plots
from semcorr.evaluation.runs.folder import append, open_run, read_run
from semcorr.imaging.flow import Flow
from semcorr.imaging.geometry import Crop
from semcorr.imaging.image import save_image
from semcorr.keypoints.base import Annotations, Category
from semcorr.keypoints.formats import FORMATS
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.matchers.prompt.latent_cache import CachedLatents, LatentCache
from semcorr.matchers.results import Query
from semcorr.matchers.wrappers.calibration import Calibration
from semcorr.storage.record_store import Shard, new_record_file
from semcorr.transfer import export, review_page
from semcorr.transfer.journal import Journal

ROOM = 300
"""Bytes that a file may have."""


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file grows beyond ``ROOM``: the kernel refuses, as it does where there is no room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def a_query() -> Query:
    return Query(
        method="prompt",
        model_id="toy",
        model_revision=None,
        model_fingerprint="0",
        settings={},
        points=np.zeros((1, 2)),
        image_size=(9, 9),
        image_sha256="0",
        tensors={"embeddings": np.zeros((1, 900), dtype=np.float32)},
    )


def a_record(size: int = 400) -> TransferRecord:
    names = tuple(f"point {number}" for number in range(size))
    predicted = PredictedObject(category="cat", names=names, points=np.ones((size, 2)), confidence=np.ones(size))
    return TransferRecord(file="a.png", path=Path("a.png"), size=(9, 9), objects=(predicted,))


def noise() -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))


def the_annotations(folder: Path) -> Annotations:
    names = tuple(f"point {number}" for number in range(400))
    category = Category(id=1, name="cat", keypoints=names)
    return Annotations(path=folder / "a.json", images=(), categories={"cat": category})


def written(kind: str, path: Path) -> Callable[[], object]:
    """What writes a file of more than ``ROOM`` bytes at a path."""
    curve, sure = tuple(np.linspace(0, 1, 200).tolist()), np.random.default_rng(0).random((9, 9))
    if kind in FORMATS:
        known, one = the_annotations(path.parent), (a_record(),)
        return lambda: export.write(kind, path, known, lambda: iter(one), min_confidence=0.0, info={})
    calibration = Calibration(method="dift", key="k", confidence=curve, probability=curve, source={})
    flow = Flow(displacement=np.zeros((9, 9, 2)), confidence=sure, source_size=(9, 9), target_size=(9, 9))
    return {
        "query": lambda: a_query().save(path),
        "calibration": lambda: calibration.save(path),
        "flow": lambda: flow.save(path),
        "image": lambda: save_image(noise(), path),
        "data set's image": lambda: save_image(noise(), path, error=DatasetError),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "suffix", "error"),
    [
        ("query", ".safetensors", OSError),
        ("calibration", ".json", OSError),
        ("flow", ".npz", OSError),
        ("flow", ".flo", OSError),
        ("image", ".png", SemcorrError),
        ("data set's image", ".png", DatasetError),
        ("coco", ".json", TransferError),
        ("cvat", ".xml", TransferError),
        ("label-studio", ".json", TransferError),
        ("deeplabcut", ".csv", TransferError),
        ("dlib", ".xml", TransferError),
    ],
)
def test_a_result_is_whole_or_as_it_was_before(kind: str, suffix: str, error: type[Exception], tmp_path: Path) -> None:
    path = tmp_path / f"result{suffix}"
    path.write_bytes(b"before")
    with full_disk(), pytest.raises(error, match="File too large"):
        written(kind, path)()
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"
    written(kind, path)()
    assert path.stat().st_size > ROOM


def test_a_journal_keeps_what_is_finished(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "work", {"a": 1})
    with journal.open():
        small = TransferRecord(file="small.png", path=Path("small.png"), size=(9, 9))
        journal.add(small)
        with full_disk(), pytest.raises(RunError, match=r"File too large.*the same command continues"):
            journal.add(a_record())
    with Journal(tmp_path / "work", {"a": 1}).open() as again:
        assert list(again._lines) == ["small.png"]  # what was cut short is not among them


def test_a_run_keeps_what_is_finished(tmp_path: Path) -> None:
    settings = {"dataset": {"name": "x"}, "method": {"name": "y"}}
    open_run(tmp_path / "run", settings, 2)
    file = new_record_file(tmp_path / "run", Shard())
    append(file, pair_record(0, [[1, 1]]))
    with full_disk(), pytest.raises(RunError, match=r"File too large.*the same command continues"):
        append(file, pair_record(1, [[float(number), 1] for number in range(7)]))
    assert [record.index for record in read_run(tmp_path / "run").records] == [0]
    with full_disk(), pytest.raises(RunError, match="cannot be written"):
        open_run(tmp_path / "other", {**settings, "long": "x" * 900}, 2)
    assert not (tmp_path / "other" / "run.json").exists()


def test_plots_are_whole_or_not_there(tmp_path: Path) -> None:
    run = run_of("mine", [pair_record(0, [[1, 1], [50, 50]], target_box=(0.0, 0.0, 90.0, 90.0))])
    with full_disk(), pytest.raises(RunError, match="cannot be written: File too large"):
        write_plots([run], tmp_path / "plots")
    assert list((tmp_path / "plots").iterdir()) == []


def test_a_cache_goes_without(tmp_path: Path) -> None:
    kept, crop = CachedLatents(LatentCache(tmp_path), tmp_path, (4, 8, 8)), Crop(left=0, top=0, width=8, height=8)
    with full_disk(), pytest.warns(RuntimeWarning, match="No more latents are kept.*File too large"):
        kept.put(crop, torch.zeros(4, 8, 8))
    assert list(tmp_path.iterdir()) == []
    assert kept.get(crop) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept.put(crop, torch.zeros(4, 8, 8))  # the first full disk warns, later ones do not


def test_a_review_page_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "review.html"
    with full_disk(), pytest.raises(TransferError, match="File too large"):
        review_page.write(path, the_annotations(tmp_path), lambda: [a_record()], supports={}, min_confidence=0.5)
    assert list(tmp_path.iterdir()) == []
