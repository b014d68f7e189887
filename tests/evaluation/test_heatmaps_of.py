"""Heat maps made again: they peak where the run found its points."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from semcorr.datasets.base import Dataset
from semcorr.errors import RunError
from semcorr.evaluation.heatmaps_of import HeatmapsOf
from semcorr.evaluation.runner import Method, run

QUICK = Method(options={"steps": 2, "rounds": 2, "locate_crops": 5, "device": "cpu"})


@pytest.mark.parametrize("kept", [True, False])
def test_maps_peak_at_what_was_found(birds: Dataset, tmp_path: Path, kept: bool) -> None:
    few = dataclasses.replace(birds, pairs=birds.pairs[:2])
    found = run(few, QUICK, tmp_path / "run", keep_queries=kept)
    assert (tmp_path / "run" / "queries").exists() == kept
    maps = HeatmapsOf(found)
    for record in found.records:
        for point, (x, y) in enumerate(record.predicted):
            heat = maps(record, point)
            assert heat is not None
            row, column = np.unravel_index(heat.argmax(), heat.shape)
            # Peaks are the middle of a map's pixel, in pixels of the 64 x 64 picture.
            height, width = heat.shape
            assert ((column + 0.5) / width * 64, (row + 0.5) / height * 64) == pytest.approx((x, y), abs=1e-2)


def test_guesses_and_other_models_have_none(birds: Dataset, tmp_path: Path) -> None:
    few = dataclasses.replace(birds, pairs=birds.pairs[:1])
    with pytest.raises(RunError, match="is a guess"):
        HeatmapsOf(run(few, Method(name="random"), tmp_path / "guess"))
    found = run(few, QUICK, tmp_path / "run")
    method = {**found.settings["method"], "model_fingerprint": "0"}
    with pytest.raises(RunError, match="is not the model that"):
        HeatmapsOf(dataclasses.replace(found, settings={**found.settings, "method": method}))
