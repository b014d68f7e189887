"""Runs of the benchmark kit over HTTP."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import PIL.Image
import pytest

from app.http.conftest import SHORT, Served, served
from app.made_runs import copy_with_maps
from app.serving import Visitor
from semcorr.evaluation.runs.folder import append, open_run, read_run
from semcorr.matchers.load import load_matcher
from semcorr.matchers.spec import MatcherSpec
from semcorr.storage.record_store import Shard, new_record_file


@pytest.fixture(scope="module")
def server(page_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    runs = copy_with_maps(page_runs, folder / "runs")
    with served(MatcherSpec(method="attention-dift", model="toy"), folder / "works", runs) as running:
        yield running


@pytest.fixture
def visitor(server: Served) -> Visitor:
    return server.visitor()


def pairs(visitor: Visitor, **filters: str) -> Any:
    return visitor.ask(f"/api/runs/pairs?{urlencode(filters)}")[1]


def pair(visitor: Visitor, run: str, index: int) -> Any:
    return visitor.ask("/api/runs/pair", {"run": run, "index": index})[1]


def heat(visitor: Visitor, **asked: object) -> tuple[int, bytes]:
    status, data = visitor.ask(f"/api/runs/heat?{urlencode(asked)}")
    return status, data


def test_a_run_is_shown_pair_by_pair(server: Served, visitor: Visitor) -> None:
    assert visitor.ask("/api/runs")[1] == {"runs": ["again", "deep/mine"]}
    answer = pairs(visitor, run="deep/mine")
    assert (answer["categories"], answer["outcomes"][0]) == (["all", "animal", "bird"], "all")
    assert answer["message"] == "3 of 3 pairs. The run has 1 to go."
    assert [one["index"] for one in answer["pairs"]] == [0, 1, 2]
    assert [one["index"] for one in pairs(visitor, run="deep/mine", category="bird", outcome="failed")["pairs"]] == [2]
    assert pairs(visitor, run="deep/mine", category="animal", outcome="failed")["pairs"] == []
    record = read_run(server.state.runs / "deep" / "mine").records[1]
    shown = pair(visitor, "deep/mine", 1)
    assert [(one["x"], one["y"]) for one in shown["source_points"]] == [
        tuple(xy) for xy in record.source_points.tolist()
    ]
    assert [one["label"] for one in shown["points"]] == list(record.names)
    assert [one["truth"] for one in shown["points"]] == record.truth.tolist()
    assert [one["right"] for one in shown["points"]] == [False, *[True] * (len(record.names) - 1)]
    apart = [np.hypot(one["x"] - one["truth"][0], one["y"] - one["truth"][1]) for one in shown["points"]]
    assert [one["error"] for one in shown["points"]] == pytest.approx(apart)
    assert (shown["source"]["size"], shown["layers"], shown["error"]) == ([64, 64], [], "")
    assert (shown["within"], shown["calibrated"]) == (0.1, False)
    image = PIL.Image.open(io.BytesIO(visitor.ask(f"/{shown['target']['address']}")[1]))
    assert image.size == (64, 64)
    failed = pair(visitor, "deep/mine", 2)
    assert (failed["points"], failed["error"]) == ([], "This pair failed: no memory")
    assert len(failed["source_points"]) == len(read_run(server.state.runs / "deep" / "mine").records[2].names)


@pytest.mark.parametrize("run", ["../elsewhere", "deep", "", "/etc"])
def test_what_is_not_in_the_list_is_refused(visitor: Visitor, run: str) -> None:
    for status, answer in (
        visitor.ask(f"/api/runs/pairs?{urlencode({'run': run})}"),
        visitor.ask("/api/runs/pair", {"run": run, "index": 0}),
        visitor.ask("/api/runs/maps", {"run": run, "index": 0}),
    ):
        assert (status, "one of the runs in the list" in answer["error"]) == (422, True)


def test_requests_that_do_not_fit_are_refused(visitor: Visitor) -> None:
    assert visitor.ask("/api/runs/pairs")[0] == 400
    assert visitor.ask("/api/runs/pairs?run=again&outcome=some")[0] == 400
    assert visitor.ask("/api/runs/pair", {"run": "again", "index": "a"})[0] == 400
    assert visitor.ask("/api/runs/pair", {"run": "again", "index": 7})[0] == 422
    assert heat(visitor, run="again", index=0, point=-1)[0] == 400
    assert heat(visitor, run="again", index=0, point=0)[0] == 404


def test_a_pair_whose_images_are_gone_keeps_its_numbers(
    page_runs: Path, server: Served, visitor: Visitor, tmp_path: Path
) -> None:
    before = read_run(page_runs / "deep" / "mine")
    moved = server.state.runs / "moved"
    dataset = {**before.settings["dataset"], "root": str(tmp_path)}
    settings = {"dataset": dataset, "method": {"name": "other", "calibration": "0123456789abcdef"}}
    open_run(moved, settings, 1)
    append(new_record_file(moved, Shard()), before.records[0])
    try:
        shown = pair(visitor, "moved", 0)
        assert shown["source"] is shown["target"] is None
        assert "not where it was during the run" in shown["error"]
        assert len(shown["points"]) == len(before.records[0].names)
        assert shown["calibrated"] is True
    finally:
        shutil.rmtree(moved)


def test_the_maps_of_a_pair_are_computed_again(server: Served, visitor: Visitor) -> None:
    assert visitor.ask("/api/runs/maps", {"run": "deep/mine", "index": 0})[1]["job"]["kind"] == "maps"
    assert "is a guess" in visitor.follow()["error"]
    assert visitor.ask("/api/runs/maps", {"run": "again", "index": 0})[0] == 200
    job = visitor.follow()
    assert job["state"] == "done"
    assert job["message"].startswith("pair-0 is located again with the run's model and settings")
    shown = pair(visitor, "again", 0)
    assert shown["layers"][0] == "all layers together"
    run = read_run(server.state.runs / "again")
    record, root = run.records[0], Path(run.settings["dataset"]["root"])
    matcher = load_matcher("attention-dift", "toy", **SHORT)
    query = matcher.describe(root / record.source, record.source_points)
    maps = matcher.locate(query, root / record.target).heatmaps
    status, data = heat(visitor, run="again", index=0, point=1)
    assert status == 200
    alpha = np.asarray(PIL.Image.open(io.BytesIO(data)))[..., 3]
    low, high = maps[1].min(), maps[1].max()
    assert np.abs(alpha / 255 - np.clip((maps[1] - low) / (high - low) * 1.15, 0, 1)).max() < 0.02
    others = {
        heat(visitor, run="again", index=0, point="all")[1],
        heat(visitor, run="again", index=0, point=1, layer=shown["layers"][1])[1],
    }
    assert len(others | {data}) == 3
    # The maps are of this pair alone, and of this visitor.
    assert heat(visitor, run="again", index=1, point=1)[0] == 404
    assert heat(visitor, run="again", index=0, point=len(record.names))[0] == 404
    assert heat(visitor, run="again", index=0, point=1, layer="other")[0] == 404
    assert pair(visitor, "again", 1)["layers"] == []
    assert heat(server.visitor(), run="again", index=0, point=1)[0] == 404
