"""A transfer says whether its confidence goes back to probabilities: where its images are like a calibration's."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.cli.main import main
from semcorr.imaging.domain import Domain
from semcorr.imaging.image import load_image
from semcorr.keypoints import TransferRecord, read_annotations
from semcorr.keypoints.predictions import calibration_of
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.wrappers.calibration import CalibratedMatcher, Calibration, key_of
from semcorr.toy.coco import ToyWorld
from semcorr.transfer import transfer_annotations
from semcorr.transfer.fusion import can_join


@pytest.fixture(scope="module")
def calibrated(dift: Matcher) -> CalibratedMatcher:
    """Every match is right with a probability of 0.25, among drawings."""
    bundled = load_matcher("dift", "toy", device="cpu")
    assert isinstance(bundled, CalibratedMatcher)
    curve = Calibration(
        method="dift",
        key=key_of("dift", dift.identity()),
        confidence=(0.5,),
        probability=(0.25,),
        source={"dataset": "toy", "points": 7},
        domain=bundled.calibration.domain,
    )
    return CalibratedMatcher(dift, curve)


def noise(path: Path) -> Path:
    pixels = np.random.default_rng(0).normal(128, 20, (96, 96, 3)).clip(0, 255).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return path


def test_a_record_says_whether_all_of_its_matches_are_calibrated(
    world: ToyWorld, calibrated: CalibratedMatcher, tmp_path: Path
) -> None:
    known = read_annotations(world.annotations, world.images)
    drawing = sorted(world.images.glob("*.png"))[-1]
    result = transfer_annotations(known, [drawing, noise(tmp_path / "noise.png")], matcher=calibrated, support=1)
    one, other = result.records
    assert (one.calibration, other.calibration) == ("7 points of toy", None)
    shown = np.isfinite(one.objects[0].points).all(axis=1)
    np.testing.assert_allclose(one.objects[0].confidence[shown], 0.25)
    assert not np.isclose(other.objects[0].confidence, 0.25).any()
    assert calibration_of(result.records) == "calibrated on 7 points of toy for 1 of 2 images; uncalibrated"


def test_supports_of_several_kinds_are_not_joined(
    calibrated: CalibratedMatcher, dift: Matcher, world: ToyWorld
) -> None:
    images = [load_image(path) for path in sorted(world.images.glob("*.png"))[:2]]
    queries = [calibrated.describe(image, [(40.0, 40.0)]) for image in images]
    assert can_join(queries, calibrated)
    mixed = [queries[0], dataclasses.replace(queries[1], source_statistics={})]
    assert not can_join(mixed, calibrated)
    assert can_join(mixed, dift)
    assert [calibrated.locate(query, images[0]).calibration is None for query in mixed] == [False, True]


def test_in_words(record: Callable[..., TransferRecord]) -> None:
    one = record()
    on = [dataclasses.replace(one, calibration="7 points of toy")]
    failed = dataclasses.replace(one, error="broken")
    assert calibration_of([one, one]) == calibration_of([]) == calibration_of([failed]) == "uncalibrated"
    assert calibration_of([*on, *on, failed]) == "calibrated on 7 points of toy"
    assert TransferRecord.from_json(on[0].to_json()).calibration == "7 points of toy"
    # A line of an earlier version says nothing of it.
    line = json.loads(one.to_json())
    del line["calibration"]
    assert TransferRecord.from_json(json.dumps(line)).calibration is None


def test_the_command_says_it(
    world: ToyWorld, calibrated: CalibratedMatcher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = calibrated.calibration.save(tmp_path / "curve.json")
    command = ["transfer", str(world.annotations), "--images", str(world.images), "--json", "--device", "cpu"]
    command += ["--method", "dift", "--model", "toy", "--set", "samples=1", "--support", "1"]
    for calibration, text in ((str(file), "calibrated on 7 points of toy"), ("none", "uncalibrated")):
        output = tmp_path / f"{text[:3]}.json"
        assert main([*command, "-o", str(output), "--calibration", calibration]) == 0
        assert json.loads(capsys.readouterr().out)["confidence"] == text
        assert json.loads(output.read_text())["semcorr"]["confidence"] == text


def test_a_domain_of_one_image_has_that_image(world: ToyWorld, calibrated: CalibratedMatcher) -> None:
    image = load_image(sorted(world.images.glob("*.png"))[0])
    query = calibrated.describe(image, [(40.0, 40.0)])
    alone = dataclasses.replace(calibrated.calibration, domain=Domain.of([query.source_statistics]))
    assert alone.holds_between(query, image)
