"""Runs: each pair once, the same result whatever stops, shards and workers, and clear refusals."""

import dataclasses
import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closeness import leads
from semcorr.datasets.base import Dataset, Pair
from semcorr.errors import RunError
from semcorr.evaluation.runs import folder as run_folder
from semcorr.evaluation.runs.folder import merge, read_run
from semcorr.evaluation.runs.records import PairRecord
from semcorr.evaluation.runs.runner import run
from semcorr.evaluation.runs.units import units_of
from semcorr.matchers.spec import MatcherSpec
from semcorr.storage import record_store
from semcorr.storage.record_store import Shard

QUICK = MatcherSpec(method="prompt", model="toy", options={"steps": 2, "rounds": 2, "locate_crops": 5, "device": "cpu"})
GUESS = MatcherSpec(method="same-position")


class StopHereError(Exception):
    """Stands for whatever a caller stops a run with."""


@pytest.fixture(scope="session")
def whole(birds: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Sequence[PairRecord]:
    """An uninterrupted run of the paper's method with few steps."""
    return run(birds, QUICK, tmp_path_factory.mktemp("whole") / "run").records


def untimed(records: Sequence[PairRecord]) -> list[str]:
    return [dataclasses.replace(r, describe_seconds=0.0, locate_seconds=0.0).to_json() for r in records]


def lines(folder: Path) -> list[str]:
    return [line for path in sorted((folder / "records").iterdir()) for line in path.read_text().splitlines()]


def test_a_record_holds_the_pair_and_its_predictions(birds: Dataset, whole: Sequence[PairRecord]) -> None:
    assert [record.pair for record in whole] == [pair.id for pair in birds.pairs]
    for pair, record in zip(birds.pairs, whole, strict=True):
        assert (record.source, record.target) == (pair.source.path.name, pair.target.path.name)
        np.testing.assert_allclose(record.truth, pair.target.points, atol=1e-4)
        assert record.predicted.shape == pair.target.points.shape
        assert not record.error
    first = whole[0]
    assert sorted(first.rounds) == ["1", "2"]
    assert sorted(first.crops) == ["1", "2", "3", "4", "5"]
    assert set(first.layers) == {f"up_blocks.{block}.attentions.{n}" for block in (1, 2) for n in (0, 1)}
    # With all rounds, or all crops, the answer is the answer.
    assert np.array_equal(first.rounds["2"], first.predicted)
    assert np.array_equal(first.crops["5"], first.predicted)
    assert not np.array_equal(first.crops["1"], first.predicted)


@pytest.mark.slow
def test_a_point_is_located_where_it_is_located_alone(birds: Dataset, whole: Sequence[PairRecord]) -> None:
    matcher = QUICK.load()
    assert matcher is not None
    pair = birds.pairs[3]
    alone = matcher.locate(matcher.describe(pair.source.path, pair.source.points), pair.target.path)
    assert leads(alone.heatmaps).min() > 1e-5 * alone.heatmaps.max()
    np.testing.assert_allclose(whole[3].predicted, alone.points, atol=1e-4)


def test_sources_are_described_once_for_all_their_pairs(birds: Dataset, whole: Sequence[PairRecord]) -> None:
    units = list(units_of(birds, Shard(), set()))
    assert [unit.indices for unit in units] == [(0, 1), (2, 3), (4, 5)]
    assert [record.describe_seconds > 0 for record in whole] == [True, False, True, False, True, False]


def test_a_resumed_run_describes_the_same_points(birds: Dataset) -> None:
    (unit, *_), (left, *_) = list(units_of(birds, Shard(), set())), list(units_of(birds, Shard(), {0}))
    assert left.indices == (1,)
    assert np.array_equal(left.points, unit.points)
    assert left.rows == unit.rows[1:]


@pytest.mark.slow
def test_stopped_and_continued_is_the_same(birds: Dataset, whole: Sequence[PairRecord], tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int, **info: object) -> None:
        if stage == "pairs":
            raise StopHereError

    for left in range(len(birds.pairs) - 1, -1, -1):
        with pytest.raises(StopHereError):
            run(birds, QUICK, tmp_path / "run", progress=stop)
        assert len(birds.pairs) - len(lines(tmp_path / "run")) == left
    stages: list[str] = []
    result = run(birds, QUICK, tmp_path / "run", progress=lambda stage, *_, **__: stages.append(stage))
    assert not stages
    assert untimed(result.records) == untimed(whole)
    assert not (tmp_path / "run" / "queries").exists()


def test_stopping_within_a_source_is_no_failure(birds: Dataset, tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int, **info: object) -> None:
        if stage == "optimize":
            raise StopHereError

    with pytest.raises(StopHereError):
        run(birds, QUICK, tmp_path / "run", progress=stop)
    assert not lines(tmp_path / "run")


def test_records_that_are_to_be_seen_late_are_waited_for(birds: Dataset, tmp_path: Path) -> None:
    """As those of another machine, on a folder that both share; and those of one that does not share it."""
    run(birds, GUESS, tmp_path / "run")
    (path,) = (tmp_path / "run" / "records").iterdir()
    away = path.rename(tmp_path / "away")
    back = threading.Timer(0.7, away.rename, [path])
    back.start()
    assert len(run_folder.read_written(tmp_path / "run", set(range(6))).records) == 6
    back.join()
    with pytest.raises(RunError, match=r"1 pairs are done, but their records are not visible in .*run"):
        run_folder.read_written(tmp_path / "run", {5, 6}, patience=0)


def test_a_line_cut_short_is_done_again(birds: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    expected = run(birds, GUESS, folder).records
    (path,) = (folder / "records").iterdir()
    text = path.read_text()
    path.write_text(text[: len(text) - 40])
    assert len(read_run(folder).records) == 5
    assert untimed(run(birds, GUESS, folder).records) == untimed(expected)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": [1]},
        {"index": "0"},
        {"pair": 1},
        {"truth": None},
        {"predicted": [[1, 2, 3]]},
        {"source_box": "none"},
        {"rounds": {"1": {"x": 1}}},
        {"describe_seconds": "long"},
        {"names": 3},
        {"more": 1},
    ],
)
def test_a_line_of_something_else_is_done_again(birds: Dataset, tmp_path: Path, change: dict[str, Any]) -> None:
    folder = tmp_path / "run"
    expected = run(birds, GUESS, folder).records
    (path,) = (folder / "records").iterdir()
    first, *others = path.read_text().splitlines()
    lines = [json.dumps(json.loads(first) | change), "[1, 2]", "3", *others]
    path.write_text("\n".join(lines))
    assert [record.index for record in read_run(folder).records] == [1, 2, 3, 4, 5]
    assert untimed(run(birds, GUESS, folder).records) == untimed(expected)


def test_records_are_read_once_at_the_start_and_once_at_the_end(
    birds: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, from_json = [], PairRecord.from_json

    def counted(line: str) -> PairRecord:
        read.append(line)
        return from_json(line)

    monkeypatch.setattr(PairRecord, "from_json", counted)
    run(birds, GUESS, tmp_path / "run")
    assert len(read) == 6
    run(birds, GUESS, tmp_path / "run")
    assert len(read) == 12
    (path,) = (tmp_path / "run" / "records").iterdir()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    run(birds, GUESS, tmp_path / "run")
    assert len(read) == 12 + 4 + 6


def test_lines_reach_the_disk_a_source_at_a_time(
    birds: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line is in the file when its pair is reported; the disk is waited for after each source's two pairs."""
    settled: list[int] = []
    reported: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda _: settled.append(len(lines(tmp_path / "run"))))
    run(birds, GUESS, tmp_path / "run", progress=lambda *_, **__: reported.append(len(lines(tmp_path / "run"))))
    assert reported == [1, 2, 3, 4, 5, 6]
    assert settled == [2, 4, 6]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(birds: Dataset, whole: Sequence[PairRecord], tmp_path: Path) -> None:
    counts: list[tuple[int, int]] = []

    def note(stage: str, done: int, total: int, **info: object) -> None:
        counts.append((done, total))

    result = run(birds, QUICK, tmp_path / "run", workers=2, progress=note)
    assert counts == [(n, 6) for n in range(1, 7)]
    # Once a run, not once a process: of a source's lines one tells what describing it took.
    described = [json.loads(line)["source"] for line in lines(tmp_path / "run") if '"describe_seconds":0.0' not in line]
    assert len(described) == len(set(described)) == 3
    for one, two in zip(whole, result.records, strict=True):
        np.testing.assert_allclose(one.predicted, two.predicted, atol=1e-3)


@pytest.mark.slow
def test_merged_shards_are_the_whole(birds: Dataset, whole: Sequence[PairRecord], tmp_path: Path) -> None:
    parts = [tmp_path / "a", tmp_path / "b"]
    for number, part in enumerate(parts, start=1):
        run(birds, QUICK, part, shard=Shard(number=number, count=2))
    assert [len(read_run(part).records) for part in parts] == [4, 2]
    assert untimed(merge(parts, tmp_path / "both").records) == untimed(whole)
    with pytest.raises(RunError, match="not empty"):
        merge(parts, tmp_path / "both")


def test_runs_of_other_settings_are_neither_continued_nor_merged(birds: Dataset, tmp_path: Path) -> None:
    run(birds, GUESS, tmp_path / "a")
    with pytest.raises(RunError, match=r"other settings \(method.name: 'same-position' there, 'random' here\)"):
        run(birds, MatcherSpec(method="random"), tmp_path / "a")
    fewer = dataclasses.replace(birds, pairs=birds.pairs[:2])
    with pytest.raises(RunError, match=r"dataset\.pairs: 6 there, 2 here"):
        run(fewer, GUESS, tmp_path / "a")
    run(birds, MatcherSpec(method="random"), tmp_path / "b")
    with pytest.raises(RunError, match="not merged"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")


def test_images_may_be_elsewhere(birds: Dataset, tmp_path: Path) -> None:
    run(birds, GUESS, tmp_path / "run")
    moved = dataclasses.replace(birds, root=birds.root.parent)
    run(moved, GUESS, tmp_path / "run")


def test_a_failed_pair_is_a_record_and_is_tried_again(birds: Dataset, tmp_path: Path) -> None:
    """A missing target fails one pair; a missing source fails all of its pairs."""

    def without(side: str, pair: Pair) -> Pair:
        image = dataclasses.replace(getattr(pair, side), path=birds.root / "gone.png")
        return dataclasses.replace(pair, **{side: image})

    pairs = (without("target", birds.pairs[0]), birds.pairs[1], *(without("source", p) for p in birds.pairs[2:4]))
    broken = dataclasses.replace(birds, pairs=pairs)
    result = run(broken, QUICK, tmp_path / "run")
    assert ["gone.png" in record.error for record in result.records] == [True, False, True, True]
    assert [len(record.predicted) for record in result.records] == [0, 3, 0, 0]
    calls: set[tuple[str, int]] = set()
    run(broken, QUICK, tmp_path / "run", progress=lambda stage, done, total, **_: calls.add((stage, total)))
    assert calls == {("pairs", 3)}  # the first pair's source is not described again


def test_pairs_whose_images_have_another_size_than_is_declared_fail(birds: Dataset, tmp_path: Path) -> None:
    """Coordinates of a copy of another size would be wrong, and PCK 0 without a message."""

    def declared(side: str, pair: Pair, size: tuple[int, int]) -> Pair:
        return dataclasses.replace(pair, **{side: dataclasses.replace(getattr(pair, side), size=size)})

    pairs = (
        declared("target", birds.pairs[0], (128, 128)),
        birds.pairs[1],
        declared("source", birds.pairs[2], (32, 32)),
    )
    quick = MatcherSpec(method="dift", model="toy", options={"samples": 1, "device": "cpu"})
    result = run(dataclasses.replace(birds, pairs=pairs), quick, tmp_path / "run")
    sizes = [
        "128 x 128 pixels, and the file '1.png' has 64 x 64",
        "",
        "32 x 32 pixels, and the file '1.png' has 64 x 64",
    ]
    assert [bool(record.error) for record in result.records] == [True, False, True]
    assert all(text in record.error for text, record in zip(sizes, result.records, strict=True))


def test_baselines_run_like_methods(birds: Dataset, tmp_path: Path) -> None:
    result = run(birds, GUESS, tmp_path / "run")
    for pair, record in zip(birds.pairs, result.records, strict=True):
        np.testing.assert_allclose(record.predicted, pair.source.points, atol=1e-4)  # images of one size


@pytest.mark.parametrize("where", [{}, {"workers": 2}, {"ray": "local"}])
def test_a_second_process_on_the_same_shard_is_refused(birds: Dataset, tmp_path: Path, where: dict[str, Any]) -> None:
    run(birds, GUESS, tmp_path / "run", shard=Shard(number=1, count=2))
    with record_store.locked(tmp_path / "run", Shard()), pytest.raises(RunError, match="Another process is working on"):
        run(birds, GUESS, tmp_path / "run", **where)


def test_shards_of_one_division_run_side_by_side_and_of_another_do_not(birds: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(birds, GUESS, folder, shard=Shard(number=1, count=2))
    with record_store.locked(folder, Shard(number=1, count=2)):
        run(birds, GUESS, folder, shard=Shard(number=2, count=2))
        for other in (Shard(), Shard(number=3, count=3)):
            with pytest.raises(RunError, match=r"is working on shard 1/2 of .* with the same n"):
                run(birds, GUESS, folder, shard=other)
    assert len(run(birds, GUESS, folder).done) == 6


@pytest.mark.slow
def test_no_clock_and_no_file_time_has_a_say(
    birds: Dataset, whole: Sequence[PairRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock jumps by years, back and forth, and files say that they are of another time."""
    now, chance = time.time(), np.random.default_rng(0)

    def stop(stage: str, done: int, total: int, **info: object) -> None:
        if stage == "pairs" and done == 2:
            raise StopHereError

    monkeypatch.setattr(time, "time", lambda: now + float(chance.uniform(-1, 1)) * 1e9)
    for seconds in (-1e8, 1e8):
        with pytest.raises(StopHereError):
            run(birds, QUICK, tmp_path / "run", progress=stop)
        for path in (tmp_path / "run").rglob("*"):
            os.utime(path, (now + seconds, now + seconds))
    done = run(birds, QUICK, tmp_path / "run")
    assert untimed(done.records) == untimed(whole)
    assert all(0 <= record.describe_seconds < 600 for record in done.records)


@pytest.mark.slow
def test_what_a_crash_has_left_behind_is_done_again(
    birds: Dataset, whole: Sequence[PairRecord], tmp_path: Path
) -> None:
    """Half lines, lines of something else, bytes that are no text, and queries that are none."""
    folder = tmp_path / "run"
    run(birds, QUICK, folder, keep_queries=True)
    (path,) = (folder / "records").iterdir()
    first, second, *others = path.read_bytes().splitlines()
    junk = bytes(range(256)) * 8
    path.write_bytes(b"\n".join([first, junk, second[:90], b"\0" * 4096, *others[:2], others[2][:-1]]))
    for query in (folder / "queries").iterdir():
        query.write_bytes(junk)
    assert [record.index for record in read_run(folder).records] == [0, 2, 3]
    assert untimed(run(birds, QUICK, folder).records) == untimed(whole)


@pytest.mark.parametrize(("number", "count"), [(0, 2), (3, 2), (1, 0)])
def test_shards_that_are_not(number: int, count: int) -> None:
    with pytest.raises(RunError, match="shard as i/n"):
        Shard(number=number, count=count)


def test_no_run_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run in"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="broken"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(RunError, match="format 99"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"format": 1, "hash": "h", "pairs": "two", "settings": {}}',
        '{"format": 1, "hash": "h", "pairs": 2, "settings": []}',
        '{"format": 1, "hash": "h", "pairs": 2, "settings": {"dataset": [1]}}',
    ],
)
def test_settings_that_are_something_else_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match="is broken"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"predicted": [[1e300, 1]], "truth": [[1, 1]]},
        {"confidence": [0.5, 0.5, 0.5]},
        {"names": []},
        {"source_size": [1]},
        {"target_box": [1, 2, "3", 4]},
        {"layers": {"up/4": [[1, 2]] * 9}},
        {"truth": 10**400},
    ],
)
def test_records_that_contradict_themselves_are_left_out(change: dict[str, Any]) -> None:
    made = PairRecord(
        index=0, pair="p", category="c", names=("a",), source="a", target="b", source_size=(9, 9), target_size=(9, 9),
        source_box=None, target_box=None, source_points=np.ones((1, 2)), truth=np.ones((1, 2)),
        predicted=np.ones((1, 2)), confidence=np.ones(1),
    )  # fmt: skip
    row = json.loads(made.to_json())
    assert PairRecord.from_json(json.dumps(row)).names == ("a",)
    with pytest.raises((ValueError, TypeError)):
        PairRecord.from_json(json.dumps(row | change))
    with pytest.raises(ValueError, match="recursion"):
        PairRecord.from_json("[" * 100_000)
