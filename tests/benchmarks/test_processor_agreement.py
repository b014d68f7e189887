"""Points of runs that round in another way are counted by how far they moved."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import processor_agreement as processors
from benchmarks.command import main
from benchmarks.processor_agreement import SETTINGS, Moved, compared
from semcorr.errors import RunError, SettingsError


def test_moves_are_counted_in_cells_of_the_map():
    first = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.25, 0.75]])
    other = first + np.array([[0, 0], [1 / 16, -1 / 16], [0.125, 0], [-0.03, 0.25]])
    moved = compared("dift", "AVX2", first, other, cells=16)
    assert moved == Moved(method="dift", setting="AVX2", points=4, equal=1, moved=2, largest=4.0)
    (row,) = zip(*(column.cells for column in processors.table([moved]).columns), strict=True)
    assert row == ("dift", "AVX2", "4", "1", "2 (50.0 %)", "4.00")


@pytest.mark.slow
def test_the_same_again_is_the_same_and_all_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(processors, "SETTINGS", SETTINGS[:2])
    file = tmp_path / "moves.json"
    assert main(processors.app, ["--methods", "dift", "--targets", "1", "--json", str(file)]) == 0
    (one,) = json.loads(file.read_text(encoding="utf-8"))["moves"]
    assert one["points"] > 20
    assert (one["setting"], one["equal"], one["moved"], one["largest"]) == ("the same again", one["points"], 0, 0.0)
    assert "the same again" in capsys.readouterr().out


@pytest.mark.slow
def test_a_failure_is_an_error(tmp_path: Path):
    with pytest.raises(RunError, match=r"dift with 'as it is' ended with status 1: .*a hub id such as"):
        processors.run(SETTINGS[0], "dift", "./no-such-model", 1, tmp_path)
    with pytest.raises(SettingsError, match="at least 1 target"):
        processors.processors(targets=0)
