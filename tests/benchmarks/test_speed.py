"""The whole of benchmarks.speed on a tiny network."""

import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks import machine, meters, speed
from benchmarks import method_cost as contest
from benchmarks.command import main
from benchmarks.method_cost import PLAIN, Contestant, make
from semcorr.models.diffusion import DiffusionModel

FEW = {"resolution": 64, "steps": 3, "rounds": 2, "locate_crops": 5}


@pytest.fixture
def contestants(tiny_model: DiffusionModel) -> list[Contestant]:
    return make(tiny_model, ("paper", "fast"), exact="paper", changes=FEW)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the machine's rate nor what is left of freed memory is what these tests look at."""
    monkeypatch.setattr(speed, "measure_machine", partial(machine.measure, seconds=0.01))
    monkeypatch.setattr(meters, "give_back_memory", lambda: None)


def _results(contestants: list[Contestant]) -> speed.Results:
    return speed.Results(contestants=contestants, counts=(1, 3), exact="paper", fast="fast")


@pytest.mark.slow
def test_everything_is_measured_interleaved_and_printed(
    contestants: list[Contestant], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    results, file = _results(contestants), tmp_path / "speed.json"
    assert speed.run(results, repeats=2, longest=0, model="tiny", json_file=file) == 0
    keys = [(name, stage, n) for name in (PLAIN, "paper", "fast") for stage in contest.STAGES for n in (1, 3)]
    assert [list(costs) for costs in results.rounds] == [keys, keys]
    assert list(results.counted) == keys
    out, err = capsys.readouterr()
    for text in ("Seconds, model tiny", "Times faster than plain", "GFLOP a step", "matrix rate", "paper / plain"):
        assert text in out
    assert "repeat 2 of 2: plain, locate" in err
    document = json.loads(file.read_text())
    assert document["settings"]["paper"]["steps"] == 3
    assert document["times_faster"]["paper"]["step@1"]["median"] > 0
    assert len(document["repeats"]) == 2


@pytest.mark.slow
def test_work_is_counted_as_it_is_done(contestants: list[Contestant]):
    costs = {
        (one.name, m.stage, m.points): m.cost
        for one in contestants
        for stage in contest.STAGES
        for m in one.measure(stage, (1, 2), longest=60, count_flops=True)
    }
    # Plain: 3 steps of 2 embeddings a point, an encoding and a pass each; 5 crops of 2 embeddings.
    for points in (1, 2):
        assert (costs[PLAIN, "describe", points].passes, costs[PLAIN, "describe", points].encodes) == (6 * points,) * 2
        assert (costs[PLAIN, "locate", points].passes, costs[PLAIN, "locate", points].encodes) == (10 * points,) * 2
        # The package passes as often, cuts the network, and remembers its crops: there are 25 positions at most.
        assert costs["paper", "describe", points].passes >= 6 * points
        assert costs["paper", "locate", points].passes == 10 * points
        assert costs["paper", "describe", points].encodes <= min(6 * points, 25)
        assert costs["paper", "describe", points].flops < costs[PLAIN, "describe", points].flops
        # With frozen queries the network runs once a crop: 8 of the source, 5 of the target.
        assert (costs["fast", "describe", points].passes, costs["fast", "describe", points].whole) == (8, True)
        assert (costs["fast", "locate", points].passes, costs["fast", "locate", points].encodes) == (5, 5)
    assert costs[PLAIN, "describe", 2].flops == pytest.approx(2 * costs[PLAIN, "describe", 1].flops)


@pytest.mark.slow
def test_what_takes_too_long_is_worked_out_from_a_few_steps(contestants: list[Contestant]):
    plain, paper, fast = contestants
    list(paper.measure("describe", (1,), longest=0))  # what a row takes of memory is measured once, by a pass
    whole = {m.points: m for m in paper.measure("describe", (1,), longest=600, count_flops=True)}
    few = {m.points: m for m in paper.measure("describe", (1, 3), longest=0, count_flops=True)}
    assert (few[1].cost.timed, few[1].cost.units, few[1].cost.whole) == (4, 6, False)
    assert few[3].peak_bytes is None  # not run at all
    assert few[1].cost.passes == whole[1].cost.passes
    rest, all_ = (one.cost.flops for one in (few[1], whole[1]))
    assert rest == pytest.approx(all_, rel=0.3)  # but for the number of different crops, which is a guess
    (one,) = plain.measure("locate", (1,), longest=0)
    assert (one.cost.timed, one.cost.units, one.cost.passes) == (1, 10, 10)
    # All rows are read in one step after the passes, which must not be taken for each row's own.
    assert [m.cost.passes for m in fast.measure("locate", (1, 3), longest=0)] == [5, 5]


@pytest.mark.slow
def test_stopped_it_prints_the_finished_repeats(
    contestants: list[Contestant], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    turns, real = [], speed._turn

    def turn(*args: object, **options: object) -> object:
        turns.append(1)
        if len(turns) == 3:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(speed, "_turn", turn)
    assert speed.run(_results(contestants), repeats=5, longest=0, model="tiny") == 130
    out, err = capsys.readouterr()
    assert "Seconds, model tiny, 1 repeat" in out
    assert "multiplied out from 1 of 6 steps" in out
    assert "Stopped after 1 of 5 repeats" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--presets", "papr"], "Did you mean 'paper'?"), (["--repeats", "0"], "number of repeats"), (["--x"], "--help")],
)
def test_mistakes_are_errors_before_anything_is_loaded(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(speed.app, options) == 2
    assert message in capsys.readouterr().err
