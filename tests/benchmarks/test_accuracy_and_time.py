from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
from rich.table import Table

from benchmarks import accuracy_and_time as frontier
from benchmarks.accuracy_and_time import MethodScore, draw, report, run_all, scores_of
from semcorr.datasets import toy_world
from semcorr.matchers.spec import MatcherSpec

FEW = {"device": "cpu", "steps": 1, "rounds": 1, "locate_crops": 4}


@pytest.mark.slow
def test_presets_are_run_scored_and_drawn_and_a_second_time_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset = toy_world.load(tmp_path / "toy", sources=1, targets=1)
    methods = {
        "paper": MatcherSpec(method="prompt", model="toy", options=FEW),
        "reference": MatcherSpec(method="prompt", model="toy", preset="reference", options=FEW),
        "same-position": MatcherSpec(method="same-position"),
    }
    runs = list(run_all(dataset, methods, tmp_path / "runs"))
    scores = {one.name: one for one in scores_of(runs)}
    assert list(scores) == ["paper", "reference", "same-position"]
    paper, other = scores["paper"], scores["reference"]
    assert (paper.lead, paper.lead_interval, paper.pairs, paper.failed) == (0, (0, 0), 4, 0)
    assert other.lead == pytest.approx(other.pck - paper.pck, abs=1e-6)
    assert other.interval[0] <= other.pck <= other.interval[1]
    assert paper.point_seconds
    assert paper.target_seconds
    assert scores["same-position"].point_seconds is None

    def never(*_: object, **__: object) -> None:
        raise AssertionError("what is done is not done again")

    monkeypatch.setattr("semcorr.matchers.prompt.matcher.PromptMatcher.describe", never)
    assert [one.pck for one in scores_of(list(run_all(dataset, methods, tmp_path / "runs")))] == [
        one.pck for one in scores.values()
    ]


def _score(name: str, pck: float, lead: float | None, seconds: float | None) -> MethodScore:
    return MethodScore(
        name=name,
        pck=pck,
        interval=(pck - 2, pck + 3),
        lead=lead,
        lead_interval=None if lead is None else (lead - 1, lead + 1),
        point_seconds=seconds,
        target_seconds=seconds,
        pairs=312,
        failed=0,
    )


def test_the_table_says_what_is_as_good_as_paper(tmp_path: Path):
    scores = [
        _score("paper", 60, 0, 2.0),
        _score("fast", 58.6, -1.4, 0.02),
        _score("faster", 50, -10, 0.002),
        _score("random", 5, -55, None),
    ]
    table, line = report(scores, "toy")
    assert isinstance(table, Table)
    assert table.row_count == 4
    assert line == "Within 1.5 points of paper, or better: fast (-1.4)"
    (alone,) = report([_score("fast", 58, None, 1.0)], "toy")
    assert isinstance(alone, Table)
    frontier.save_figure(draw(scores), tmp_path / "deep" / "frontier.png")
    with PIL.Image.open(tmp_path / "deep" / "frontier.png") as written:
        assert written.size[0] > 500


@pytest.mark.slow
def test_every_other_method_is_in_the_table_and_random_networks_say_so(tmp_path: Path):
    methods = frontier.others("toy", {"device": "cpu"}, tmp_path)
    assert list(methods) == [
        "attention-dift",
        "dift",
        "dino, random",
        "sd-dino, random",
        "nbb",
        "nbb-dino, random",
    ]
    dataset = toy_world.load(tmp_path / "toy", sources=1, targets=1)
    small = {
        "dino, random": {"resolution": 112},
        "sd-dino, random": {"dino_resolution": 112, "samples": 1},
        "nbb-dino, random": {"resolution": 112},
    }
    methods = {name: replace(methods[name], options={**methods[name].options, **more}) for name, more in small.items()}
    assert {
        (one.name, one.pairs, one.failed) for one in scores_of(list(run_all(dataset, methods, tmp_path / "runs")))
    } == {(name, 4, 0) for name in small}
