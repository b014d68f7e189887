"""The ablation: what is switched off, and that one embedding needs no run of its own."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from semcorr.datasets.base import Dataset
from semcorr.errors import SettingsError
from semcorr.evaluation.report.build import build_report, ranked
from semcorr.evaluation.report.groups import ReportOptions
from semcorr.evaluation.runs.ablation import ablate, compare_taps
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


def test_taps_are_ranked_and_a_run_is_continued(birds: Dataset, tmp_path: Path) -> None:
    two = dataclasses.replace(birds, pairs=birds.pairs[:2])
    dift = MatcherSpec(method="dift", model="toy", options={"samples": 1, "prompt": None, "device": "cpu"})
    runs = compare_taps(two, dift, tmp_path / "a", patterns=("up/2:0.*", "block:1"))
    taps = [f"up/2:0.{what}" for what in ("resnet", "query", "key", "value", "cross-query", "hidden")]
    assert [one.name for one in runs] == ["dift, block 1", *taps, "block:1"]
    chosen = dataclasses.replace(dift, options={**dift.options, "tap": "up/2:0.key"})
    alone = run(two, chosen, tmp_path / "alone")
    for one, expected in ((runs[3], alone), (runs[0], runs[-1])):
        for record, other in zip(one.records, expected.records, strict=True):
            np.testing.assert_array_equal(record.predicted, other.predicted)
    options = ReportOptions(baseline="dift, block 1", quote=False)
    ordered = ranked(runs, options)
    table = build_report(ordered, options).tables[0]
    figures = [row.values[6] for row in table.rows]
    assert figures == sorted(figures, reverse=True)
    assert len(set(figures)) > 1
    assert sorted(one.name for one in ordered) == sorted(one.name for one in runs)
    stages: list[str] = []
    compare_taps(
        two, dift, tmp_path / "a", patterns=("up/2:0.*", "block:1"), progress=lambda *now, **_: stages.append(now[0])
    )
    assert "pairs" not in stages
    with pytest.raises(SettingsError, match="compared by DIFT"):
        compare_taps(two, MatcherSpec(method="dino"), tmp_path / "b")
