"""Half precision that overflows: done in float32, said so, and equal to a float32 run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import semcorr
from models.dino.networks import save_folder
from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.errors import NumericsError
from semcorr.evaluation.metrics.protocol import named
from semcorr.evaluation.metrics.scores import score
from semcorr.evaluation.report.comparability import warnings_of
from semcorr.evaluation.runs.runner import run
from semcorr.imaging.image import load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.dense import dense_flow
from semcorr.matchers.features.mutual_matches import mutual_matches
from semcorr.matchers.results import Matches, Query
from semcorr.matchers.spec import MatcherSpec
from spoiled import HUGE, spoiled

POINTS = [(20.0, 20.0), (40.0, 30.0)]
SOURCE, TARGET = (
    load_image(np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8), name="noise")
    for seed in (0, 1)
)
LIVE: dict[str, Any] = {"preset": "paper", "resolution": 64, "steps": 2, "rounds": 1, "locate_crops": 4}
DIFT: dict[str, Any] = {"samples": 1, "prompt": None, "resolution": 64}


@pytest.fixture(scope="module")
def large(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusion network with one layer that float16 has no numbers for."""
    to = tmp_path_factory.mktemp("large") / "sd"
    return spoiled(
        tiny_sd, to, "unet/diffusion_pytorch_model.safetensors", "down_blocks.0.resnets.0.conv1.weight", HUGE
    )


@pytest.fixture(scope="module")
def dift(large: Path) -> tuple[Matcher, Matcher]:
    """DIFT with that network, in half precision and in float32."""
    return tuple(
        semcorr.load_matcher("dift", large, dtype=dtype, device="cpu", **DIFT) for dtype in ("float16", "float32")
    )  # type: ignore[return-value]


@pytest.fixture(scope="module")
def large_vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vision")
    save_folder(folder / "fine", "dinov2")
    weight = "embeddings.patch_embeddings.projection.weight"
    return spoiled(folder / "fine", folder / "large", "model.safetensors", weight, 1e7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("prompt", LIVE),
        ("prompt", {**LIVE, "queries": "frozen", "neutral": "zeros", "optimize_crops": 4}),
        ("nbb", DIFT),
        ("attention-dift", {**LIVE, **{f"dift_{name}": value for name, value in DIFT.items()}}),
        ("sd-dino", DIFT),
        ("dino", {"resolution": 32}),
        ("nbb-dino", {"resolution": 32}),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("queries", ""),
)
def test_a_unit_that_overflows_is_float32s(
    method: str, options: dict[str, Any], large: Path, large_vision: Path
) -> None:
    model = large_vision if "dino" in method and method != "sd-dino" else large
    further = {"vision": str(large_vision), "dino_resolution": 32} if method == "sd-dino" else {}
    reasons: list[object] = []

    def progress(stage: str, done: int, total: int, **info: object) -> None:
        if stage == "float32":
            reasons.append(info["reason"])

    half, full = (
        semcorr.load_matcher(method, model, dtype=dtype, device="cpu", calibration="none", **options, **further)
        for dtype in ("float16", "float32")
    )
    query = half.describe(SOURCE, POINTS, progress=progress)
    matches = half.locate(query, TARGET, progress=progress)
    expected = full.describe(SOURCE, POINTS)
    full_matches = full.locate(expected, TARGET)
    assert [len(reasons), len(query.warnings), len(matches.warnings)] == [2, 1, 1]
    assert query.warnings[0].startswith("described in float32, because float16 overflowed (")
    assert matches.warnings[0].startswith("located in float32, because float16 overflowed (")
    for name, value in expected.tensors.items():
        np.testing.assert_array_equal(query.tensors[name], value)
    np.testing.assert_array_equal(matches.points, full_matches.points)
    np.testing.assert_array_equal(matches.heatmaps, full_matches.heatmaps)
    assert (expected.warnings, full_matches.warnings) == ((), ())


def test_warnings_are_kept_in_files(dift: tuple[Matcher, Matcher], tmp_path: Path) -> None:
    half, _ = dift
    query = half.describe(SOURCE, POINTS)
    matches = half.locate(query, TARGET)
    assert Query.load(query.save(tmp_path / "query.safetensors")).warnings == query.warnings
    assert Matches.load(matches.save(tmp_path / "matches.safetensors")).warnings == matches.warnings
    assert matches.to_dict()["warnings"] == list(matches.warnings)
    assert "down_blocks.0.resnets.0.conv1" in query.warnings[0]


def test_what_fits_half_precision_stays_there(tiny_sd: Path) -> None:
    half = semcorr.load_matcher("dift", tiny_sd, dtype="float16", device="cpu", **DIFT)
    matches = half.locate(half.describe(SOURCE, POINTS), SOURCE)
    assert matches.warnings == ()
    assert half._full is None  # type: ignore[attr-defined]  # nothing was loaded for nothing


@pytest.mark.slow
def test_flows_and_mutual_matches_fall_back_as_well(dift: tuple[Matcher, Matcher]) -> None:
    flows = [dense_flow(one, SOURCE, TARGET, step=16) for one in dift]
    np.testing.assert_array_equal(flows[0].displacement, flows[1].displacement)
    pairs = [mutual_matches(one, SOURCE, TARGET) for one in dift]
    np.testing.assert_array_equal(pairs[0].target, pairs[1].target)


def test_what_overflows_in_float32_too_is_an_error(tiny_sd: Path, tmp_path: Path) -> None:
    file, weight = "unet/diffusion_pytorch_model.safetensors", "conv_in.weight"
    bad = spoiled(tiny_sd, tmp_path / "bad", file, weight)
    half = semcorr.load_matcher("dift", bad, dtype="float16", device="cpu", **DIFT)
    with pytest.raises(NumericsError) as caught:
        half.describe(SOURCE, POINTS)
    assert (caught.value.layer, caught.value.precision) == ("conv_in", "float32")


def test_a_run_keeps_the_warnings_and_the_report_shows_them(large: Path, tmp_path: Path) -> None:
    for name, image in (("a", SOURCE), ("b", TARGET)):
        image.pil().save(tmp_path / f"{name}.png")
    sides = [
        PairImage(path=tmp_path / f"{name}.png", size=(64, 64), points=np.array(POINTS), box=(0.0, 0.0, 64.0, 64.0))
        for name in "ab"
    ]
    pair = Pair(id="a-b", category="noise", source=sides[0], target=sides[1], names=("one", "two"))
    dataset = Dataset(name="mine", split="test", setting="", threshold="image", root=tmp_path, pairs=(pair,))
    method = MatcherSpec(method="dift", model=str(large), options={"dtype": "float16", "device": "cpu", **DIFT})
    done = run(dataset, method, tmp_path / "run")
    (record,) = done.records
    assert record.error == ""
    assert [message.partition(" ")[0] for message in record.warnings] == ["described", "located"]
    (warning,) = warnings_of(["mine"], [done], [score(done.records, named("image"))])
    assert warning.startswith("mine: 1 pair with warnings, the first: described in float32")
