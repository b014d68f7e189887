"""A new benchmark is one file with a Benchmark and one line in the registry."""

import json
from pathlib import Path

import numpy as np
import pytest

from datasets import corner_pairs
from semcorr.cli.main import main
from semcorr.datasets import registry
from semcorr.datasets.check import check
from semcorr.errors import DatasetError


@pytest.fixture
def data(tmp_path, save_image):
    root = tmp_path / "corner-pairs"
    save_image(root / "a.png", (40, 30))
    save_image(root / "b.png", (50, 30))
    (root / "test.csv").write_text("a.png,b.png,1.5,2,3,4.5\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def added(monkeypatch):
    # The line in semcorr/datasets/registry.py that the benchmark takes.
    monkeypatch.setitem(registry.BENCHMARKS, corner_pairs.BENCHMARK.name, corner_pairs.BENCHMARK)


def test_an_unknown_benchmark_is_refused(data):
    with pytest.raises(DatasetError, match=r"Unknown data set 'corner-pairs'\."):
        registry.load("corner-pairs", data)


def test_a_new_benchmark_is_read_and_checked(data, added):
    (pair,) = registry.load("corner-pairs", data).pairs
    np.testing.assert_array_equal(pair.target.points, [[3, 4.5]])
    assert registry.find_by_folder(data / "corner-pairs") is corner_pairs.BENCHMARK
    assert check("corner-pairs", data, deep=True).findings == []
    (data / "corner-pairs" / "test.csv").write_text("a.png,b.png\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"Corner pairs: expected 6 columns in line 1 of '.*test\.csv', got 2\."):
        registry.load("corner-pairs", data)


def test_a_new_benchmark_is_evaluated(data: Path, added, capsys: pytest.CaptureFixture[str]):
    run = data / "run"
    assert main(["eval", "corner-pairs", "--data", str(data), "--method", "random", "-o", str(run)]) == 0
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["settings"]["dataset"]["name"] == "corner-pairs"
    capsys.readouterr()
    assert main(["data", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["datasets"][-1]["name"] == "corner-pairs"
