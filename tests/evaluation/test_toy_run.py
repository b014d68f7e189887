"""Running the toy benchmark with the bundled model: resumable, and never mixing settings."""

import json
from pathlib import Path

import numpy as np
import pytest

from semcorr.errors import SettingsError
from semcorr.evaluation.toy_run import Benchmark, Variant, ablations, check_benchmark, run_variant

BENCHMARK = Benchmark(split="val", sources=1, targets=1)
QUICK = Variant(name="quick", overrides={"steps": 2, "rounds": 1, "locate_crops": 4})


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    folder = tmp_path_factory.mktemp("run")
    return folder, run_variant(BENCHMARK, QUICK, folder).predictions


def _lines(folder: Path) -> list[str]:
    (path,) = folder.glob("quick-*.jsonl")
    return path.read_text(encoding="utf-8").splitlines()


def test_every_common_point_has_a_prediction(first_run: tuple[Path, list[np.ndarray]]) -> None:
    pairs = BENCHMARK.pairs()
    assert [len(p.names) for p in pairs] == [len(p) for p in first_run[1]]
    assert all(((p >= 0) & (p <= 256)).all() for p in first_run[1])


def test_a_finished_run_is_only_read(first_run: tuple[Path, list[np.ndarray]]) -> None:
    folder, predictions = first_run
    told: list[int] = []
    again = run_variant(BENCHMARK, QUICK, folder, progress=lambda stage, done, total, **info: told.append(done))
    assert not told
    assert all(np.array_equal(a, b) for a, b in zip(predictions, again.predictions, strict=True))


def test_a_line_cut_short_is_done_again(first_run: tuple[Path, list[np.ndarray]]) -> None:
    folder, predictions = first_run
    (path,) = folder.glob("quick-*.jsonl")
    lines = _lines(folder)
    path.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:40], encoding="utf-8")
    told: list[int] = []
    again = run_variant(BENCHMARK, QUICK, folder, progress=lambda stage, done, total, **info: told.append(done))
    assert told == [len(lines)]
    assert all(np.array_equal(a, b) for a, b in zip(predictions, again.predictions, strict=True))
    assert {json.loads(line)["source"] for line in _lines(folder)} == {json.loads(line)["source"] for line in lines}


def test_other_settings_have_a_file_of_their_own(first_run: tuple[Path, list[np.ndarray]]) -> None:
    folder, _ = first_run
    other = Variant(name="quick", overrides={"steps": 1, "rounds": 1, "locate_crops": 4})
    run_variant(BENCHMARK, other, folder)
    assert len(list(folder.glob("quick-*.jsonl"))) == 2


def test_ablations_switch_one_thing_each() -> None:
    whole, no_crops, one_embedding, one_layer = (variant.load().settings.to_dict() for variant in ablations())
    changed = [{k for k in whole if whole[k] != other[k]} for other in (no_crops, one_embedding, one_layer)]
    assert changed == [{"learn_crop", "locate_crop", "locate_crops"}, {"rounds"}, {"layers"}]


def test_a_benchmark_without_pairs_is_refused() -> None:
    with pytest.raises(SettingsError, match="at least 1 source"):
        check_benchmark(Benchmark(sources=0))
