"""Networks side by side: leads over the features of the same network and over the same method on the other."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.networks import compared, names_of, some_of, spec, table
from evaluation.handmade import pair_record, run_of
from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.errors import SettingsError
from semcorr.evaluation.runs.records import Run


def _run(name: str, right: int) -> Run:
    """Four pairs of a point in boxes of 100 pixels: the first ``right`` predictions are 9 pixels off, the others 11."""
    offsets = [9.0 if index < right else 11.0 for index in range(4)]
    box = (0.0, 0.0, 100.0, 100.0)
    return run_of(name, [pair_record(i, [[50, 50]], (x, 0), target_box=box) for i, x in enumerate(offsets)])


def test_leads_are_over_the_same_network_and_over_the_same_method() -> None:
    runs = {"toy": [_run("paper", 2), _run("dift", 1)], "other": [_run("paper", 3), _run("dift", 3)]}
    rows = {(one.method, one.network): one for one in compared(runs)}
    assert list(rows) == [("paper", "toy"), ("paper", "other"), ("dift", "toy"), ("dift", "other")]
    assert [one.pck for one in rows.values()] == [50, 75, 25, 75]
    assert [one.over_features for one in rows.values()] == [25, 0, None, None]
    assert [one.over_network for one in rows.values()] == [None, 25, None, 50]
    low, high = rows["dift", "other"].over_network_interval or (0, 0)
    assert low < 50 < high
    # The same pairs are drawn for both: equal runs have no lead in any draw.
    assert rows["paper", "other"].over_features_interval == (0, 0)
    shown = table({"scores": [vars(one) for one in rows.values()]})
    assert [column.header for column in shown.columns][4:8] == ["over dift", "95 %", "over toy", "95 %"]
    assert list(shown.columns[6].cells) == ["–", "+25.0", "–", "+50.0"]


def test_without_features_there_is_no_lead_over_them() -> None:
    assert [one.over_features for one in compared({"toy": [_run("fast", 2)], "other": [_run("fast", 1)]})] == [
        None,
        None,
    ]


def test_the_first_sources_and_targets_are_kept() -> None:
    def side(name: str) -> PairImage:
        return PairImage(path=Path(name), size=(8, 8), points=np.zeros((0, 2)))

    pairs = [
        Pair(id=f"{kind}{a}{b}", category=kind, source=side(f"{kind}{a}"), target=side(f"{a}{b}"), names=())
        for kind in "xy"
        for a in range(3)
        for b in range(3)
    ]
    dataset = Dataset(name="toy", split="val", pairs=pairs, threshold="target-box", root=Path())
    assert [pair.id for pair in some_of(dataset, 2, 1).pairs] == ["x00", "x10", "y00", "y10"]
    assert [pair.id for pair in some_of(dataset, 1, None).pairs] == ["x00", "x01", "x02", "y00", "y01", "y02"]
    assert some_of(dataset, None, None).pairs == pairs


@pytest.mark.parametrize(("name", "method", "preset"), [("fast", "prompt", "fast"), ("dift", "dift", "published")])
def test_a_name_is_a_preset_or_a_method(name: str, method: str, preset: str) -> None:
    made = spec(name, "toy-plain", "cpu")
    assert (made.method, made.preset, made.model) == (method, preset, "toy-plain")
    assert ("peak" in made.options) == (method == "prompt")


def test_models_have_names_of_their_own() -> None:
    assert names_of(["toy", "other=runs/a=b/model"]) == {"toy": "toy", "other": "runs/a=b/model"}
    for models in (["toy"], ["toy", "toy=folder"]):
        with pytest.raises(SettingsError, match="names of their own"):
            names_of(models)
