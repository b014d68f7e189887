"""Heat maps made again: they peak where the run done its points, whatever it was made with."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from PIL.Image import Resampling

from models.diffusion.networks import save_checkpoint
from models.dino.networks import save_folder
from semcorr.cli.main import main
from semcorr.datasets.base import Dataset
from semcorr.errors import QueryError, RunError
from semcorr.evaluation.report.groups import ReportOptions
from semcorr.evaluation.report.kap import kap_report
from semcorr.evaluation.runs.recompute import HeatmapsOf, QueriesOf, load_method
from semcorr.evaluation.runs.records import Run
from semcorr.evaluation.runs.runner import run
from semcorr.imaging.image import load_image
from semcorr.matchers.load import load_matcher
from semcorr.matchers.registry import methods
from semcorr.matchers.results import Query
from semcorr.matchers.spec import MatcherSpec
from semcorr.matchers.wrappers.calibration import Calibration, key_of

SIDE = 64
"""Side of the birds' images, in pixels."""
QUICK: dict[str, Any] = {"steps": 2, "rounds": 2, "locate_crops": 5, "device": "cpu"}
DIFT: dict[str, Any] = {"samples": 1, "prompt": None, "device": "cpu"}
LITE0: dict[str, Any] = {"layers": ("10@128",), "grid": 16, "peak": "cell", "device": "cpu"}
DINO: dict[str, Any] = {"resolution": 64, "layer": -1, "device": "cpu"}

MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "prompt": ("toy", QUICK),
    "attention-dift": ("toy", {"steps": 2, "locate_crops": 4, "dift_samples": 1, "peak": "cell", "device": "cpu"}),
    "dift": ("toy", DIFT),
    "nbb": ("toy", DIFT),
    "hypercolumn": ("lite0", LITE0),
    "nbb-hypercolumn": ("lite0", {**LITE0, "levels": 1, "least": 0.0}),
    "dino": ("dinov2", DINO),
    "nbb-dino": ("dinov2", {**DINO, "levels": 1, "least": 0.0}),
    "sd-dino": ("sd1", {**DIFT, "vision": "dinov2", "dino_resolution": 64}),
}
"""Of every method, a model and options that are quick; networks of names other than "toy" and "lite0" are tiny
random ones."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("networks")
    made = {"sd1": save_checkpoint(root / "sd1", "sd1"), "dinov2": save_folder(root / "dinov2", "dinov2")}
    return {"toy": "toy", "lite0": "lite0", **{name: str(path) for name, path in made.items()}}


@pytest.fixture
def few(birds: Dataset) -> Dataset:
    """Two targets of one source."""
    return dataclasses.replace(birds, pairs=birds.pairs[:2])


def method_of(name: str, folders: dict[str, str], **more: Any) -> MatcherSpec:
    model, options = MADE[name]
    named = {key: folders[value] if key == "vision" else value for key, value in options.items()}
    return MatcherSpec(method=name, model=folders[model], options={**named, **more})


def assert_peaks(done: Run, within: float) -> None:
    """A map peaks within so many of its cells of the predicted point, along x and y."""
    maps = HeatmapsOf(done)
    assert done.records
    for record in done.records:
        assert not record.error
        assert len(record.predicted) == len(record.truth) > 0
        for point, predicted in enumerate(record.predicted):
            heat = maps(record, point)
            assert heat is not None
            row, column = np.unravel_index(heat.argmax(), heat.shape)
            height, width = heat.shape
            peak = np.array([(column + 0.5) / width, (row + 0.5) / height])
            np.testing.assert_array_less(np.abs(peak - predicted / SIDE) * (width, height), within)


def test_every_method_is_tried_here() -> None:
    own = {name for name, method in methods().items() if method.matcher.startswith("semcorr.")}
    assert own == {*MADE, "asic"}  # which needs a collection of the very images: tests/matchers/collection


@pytest.mark.slow
def test_maps_of_points_that_the_source_shows_alone(few: Dataset, tmp_path: Path) -> None:
    """They follow those of the common points, which are as they were; KAP is computed from all of them."""
    done = run(few, method_of("dift", {"toy": "toy"}), tmp_path / "run")
    record = dataclasses.replace(done.records[0], source_unmatched={"more": (20.5, 30.5)})
    maps = HeatmapsOf(done)
    every = maps.with_unmatched(record)
    assert every is not None
    assert len(every) == len(record.truth) + 1
    for point in range(len(record.truth)):
        np.testing.assert_allclose(every[point], maps(record, point), atol=1e-5)
    (table,) = kap_report([done], ReportOptions(alphas=(0.1,)), lambda one: HeatmapsOf(one).with_unmatched).tables
    assert 0 < table.rows[0].values[0] <= 100


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False])
def test_maps_peak_at_the_predictions(few: Dataset, tmp_path: Path, kept: bool) -> None:
    done = run(few, MatcherSpec(method="prompt", model="toy", options=QUICK), tmp_path / "run", keep_queries=kept)
    assert (tmp_path / "run" / "queries").exists() == kept
    assert_peaks(done, 1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MADE if name != "prompt"])
def test_a_report_with_heat_maps_of_every_method(
    few: Dataset, folders: dict[str, str], tmp_path: Path, name: str
) -> None:
    """Features' maps are coarser than refined peaks: within one and a half cells."""
    few = dataclasses.replace(few, pairs=few.pairs[:1])
    done = run(few, method_of(name, folders), tmp_path / "run")
    assert_peaks(done, 1.6)
    again = run(few, method_of(name, folders), tmp_path / "kept", keep_queries=True)
    assert_peaks(again, 1.6)
    assert main(["report", str(tmp_path / "run"), "--plots", str(tmp_path / "plots"), "--heatmaps"]) == 0
    assert (tmp_path / "plots" / "pairs-run.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", list(MADE))
def test_poses_calibrations_and_precision_are_the_runs_own(
    few: Dataset, folders: dict[str, str], tmp_path: Path, name: str, dtype: str
) -> None:
    method = method_of(name, folders, align_pose=True, dtype=dtype)
    key = key_of(name, load_matcher(name, method.model, **method.options, calibration="none").identity())
    curve = Calibration(
        method=name, key=key, confidence=(0.0, 1.0), probability=(0.2, 0.9), source={"dataset": "birds"}
    )
    options = {**method.options, "calibration": str(curve.save(tmp_path / "curve.json"))}
    few = dataclasses.replace(few, name="birds")
    done = run(few, dataclasses.replace(method, options=options), tmp_path / "run", keep_queries=True)
    assert done.settings["method"]["align_pose"]
    assert done.settings["method"]["dtype"] == dtype
    assert "calibration" in done.settings["method"]
    assert_peaks(done, 1.6)
    assert main(["report", str(tmp_path / "run"), "--plots", str(tmp_path / "plots"), "--heatmaps"]) == 0
    assert (tmp_path / "plots" / "pairs-run.png").is_file()


def test_maps_of_a_mirrored_target_are_those_of_the_predictions(few: Dataset, tmp_path: Path) -> None:
    """The target is the source in a mirror: pose alignment finds it there, and its map lies in the target's frame."""
    pair = few.pairs[0]
    mirrored = tmp_path / "mirrored.png"
    with PIL.Image.open(pair.source.path) as image:
        large = image.resize((SIDE, SIDE), Resampling.NEAREST)
        large.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored)
    target = dataclasses.replace(pair.target, path=mirrored)
    one = dataclasses.replace(few, pairs=(dataclasses.replace(pair, target=target),))
    done = run(one, MatcherSpec(method="dift", model="toy", options={**DIFT, "align_pose": True}), tmp_path / "run")
    straight = run(one, MatcherSpec(method="dift", model="toy", options=DIFT), tmp_path / "straight")
    assert not np.allclose(done.records[0].predicted, straight.records[0].predicted)
    assert_peaks(done, 1.6)


def test_the_packages_own_calibration_is_used_again_and_another_is_not(few: Dataset, tmp_path: Path) -> None:
    few = dataclasses.replace(few, name="toy", pairs=few.pairs[:1])  # the data set of the package's calibrations
    spec = MatcherSpec(method="dift", model="toy", options={"device": "cpu"})
    own = run(few, spec, tmp_path / "own")
    none = run(few, spec.with_options(calibration="none"), tmp_path / "none")
    assert load_method(own).identity()["calibration"] == own.settings["method"]["calibration"]
    assert "calibration" not in load_method(none).identity()
    method = {**own.settings["method"], "calibration": "of another file"}
    other = dataclasses.replace(own, settings={**own.settings, "method": method})
    assert "calibration" not in load_method(other).identity()


def test_a_damaged_kept_query_is_made_again_and_a_missing_image_has_no_map(few: Dataset, tmp_path: Path) -> None:
    done = run(few, MatcherSpec(method="dift", model="toy", options=DIFT), tmp_path / "run", keep_queries=True)
    (kept,) = (tmp_path / "run" / "queries").glob("*.safetensors")
    record = done.records[0]
    source = load_image(few.root / record.source)
    matcher = load_method(done)
    assert QueriesOf(done)(matcher, record, source).points.tolist() == record.source_points.tolist()
    kept.write_bytes(b"damaged")
    with pytest.raises(QueryError):
        Query.load(kept)
    assert_peaks(done, 1.6)
    gone = dataclasses.replace(record, target="not there.png")
    assert HeatmapsOf(done)(gone, 0) is None


def test_guesses_and_other_models_have_none(few: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is a guess"):
        HeatmapsOf(run(few, MatcherSpec(method="random"), tmp_path / "guess"))
    done = run(few, MatcherSpec(method="dift", model="toy", options=DIFT), tmp_path / "run")
    method = {**done.settings["method"], "model_fingerprint": "0"}
    with pytest.raises(RunError, match="is not the model that"):
        HeatmapsOf(dataclasses.replace(done, settings={**done.settings, "method": method}))
    named = {**method, "name": "colours:ColourMatcher"}
    with pytest.raises(RunError, match="need a method that is installed"):
        HeatmapsOf(dataclasses.replace(done, settings={**done.settings, "method": named}))
