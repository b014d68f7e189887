"""A point exactly on the threshold counts the same wherever points are counted."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.handmade import pair_record, run_of
from semcorr.app import runs
from semcorr.cli.demo import Score
from semcorr.evaluation.fit_calibration import calibrate
from semcorr.evaluation.metrics import keypoint_ap
from semcorr.evaluation.metrics.pck import is_correct
from semcorr.evaluation.metrics.scores import score
from semcorr.evaluation.report import plots
from semcorr.evaluation.report.build import build_report
from semcorr.evaluation.report.groups import ReportOptions, group_runs
from semcorr.evaluation.runs.ablation import one_layer
from semcorr.evaluation.runs.folder import append, open_run
from semcorr.evaluation.runs.records import Run
from semcorr.storage.record_store import Shard, new_record_file

METHOD = {"name": "dift", "model_id": "toy", "model_fingerprint": "f", "preset": "published", "settings": {}}
SIZE = 30.3
"""The box's longer side, in pixels."""
ON = SIZE / 10
"""A tenth of it."""
RIGHT = np.array([ON, 0.0])
POINTS = 10


def truths(pairs: int) -> np.ndarray:
    """Coordinates in which adding ``ON`` rounds, up as well as down."""
    return np.random.default_rng(3).uniform(1, 60, (pairs, POINTS, 2))


def made(offset: Callable[[int, int], float] = lambda pair, point: ON, pairs: int = 30) -> Run:
    """Pairs of ten points, each ``offset`` to the right of the truth, along one axis."""
    records = []
    for index, truth in enumerate(truths(pairs)):
        away = [(offset(index, point), 0.0) for point in range(POINTS)]
        sure = np.array([1.0 if offset(index, point) <= ON else 0.0 for point in range(POINTS)])
        more = {"target_box": (0, 0, SIZE, 20), "source_box": (0, 0, SIZE, 20), "confidence": sure}
        record = pair_record(index, truth, away, names=tuple("abcdefghij"), **more)
        records.append(replace(record, layers={"last": record.predicted}))
    return run_of("edge", records, method=METHOD)


def test_rounding_puts_some_of_these_points_beyond_the_threshold_and_some_within() -> None:
    run = made()
    away = np.concatenate([r.predicted - r.truth for r in run.records])[:, 0] / SIZE
    assert 20 < int((away > 0.1).sum()) < 280
    assert is_correct(away, 0.1).all()
    assert not is_correct(away * (1 + 1e-7), 0.1).any()


def test_infinity_and_nan_are_wrong() -> None:
    assert is_correct(np.array([np.inf, np.nan, 0.0, 0.1, 0.1000001]), 0.1).tolist() == [
        False,
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("frame", ["original", "squash"])
@pytest.mark.parametrize("threshold", ["target-box", "source-box", "reference-cub"])
def test_every_table_of_a_report_counts_them_right(threshold: str, frame: str) -> None:
    options = ReportOptions(by=("overall", "category", "point", "layer"), threshold=threshold, frame=frame, quote=False)
    seen = set()
    for table in build_report([made(), one_layer(made())], options).tables:
        for row in table.rows:
            values = {c.key: v for c, v in zip(table.columns, row.values, strict=True)}
            for key, value in values.items():
                if value is None:  # a derived run has no layers of its own
                    continue
                if ("pck@0.1" in key and "95%" not in key) or key in ("pck all", "pck confident half"):
                    assert value == 100, (table.title, row.name, key)
                    seen.add((table.by, key.split(" ")[-1]))
                elif "pck@0.05" in key and "95%" not in key:
                    assert value == 0
    assert {by for by, _ in seen} == {"overall", "category", "point", "layer"}
    assert ("overall", "half") in seen
    assert ("overall", "all") in seen


def test_curves_and_tiles_count_them_right() -> None:
    run = made()
    scores = score(run.records, group_runs([run], ReportOptions())[0].protocol)
    assert scores.averages([0.1]).per_point.tolist() == [1.0]
    group = group_runs([run], ReportOptions())[0]
    line = plots.curves(group, ReportOptions()).axes[1].lines[0]
    at = np.flatnonzero(np.isclose(line.get_xdata(), 0.1))
    assert np.asarray(line.get_ydata())[at].tolist() == [100.0]


def test_a_calibration_counts_them_right() -> None:
    """Half of the points lie on the threshold and are sure, half beyond and are not: the curve goes from 0 to 1."""
    calibration = calibrate(made(lambda pair, point: ON if point % 2 else 2 * ON), kind="isotonic")
    assert calibration.apply(np.array([0.0, 1.0])) == pytest.approx([0, 1], abs=0.01)


def test_the_page_counts_them_right(tmp_path: Path) -> None:
    # A record keeps four decimals: of these coordinates none is lost, and sums still round.
    run = made(pairs=5)
    truth = [np.round(record.truth, 1) for record in run.records]
    records = [replace(r, truth=t, predicted=t + RIGHT) for r, t in zip(run.records, truth, strict=True)]
    open_run(tmp_path / "run", run.settings, len(records))
    file = new_record_file(tmp_path / "run", Shard())
    for record in records:
        append(file, record)
    opened = runs.open_run(tmp_path, "run")
    assert runs.select(opened, outcome="all right") == list(range(5))
    assert all("10 of 10 right" in runs.label_of(opened, index) for index in range(5))


def test_the_demonstration_counts_them_right() -> None:
    for truth in truths(30):
        shown = Score(names=tuple("abcdefghij"), points=truth + RIGHT, truth=truth, object_size=SIZE)
        assert shown.right.all()


def test_key_points_against_true_ones_count_them_right(tmp_path: Path) -> None:
    names = [str(number) for number in range(POINTS)]

    def file(name: str, offset: float) -> Path:
        objects: list[dict[str, Any]] = []
        for number, truth in enumerate(truths(30), start=1):
            values = np.column_stack([truth + offset * RIGHT / ON, np.full(POINTS, 2)]).ravel().tolist()
            box = {"bbox": [0, 0, SIZE, 20], "area": SIZE * 20, "iscrowd": 0, "num_keypoints": POINTS}
            objects.append({"id": number, "image_id": number, "category_id": 1, "keypoints": values, **box})
        images = [{"id": number, "file_name": f"{number}.png"} for number in range(1, 31)]
        content = {"images": images, "annotations": objects}
        content["categories"] = [{"id": 1, "name": "cat", "keypoints": names}]
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
        return tmp_path / name

    scores = keypoint_ap.score(file("predicted.json", ON), file("true.json", 0.0))
    assert scores.pck == {0.05: 0.0, 0.1: 1.0}
    assert scores.overall_risk == 0
