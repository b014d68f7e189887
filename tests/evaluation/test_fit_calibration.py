"""Calibrations are fitted to what was drawn, kept, and used for what they were made for alone."""

import dataclasses
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from evaluation.handmade import pair_record, run_of
from semcorr.cli.main import main
from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.errors import CalibrationError, QueryError
from semcorr.evaluation.fit_calibration import calibrate
from semcorr.evaluation.metrics.confidence import calibration_error
from semcorr.evaluation.report.build import build_report
from semcorr.evaluation.report.groups import ReportOptions
from semcorr.evaluation.runs.records import Run
from semcorr.evaluation.runs.runner import run
from semcorr.imaging.domain import statistics
from semcorr.imaging.image import load_image
from semcorr.matchers.dense import dense_flow
from semcorr.matchers.load import load_matcher
from semcorr.matchers.results import Matches, Query
from semcorr.matchers.spec import MatcherSpec
from semcorr.matchers.wrappers.calibration import CalibratedMatcher, Calibration, bundled, calibrated, key_of
from semcorr.settings import override
from semcorr.storage.safetensors import read_tensors, write_tensors
from semcorr.toy.render import render_scene

METHOD = {
    "name": "dift", "model_id": "toy", "model_fingerprint": "f", "preset": "published", "settings": {"t": 1, "seed": 0},
}  # fmt: skip


def drawn(pairs: int = 400, *, seed: int = 0, method: dict[str, Any] | None = None) -> Run:
    """Pairs of ten points that are right as often as the square of their confidence says."""
    rng = np.random.default_rng(seed)
    records = []
    for index in range(pairs):
        confidence = rng.random(10)
        wrong = rng.random(10) >= confidence**2
        truth = rng.uniform(10, 90, (10, 2))
        offsets = np.where(wrong[:, None], [30.0, 0.0], [1.0, 0.0])
        more = {"confidence": confidence, "target_box": (0, 0, 100, 100), "names": tuple("abcdefghij")}
        records.append(pair_record(index, truth, offsets, **more))
    return run_of("drawn", records, method=METHOD | (method or {}))


@pytest.mark.parametrize(("kind", "within"), [("platt", 0.1), ("isotonic", 0.1), ("auto", 0.1)])
def test_a_curve_finds_what_confidence_is_worth(kind: Any, within: float) -> None:
    curve = calibrate(drawn(), kind=kind)
    asked = np.linspace(0.05, 0.95, 19)
    assert np.abs(curve.apply(asked) - asked**2).max() < within
    other = np.random.default_rng(5)
    confidence = other.random(5000)
    right = other.random(5000) < confidence**2
    assert calibration_error(curve.apply(confidence), right) < 0.05 < calibration_error(confidence, right)
    assert curve.source["points"] == 4000
    # A logistic curve is no square.
    assert curve.source["fit"] == ("isotonic" if kind == "auto" else kind)
    assert (curve.source["dataset"], curve.source["split"], curve.source["model"]) == ("toy", "test", "toy")


def test_a_calibration_is_kept_whole(tmp_path: Path) -> None:
    curve = calibrate(drawn(40))
    again = Calibration.load(curve.save(tmp_path / "folder" / "a.json"))
    assert again == curve
    for broken in ("", "[]", "{}", '{"semcorr": "query", "version": 1}'):
        (tmp_path / "broken.json").write_text(broken)
        with pytest.raises(CalibrationError, match="Expected a file that `semcorr calibrate` wrote"):
            Calibration.load(tmp_path / "broken.json")
    document = json.loads((tmp_path / "folder" / "a.json").read_text())
    for change in (
        {"probability": [0.5]},
        {"confidence": [1.0, 0.0], "probability": [0.1, 0.2]},
        {"probability": None},
    ):
        (tmp_path / "broken.json").write_text(json.dumps(document | change))
        with pytest.raises(CalibrationError, match="Cannot read the calibration"):
            Calibration.load(tmp_path / "broken.json")
    with pytest.raises(CalibrationError, match="FileNotFoundError"):
        Calibration.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (drawn(5), "has 50 points"),
        (drawn(40, method={"name": "random"}), "has no confidence"),
        (drawn(40, method={"calibration": "abc"}), "calibrated already. Make the run again with --calibration none"),
        (dataclasses.replace(drawn(40), expected=50), "40 of 50 pairs: finish it"),
        (
            dataclasses.replace(
                drawn(40), records=[dataclasses.replace(r, confidence=1 - r.confidence) for r in drawn(40).records]
            ),
            "the less often it was right",
        ),
    ],
)
def test_what_cannot_be_calibrated_is_refused(run: Run, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        calibrate(run)


def test_the_key_is_of_all_that_counts() -> None:
    identity = {"model_fingerprint": "f", "settings": {"t": 1, "seed": 0}, "dtype": "float32"}
    same = [
        identity | {"settings": {"seed": 7, "t": 1}},
        identity | {"dtype": "bfloat16"},
        identity | {"model_id": "x"},
    ]
    assert {key_of("dift", one) for one in same} == {key_of("dift", identity)}
    others = [
        identity | {"model_fingerprint": "g"},
        identity | {"settings": {"t": 2, "seed": 0}},
        identity | {"align_pose": True},
    ]
    assert len({key_of("dift", one) for one in [identity, *others]} | {key_of("nbb", identity)}) == 5


def test_the_key_counts_a_peak_only_where_the_confidence_does() -> None:
    """With attention it is the same for every peak; of features it is the cosine there, and a cell was a pixel once."""
    attention = {"model_fingerprint": "f", "settings": {"rounds": 1}}
    peaks = [attention | {"settings": {"rounds": 1, "peak": kind}} for kind in ("cell", "parabola", "soft")]
    assert {key_of("prompt", one) for one in peaks} == {key_of("prompt", attention)}
    own = {"window": 2, "temperature": 0.05}
    kinds = ("pixel", "cell", "parabola", "soft")
    pixel, cell, *finer = (key_of("dift", {"settings": {**own, "peak": kind}}) for kind in kinds)
    assert pixel == cell
    assert len({cell, *finer}) == 3
    assert peaks[1]["settings"]["peak"] == "parabola"  # an identity is not changed


def test_a_bundled_one_is_used_for_its_own_settings_alone(tmp_path: Path) -> None:
    scene, other = (render_scene(seed, 96, split="test").image for seed in (0, 1))
    points = [(30.0, 40.0), (60.0, 50.0)]
    usual = load_matcher("dift", "toy", device="cpu")
    raw = load_matcher("dift", "toy", device="cpu", calibration="none")
    changed = load_matcher("dift", "toy", device="cpu", t=200)
    assert isinstance(usual, CalibratedMatcher)
    assert type(usual.unwrapped) is type(raw) is type(changed)
    query = usual.describe(scene, points)
    curve, plain = usual.locate(query, other), raw.locate(query, other)
    assert curve.calibration is not None
    assert curve.calibration.endswith("points of toy val")
    assert (plain.calibration, plain.to_dict()["calibration"]) == (None, "uncalibrated")
    np.testing.assert_allclose(curve.confidence, usual.calibration.apply(plain.confidence))
    np.testing.assert_array_equal(curve.points, plain.points)
    assert Matches.load(curve.save(tmp_path / "m.safetensors")).calibration == curve.calibration
    assert usual.identity()["calibration"]
    assert "calibration" not in raw.identity()
    flow = dense_flow(usual, scene, other, step=40)
    _, alone = raw.locate_points(raw.describe(scene, flow.points().reshape(-1, 2)), other)
    np.testing.assert_allclose(flow.confidence.ravel(), usual.calibration.apply(alone), atol=1e-5)
    # Other methods, models and settings are refused, with a reason.
    file = usual.calibration.save(tmp_path / "dift.json")
    assert isinstance(calibrated(raw, "dift", file), CalibratedMatcher)
    with pytest.raises(CalibrationError, match="another method, model or setting"):
        load_matcher("dift", "toy", device="cpu", t=200, calibration=file)


def test_the_preset_for_photographs_has_one_unless_its_settings_change() -> None:
    usual = load_matcher("hypercolumn", device="cpu")
    assert isinstance(usual, CalibratedMatcher)
    assert usual.calibration.source["categories"] == ["car(M)", "car(S)", "duck(S)", "motorbike(G)", "winebottle(M)"]
    for options in ({"grid": 32}, {"prior": "none"}, {"enlarge": 2}, {"turns": 4}, {"align_pose": True}):
        assert not isinstance(load_matcher("hypercolumn", device="cpu", **options), CalibratedMatcher), options


def test_settings_that_follow_from_an_image_count() -> None:
    """A small object is enlarged, and objects that face any way are turned: that is another confidence."""
    small: dict[str, Any] = {"layers": ("10@64", "14@64"), "grid": 16, "device": "cpu", "calibration": "none"}
    raw = load_matcher("hypercolumn", **small)
    assert (raw.settings.turns, raw.settings.enlarge) == ("auto", "auto")
    curve = Calibration(
        method="hypercolumn",
        key=key_of("hypercolumn", raw.identity()),
        confidence=(0.0, 1.0),
        probability=(0.2, 0.3),
        source={"dataset": "d"},
    )
    matcher = CalibratedMatcher(raw, curve, everywhere=True)
    scene, other = (render_scene(seed, 96, split="test").image for seed in (0, 1))
    wide, close = np.array([[10.0, 10], [80, 20], [40, 90]]), np.array([[40.0, 40], [50, 40], [45, 50]])
    for one, points, holds in (
        (matcher, wide, True),
        (matcher, wide[:1], True),
        (matcher, close, False),
        (matcher.with_settings(override(raw.settings, turns=1)), wide, True),
        (matcher.with_settings(override(raw.settings, turns=2)), wide, False),
    ):
        query = one.describe(scene, points)
        assert (one.locate(query, other).calibration is not None) == holds
        assert (one.locate_points(query, other)[1].max() <= 0.3) == holds


def test_every_bundled_one_is_sound() -> None:
    folder = Path(str(resources.files("semcorr.matchers.wrappers"))) / "calibrations"
    files = sorted(folder.glob("*.json"))
    assert files
    for file in files:
        curve = Calibration.load(file)
        assert file.name == f"{curve.method}-{curve.key}.json"
        fitted = (curve.source["dataset"], curve.source["split"])
        assert fitted == (("pf-willow", "test") if curve.method == "hypercolumn" else ("toy", "val"))
        assert curve.source["calibration_error_of_folds"] <= 0.05
        assert bundled(curve.method, curve.key) == curve


def test_a_report_tells_what_confidence_is_worth() -> None:
    guess = run_of("random", drawn(40).records, method={"name": "random"})
    report = build_report([drawn(400), dataclasses.replace(guess, name="random")])
    table = next(table for table in report.tables if "confidence" in table.title)
    assert [row.name for row in table.rows] == ["drawn"]
    error, is_calibrated, area, everything, half, gain = table.rows[0].values
    # Right with the probability c^2: c is 1/6 too much on average, 1/3 are right, 7/12 of those with c > 1/2.
    assert error == pytest.approx(1 / 6, abs=0.02)
    assert is_calibrated == "no"
    assert (everything, half, gain) == pytest.approx((100 / 3, 700 / 12, 25), abs=2)
    # The k-th part's c^2 from the top: 1 - (1 - (1 - k)^3) / 3k, over k from 0 to 1.
    shares = (np.arange(4000) + 1) / 4000
    assert area == pytest.approx(float(np.mean(1 - (1 - (1 - shares) ** 3) / (3 * shares))), abs=0.02)


@pytest.mark.slow
def test_the_command_fits_a_run_and_its_file_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["-o", str(tmp_path / "run")]
    asked = ["eval", "toy", "--method", "dift", "--set", "samples=1", "--limit", "30", "--device", "cpu", *where]
    assert main(asked) == 0
    file = tmp_path / "dift.json"
    assert main(["calibrate", str(tmp_path / "run"), "-o", str(file)]) == 0
    assert f"Use it with: --method dift --calibration {file}" in capsys.readouterr().out
    again = [*asked[:-1], str(tmp_path / "again"), "--calibration", str(file), "--json"]
    assert main(again) == 0
    document = json.loads(capsys.readouterr().out)
    assert "calibration error" in json.dumps(document)
    assert main(["calibrate", str(tmp_path / "again"), "-o", str(file)]) == 2
    assert "calibrated already" in capsys.readouterr().err
    assert main(["calibrate", str(tmp_path / "run"), "-o", "x.txt"]) == 2
    assert "ends in .json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"semcorr": "calibration", "version": 1, "method": "m", "key": "k", "confidence": [1e999, 1e999], '
        '"probability": [0, 1], "source": {}}',
        '{"semcorr": "calibration", "version": 1, "method": "m", "key": "k", "confidence": [1' + "0" * 400 + "], "
        '"probability": [0], "source": {}}',
        '{"semcorr": "calibration", "version": 1, "method": "m", "key": "k", "confidence": [], "probability": [], '
        '"source": {}}',
    ],
)
def test_numbers_that_make_no_curve_are_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CalibrationError, match="Cannot read the calibration"):
        Calibration.load(path)


@pytest.mark.parametrize("count", ["many", {}, None, [1]])
def test_what_a_file_says_of_its_origin_may_be_anything(count: Any) -> None:
    made = Calibration(method="m", key="k", confidence=(0.5,), probability=(0.5,), source={"points": count})
    assert str(made) == "0 points of unknown origin"


# --- where a calibration holds ----------------------------------------------------------------------------------------


def grainy(seed: int) -> np.ndarray:
    """An image with noise on it, as photographs have."""
    return np.random.default_rng(seed).normal(128, 20, (96, 96, 3)).clip(0, 255).astype(np.uint8)


@pytest.mark.slow
def test_between_other_images_confidence_is_the_methods_own(tmp_path: Path) -> None:
    """A drawing and an image with noise, either way round; a saved query knows what its image was like."""
    usual, raw = (load_matcher("dift", "toy", device="cpu", calibration=c) for c in (None, "none"))
    scene, other, photo = render_scene(0, 96, split="test").image, render_scene(1, 96, split="test").image, grainy(0)
    points = [(30.0, 40.0)]
    for source, target, holds in ((scene, other, True), (scene, photo, False), (photo, scene, False)):
        for describing in (usual, raw):
            query = Query.load(describing.describe(source, points).save(tmp_path / "query.safetensors"))
            curve, plain = usual.locate(query, target), raw.locate(query, target)
            assert (curve.calibration is not None) == holds
            if not holds:
                assert curve.to_dict()["calibration"] == "uncalibrated"
                np.testing.assert_array_equal(curve.confidence, plain.confidence)
            flow = dense_flow(usual, source, target, step=60)
            own = dense_flow(raw, source, target, step=60)
            assert np.array_equal(flow.confidence, own.confidence) != holds


def test_a_query_of_an_earlier_version_is_read_and_uncalibrated(tmp_path: Path) -> None:
    """What kind of image it was made from is not known."""
    usual = load_matcher("dift", "toy", device="cpu")
    scene, other = (render_scene(seed, 96, split="test").image for seed in (0, 1))
    query = usual.describe(scene, [(30.0, 40.0)])
    assert query.source_statistics
    header, arrays = read_tensors(query.save(tmp_path / "new.safetensors"), "query")
    header = {name: value for name, value in header.items() if name not in ("source_statistics", "semcorr", "version")}
    old = Query.load(write_tensors(tmp_path / "old.safetensors", "query", header, arrays))
    assert old.source_statistics == {}
    assert usual.locate(old, other).calibration is None
    assert usual.locate(query, other).calibration is not None
    for broken in ([1], {"flat": "much"}, {"flat": 7}):
        path = write_tensors(tmp_path / "b.safetensors", "query", {**header, "source_statistics": broken}, arrays)
        with pytest.raises(QueryError):
            Query.load(path)


def test_a_file_of_the_first_version_holds_for_its_data_set_alone(tmp_path: Path) -> None:
    usual = load_matcher("dift", "toy", device="cpu")
    assert isinstance(usual, CalibratedMatcher)
    document = json.loads(usual.calibration.save(tmp_path / "new.json").read_text())
    assert document["version"] == 2
    del document["domain"]
    (tmp_path / "old.json").write_text(json.dumps(document | {"version": 1}))
    old = Calibration.load(tmp_path / "old.json")
    assert dataclasses.replace(usual.calibration, domain=None) == old
    assert old.holds_for("toy")
    assert not old.holds_for("pf-willow")
    matcher = load_matcher("dift", "toy", device="cpu", calibration=tmp_path / "old.json")
    scene, other = (render_scene(seed, 96, split="test").image for seed in (0, 1))
    assert matcher.locate(matcher.describe(scene, [(30.0, 40.0)]), other).calibration is None
    for domain in ([], {"images": 1}, {"images": 1, "ranges": {"flat": [2, 1]}}):
        (tmp_path / "broken.json").write_text(json.dumps(document | {"domain": domain}))
        with pytest.raises(CalibrationError, match="Cannot read"):
            Calibration.load(tmp_path / "broken.json")


def data(folder: Path, name: str, images: list[np.ndarray]) -> Dataset:
    """All pairs of the first image with the others, a point in each."""
    sides = []
    for number, pixels in enumerate(images):
        PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
        height, width = pixels.shape[:2]
        points = np.array([[40.0, 50.0]])
        sides.append(PairImage(path=folder / f"{number}.png", size=(width, height), points=points, box=(0, 0, 90, 90)))
    pairs = [
        Pair(id=f"0-{number}", category="cat", source=sides[0], target=side, names=("ear",))
        for number, side in enumerate(sides[1:], start=1)
    ]
    return Dataset(name=name, split="test", pairs=pairs, threshold="target-box", root=folder)


def drawings_of(*seeds: int) -> list[np.ndarray]:
    return [render_scene(seed, 96, split="test").image for seed in seeds]


@pytest.mark.parametrize(
    ("name", "images", "holds"),
    [
        ("toy", drawings_of(0, 1, 2), True),
        ("toy", [*drawings_of(0), grainy(0)], True),  # the data set decides
        ("pf-willow", drawings_of(0, 1, 2), False),
        ("own", drawings_of(0, 1, 2), True),
        ("own", [*drawings_of(0, 1), grainy(0)], False),
        ("own", [grainy(0), grainy(1)], False),
    ],
)
def test_the_data_set_decides_in_a_run(tmp_path: Path, name: str, images: list[np.ndarray], holds: bool) -> None:
    dataset = data(tmp_path, name, images)
    used, raw = (
        run(dataset, MatcherSpec(method="dift", model="toy", options={"device": "cpu", **more}), tmp_path / folder)
        for folder, more in (("used", {}), ("raw", {"calibration": "none"}))
    )
    for one, other in zip(used.records, raw.records, strict=True):
        assert np.array_equal(one.confidence, other.confidence) != holds
    assert ("calibration" in used.settings["method"]) == holds
    report = build_report([used], ReportOptions(quote=False))
    table = next(table for table in report.tables if "confidence" in table.title)
    values = dict(zip([column.key for column in table.columns], table.rows[0].values, strict=True))
    assert values["calibrated"] == ("yes" if holds else "no")
    assert any("is uncalibrated: its calibration was fitted to" in note for note in report.notes) != holds


@pytest.mark.slow
def test_workers_agree_on_whether_a_calibration_holds(tmp_path: Path) -> None:
    dataset = data(tmp_path, "pf-willow", [*drawings_of(0, 1)])
    method = MatcherSpec(method="dift", model="toy", options={"device": "cpu", "samples": 1, "prompt": None})
    key = key_of("dift", load_matcher("dift", "toy", **method.options).identity())
    curve = Calibration(method="dift", key=key, confidence=(0, 1), probability=(0, 0.01), source={"dataset": "toy"})
    options = {**method.options, "calibration": str(curve.save(tmp_path / "c.json"))}
    done = run(dataset, dataclasses.replace(method, options=options), tmp_path / "run", workers=2)
    assert done.records[0].confidence.max() > 0.01
    same = dataclasses.replace(dataset, name="toy")
    done = run(same, dataclasses.replace(method, options=options), tmp_path / "toy", workers=2)
    assert done.records[0].confidence.max() <= 0.01


def test_an_earlier_versions_run_of_another_data_set_is_called_uncalibrated() -> None:
    """Its confidence went through the package's own calibration all the same."""
    usual = load_matcher("dift", "toy", device="cpu")
    method = {"name": "dift", **usual.identity()}
    for name, expected in (("toy", "yes"), ("pf-willow", "no"), ("own", "yes")):
        report = build_report([run_of("old", drawn(5).records, dataset={"name": name}, method=method)])
        table = next(table for table in report.tables if "confidence" in table.title)
        assert expected in table.rows[0].values
        assert any("which does not hold for" in note for note in report.notes) == (expected == "no")


def test_a_fit_keeps_what_its_images_are_like(tmp_path: Path) -> None:
    for number, pixels in enumerate(drawings_of(0, 1)):
        PIL.Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    made = drawn(40)
    records = [dataclasses.replace(record, source="0.png", target="1.png") for record in made.records]
    settings = {**made.settings, "dataset": {**made.settings["dataset"], "root": str(tmp_path)}}
    curve = calibrate(dataclasses.replace(made, records=records, settings=settings))
    assert curve.domain is not None
    assert curve.domain.images == 2
    values = [statistics(load_image(pixels))["flat"] for pixels in drawings_of(0, 1)]
    assert curve.domain.ranges["flat"] == pytest.approx((min(values), max(values)), abs=1e-5)
    assert Calibration.load(curve.save(tmp_path / "c.json")) == curve
    assert calibrate(made).domain is None  # its images are not there


def test_every_bundled_one_says_what_it_was_fitted_on() -> None:
    domains = set()
    for file in sorted((Path(str(resources.files("semcorr.matchers.wrappers"))) / "calibrations").glob("*.json")):
        curve = Calibration.load(file)
        domain = curve.domain
        assert domain is not None
        # The drawings of the toy world's validation pairs, or the photographs of five sub-classes of PF-WILLOW.
        assert domain.images == {"toy": 336, "pf-willow": 50}[curve.source["dataset"]]
        drawings = [domain.contains(statistics(load_image(pixels))) for pixels in drawings_of(*range(10))]
        assert all(drawings) if curve.source["dataset"] == "toy" else not any(drawings)
        if curve.source["dataset"] == "toy":
            domains.add(json.dumps(domain.to_dict()))
    assert len(domains) == 1
