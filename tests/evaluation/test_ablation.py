"""The ablation: what is switched off, and that one embedding needs no run of its own."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from semcorr.datasets.base import Dataset
from semcorr.errors import SettingsError
from semcorr.evaluation.runs.ablation import ablate
from semcorr.evaluation.runs.runner import run
from semcorr.matchers.spec import MatcherSpec

QUICK = {"steps": 2, "rounds": 2, "locate_crops": 5, "device": "cpu"}


@pytest.mark.slow
def test_each_row_switches_one_choice_off(birds: Dataset, tmp_path: Path) -> None:
    two = dataclasses.replace(birds, pairs=birds.pairs[:2])
    stages: set[str] = set()
    rows = list(
        ablate(
            two,
            MatcherSpec(method="prompt", model="toy", options=QUICK),
            tmp_path,
            progress=lambda stage, *_, **__: stages.add(stage),
        )
    )
    last = "up_blocks.2.attentions.1"
    names = ["the method", "one embedding", f"one layer ({last})", "no crops", "the method on toy-plain"]
    assert [row.name for row in rows] == names
    assert {"the method", "no crops"} <= stages
    whole, _, _, no_crops, plain = (row.settings["method"] for row in rows)
    changed = {k for k, v in whole["settings"].items() if no_crops["settings"][k] != v}
    assert changed == {"optimize_crop", "locate_crop", "locate_crops"}
    for record, derived in zip(rows[0].records, rows[2].records, strict=True):
        assert np.array_equal(derived.predicted, record.layers[last])
    assert plain["settings"] == whole["settings"]
    assert plain["model_fingerprint"] != whole["model_fingerprint"]


@pytest.mark.slow
def test_one_embedding_is_what_a_run_with_one_finds(birds: Dataset, tmp_path: Path) -> None:
    two = dataclasses.replace(birds, pairs=birds.pairs[:2])
    rows = ablate(two, MatcherSpec(method="prompt", model="toy", options=QUICK), tmp_path / "a")
    next(rows)
    derived = next(rows)
    real = run(two, MatcherSpec(method="prompt", model="toy", options={**QUICK, "rounds": 1}), tmp_path / "b")
    for one, other in zip(derived.records, real.records, strict=True):
        np.testing.assert_allclose(one.predicted, other.predicted, atol=1e-3)


def test_only_the_papers_method_has_it(birds: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has this ablation"):
        next(ablate(birds, MatcherSpec(method="random"), tmp_path))
