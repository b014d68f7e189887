"""Runs of the benchmark kit: their list, the filters of their pairs, and heat maps that are computed again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semcorr.app import runs
from semcorr.errors import ImageError, RunError
from semcorr.evaluation.runs.folder import append, open_run, read_run
from semcorr.evaluation.runs.recompute import load_method
from semcorr.matchers.load import load_matcher
from semcorr.storage.record_store import Shard, new_record_file


def test_only_runs_below_the_folder_are_listed_and_opened(page_runs: Path, tmp_path: Path) -> None:
    assert runs.list_runs(page_runs) == ["deep/mine"]
    assert runs.list_runs(tmp_path / "missing") == []
    outside = tmp_path / "runs"
    outside.mkdir()
    (outside / "link").symlink_to(page_runs / "deep" / "mine")
    assert runs.list_runs(outside) == []
    for name in ("link", "../runs/link", str(page_runs / "deep" / "mine"), ""):
        with pytest.raises(RunError, match="one of the runs in the list"):
            runs.open_run(outside, name)


def test_pairs_are_filtered_by_category_and_outcome(page_runs: Path) -> None:
    opened = runs.open_run(page_runs, "deep/mine")
    assert opened.categories == ["animal", "bird"]
    assert runs.select(opened) == [0, 1, 2]
    assert runs.select(opened, "bird") == [1, 2]
    assert runs.select(opened, "bird", "some wrong") == [1]
    assert runs.select(opened, runs.EVERY, "all right") == [0]
    assert runs.select(opened, runs.EVERY, "failed") == [2]
    assert runs.select(opened, "animal", "failed") == []
    count = len(opened.records[1].names)
    assert f"{count - 1} of {count} right" in runs.label_of(opened, 1)
    assert runs.distances(opened.records[0]).max() < 1e-3  # records keep four decimals
    assert np.isnan(runs.distances(opened.records[2])).all()


def test_an_open_run_is_read_again_only_when_it_changed(page_runs: Path, tmp_path: Path) -> None:
    before = read_run(page_runs / "deep" / "mine")
    opened_runs = runs.OpenRuns(tmp_path, keep=1)
    for name in ("one", "two"):
        open_run(tmp_path / name, before.settings, 3)
        append(new_record_file(tmp_path / name, Shard()), before.records[2])
    first = opened_runs.get("one")
    assert opened_runs.get("one") is first
    assert first.position(2) == 0
    with pytest.raises(RunError, match="no pair 0"):
        first.position(0)
    append(new_record_file(tmp_path / "one", Shard()), before.records[0])
    second = opened_runs.get("one")
    assert (second.position(0), second.position(2)) == (0, 1)
    opened_runs.get("two")
    assert opened_runs.get("one") is not second
    shutil.rmtree(tmp_path / "one")
    for name in ("one", "../one", ""):
        with pytest.raises(RunError, match="one of the runs in the list"):
            opened_runs.get(name)


def test_a_pair_without_points_is_neither_right_nor_wrong(page_runs: Path, tmp_path: Path) -> None:
    before = read_run(page_runs / "deep" / "mine")
    none = np.zeros((0, 2))
    bare = replace(
        before.records[0], source_points=none, truth=none, predicted=none, confidence=np.zeros(0), names=(), layers={}
    )
    open_run(tmp_path / "bare", before.settings, 1)
    append(new_record_file(tmp_path / "bare", Shard()), bare)
    opened = runs.open_run(tmp_path, "bare")
    assert runs.label_of(opened, 0).endswith("no points")
    assert runs.select(opened, outcome="all right") == runs.select(opened, outcome="all wrong") == []
    assert runs.select(opened, outcome="no points") == [0]


def test_images_outside_the_data_sets_folder_are_refused(page_runs: Path, tmp_path: Path) -> None:
    opened = runs.open_run(page_runs, "deep/mine")
    source, target = runs.load_images(opened, 0)
    assert source.size == target.size == (64, 64)
    settings = json.loads(json.dumps(opened.run.settings))
    open_run(tmp_path / "sly", settings, 1)
    line = json.loads(opened.records[0].to_json()) | {"source": "../../etc/passwd"}
    (tmp_path / "sly" / "records" / "1.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(ImageError, match="not where it was during the run"):
        runs.load_images(runs.open_run(tmp_path, "sly"), 0)


def test_maps_are_computed_again_with_the_runs_own_settings(page_runs: Path, tmp_path: Path) -> None:
    matcher = load_matcher("attention-dift", "toy", steps=2, locate_crops=4, dift_samples=1)
    before = read_run(page_runs / "deep" / "mine")
    method = {"name": "attention-dift", "preset": "fast", **matcher.identity()}
    open_run(tmp_path / "run", {**before.settings, "method": method}, 1)
    append(new_record_file(tmp_path / "run", Shard()), before.records[0])
    opened = runs.open_run(tmp_path, "run")
    prediction = runs.compute_maps(opened, 0, load_method(opened.run), lambda *_, **__: None)
    root, record = Path(before.settings["dataset"]["root"]), before.records[0]
    query = matcher.describe(root / record.source, record.source_points)
    assert np.array_equal(prediction.matches.points, matcher.locate(query, root / record.target).points)
    assert prediction.layers is not None
    with pytest.raises(RunError, match="is a guess"):
        load_method(runs.open_run(page_runs, "deep/mine").run)
