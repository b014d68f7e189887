"""PF-WILLOW, from the benchmark's own files: a baseline that anyone can recompute, recomputed here by a plain loop."""

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from scipy.io import loadmat

from semcorr.datasets import registry
from semcorr.evaluation.report.build import build_report
from semcorr.evaluation.report.groups import ReportOptions
from semcorr.evaluation.runs.runner import run
from semcorr.matchers.spec import MatcherSpec

DATA = os.environ.get("SEMCORR_TEST_DATA")

pytestmark = pytest.mark.skipif(not DATA, reason="SEMCORR_TEST_DATA does not name a folder that holds pf-willow")


def recomputed(alpha: float) -> dict[tuple[str, str], float]:
    """PCK of the same relative position in %, by (rule, average)."""
    right: dict[str, list[list[bool]]] = {"keypoints": [], "reference-willow": []}
    for folder in sorted(path for path in (Path(str(DATA)) / "pf-willow").iterdir() if path.is_dir()):
        images = []
        for file in sorted(folder.glob("*.mat")):
            with PIL.Image.open(file.with_suffix(".png")) as image:
                images.append((loadmat(file)["pts_coord"].T.astype(float), np.array(image.size, dtype=float)))
        for i, (a, size_a) in enumerate(images):
            for j, (b, size_b) in enumerate(images):
                if i == j:
                    continue
                guess = a / size_a * size_b
                extent = (b.max(0) - b.min(0)).max()
                right["keypoints"].append(list(np.linalg.norm(guess - b, axis=1) <= alpha * extent))
                # The authors' code works in the image squashed to 512 x 512.
                squashed, truth = guess / size_b * 512, b / size_b * 512
                right["reference-willow"].append(
                    list(np.linalg.norm(squashed - truth, axis=1) <= alpha * (truth.max() + 1))
                )
    percent = {}
    for rule, pairs in right.items():
        assert len(pairs) == 900
        percent[rule, "per image"] = 100 * float(np.mean([np.mean(pair) for pair in pairs]))
        percent[rule, "per point"] = 100 * float(np.mean([one for pair in pairs for one in pair]))
    return percent


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_same_position_under_both_rules_and_averages(tmp_path: Path, alpha: float) -> None:
    dataset = registry.load("pf-willow", Path(str(DATA)))
    assert len(dataset.pairs) == 900
    done = run(dataset, MatcherSpec(method="same-position"), tmp_path / "run")
    expected = recomputed(alpha)
    for rule in ("keypoints", "reference-willow"):
        report = build_report([done], ReportOptions(alphas=(alpha,), threshold=rule, quote=False))
        table = report.tables[0]
        values = {c.heading: v for c, v in zip(table.columns, table.rows[0].values, strict=True) if "PCK" in c.heading}
        for average in ("per image", "per point"):
            (value,) = (v for heading, v in values.items() if average in heading)
            assert value == pytest.approx(expected[rule, average], abs=1e-3), (rule, average)
