"""One query that is optimized over all annotated objects (``--fuse optimize``)."""

from pathlib import Path

import numpy as np
import pytest

from semcorr.errors import SettingsError
from semcorr.imaging.image import load_image
from semcorr.keypoints.base import VISIBLE, Annotations
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.spec import MatcherSpec
from semcorr.toy.coco import ToyWorld
from semcorr.transfer import transfer_annotations
from semcorr.transfer.file_transfer import FileTransfer, TransferOutput
from semcorr.transfer.plan import TransferSettings
from semcorr.transfer.run import TransferJob
from semcorr.transfer.transferrer import Transferrer

OPTIONS = {"device": "cpu", "resolution": 64, "steps": 2, "locate_crops": 4, "calibration": "none"}


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return load_matcher("prompt", "toy", "fast", **OPTIONS)


@pytest.fixture(scope="module")
def known(world: ToyWorld) -> Annotations:
    return read_annotations(world.annotations, world.images)


def test_the_query_is_that_of_all_annotated_images(world: ToyWorld, known: Annotations, matcher: Matcher) -> None:
    """It is optimized as :meth:`Matcher.describe` does it, and its points are those of single matches, averaged."""
    (record, *_) = transfer_annotations(known, images=world.images, matcher=matcher, fuse="optimize")
    annotated = [image for image in known.images if image.annotated]
    points = [
        np.where((one.visibility == VISIBLE)[:, None], one.points, np.nan)
        for one in (image.instances[0] for image in annotated)
    ]
    shown = ~np.isnan(points).all(axis=(0, 2))
    query = matcher.describe([image.path for image in annotated], [own[shown] for own in points])
    matches = matcher.locate(query, record.path)
    predicted = record.objects[0]
    assert np.isnan(predicted.points[~shown]).all()
    np.testing.assert_array_equal(predicted.confidence[shown], matches.confidence)
    # The mean around a map's peak is near its largest pixel, in a map of 64 pixels of an image of 96.
    distances = np.linalg.norm(predicted.points[shown] - matches.points, axis=1)
    assert np.median(distances) < 96 / 16
    assert predicted.votes is None


def test_stopped_and_continued_it_is_the_same(world: ToyWorld, matcher: Matcher, tmp_path: Path) -> None:
    """Stopped while it optimizes, and after two targets; the optimized query is stored, and not optimized again."""
    job = TransferJob(
        matcher=MatcherSpec(method="prompt"),
        annotations=world.annotations,
        images=world.images,
        settings=TransferSettings(fuse="optimize"),
    )
    stages: list[str] = []

    def run(name: str, stop_at: tuple[str, int] | None = None) -> Path:
        stages.clear()

        def progress(stage: str, done: int, total: int, **_: object) -> None:
            stages.append(stage)
            if stop_at is not None and stages.count(stop_at[0]) == stop_at[1]:
                raise KeyboardInterrupt

        output = TransferOutput(path=tmp_path / name)
        FileTransfer(job, output).run(matcher, progress=progress)
        return output.path

    for stop_at in (("optimize", 1), ("transfer", 2)):
        with pytest.raises(KeyboardInterrupt):
            run("stopped.json", stop_at)
    stopped = run("stopped.json")
    assert "optimize" not in stages
    assert stages.count("transfer") == 2
    assert stopped.read_bytes() == run("whole.json").read_bytes()


def test_a_method_that_takes_one_image_is_refused(known: Annotations, dift: Matcher) -> None:
    with pytest.raises(SettingsError, match="'dift' describes points of one image at a time"):
        Transferrer(dift, known, TransferSettings(fuse="optimize"))


def test_transfers_that_were_begun_before_can_be_continued(known: Annotations, matcher: Matcher) -> None:
    """The setting is part of a transfer's identity unless it has its default."""
    assert "fuse" not in Transferrer(matcher, known, TransferSettings(fuse="vote")).identity()["settings"]
    assert Transferrer(matcher, known, TransferSettings(fuse="optimize")).identity()["settings"]["fuse"] == "optimize"


def test_a_point_that_a_person_pointed_at_is_located_by_the_same_query(known: Annotations, matcher: Matcher) -> None:
    transferrer = Transferrer(matcher, known, TransferSettings(fuse="optimize"))
    record = transferrer.annotations.images[-1]
    name = known.categories["face"].keypoints[0]
    point, confidence = transferrer.predict_near(load_image(record.path), "face", name, (30.0, 40.0))
    assert np.linalg.norm(point - (30.0, 40.0)) < 96 * 0.2
    assert 0 <= confidence <= 1
