"""Played units against closed forms."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks import many_workers as simulate
from benchmarks.command import main
from benchmarks.many_workers import Recording, play
from semcorr.errors import SemcorrError

FREE = Recording(
    title="units of 2 s",
    unit_seconds=(2.0,),
    hand_over=0.0,
    hand_over_worker=0.0,
    transit=0.0,
    write=0.0,
    head=0.001,
    record_bytes=1000.0,
    unit_memory=500.0,
    finished_memory=200.0,
    real_workers=1,
    real_rate=0.5,
)


@pytest.mark.parametrize("workers", [1, 4, 100])
def test_where_nothing_is_between_units_speed_up_is_the_number_of_workers(workers: int) -> None:
    played = play(FREE, workers, 400)
    assert played.seconds == pytest.approx(2 * 400 / workers)
    assert played.speed_up == pytest.approx(workers)
    assert played.efficiency == pytest.approx(1)


def test_the_way_is_added_to_every_unit() -> None:
    """The last result need not go back to a worker, but comes in."""
    assert play(dataclasses.replace(FREE, transit=0.5), 4, 400).seconds == pytest.approx(100 * 2.5)


def test_more_workers_than_can_be_handed_units_are_no_use() -> None:
    """A tenth of a second a unit: 10 a second, which 20 workers with units of 2 s ask for."""
    slow = dataclasses.replace(FREE, hand_over=0.1)
    few, many = play(slow, 5, 10_000), play(slow, 200, 10_000)
    assert few.seconds == pytest.approx(2.1 * 10_000 / 5, rel=0.01)
    assert many.seconds == pytest.approx(0.1 * 10_000, rel=0.02)
    assert many.handing / many.seconds == pytest.approx(1, rel=0.02)


def test_the_writer_may_be_what_all_wait_for() -> None:
    played = play(dataclasses.replace(FREE, write=0.2, hand_over=0.001), 50, 10_000)
    assert played.seconds == pytest.approx(2000, rel=0.01)


def test_every_further_worker_makes_handing_over_slower() -> None:
    slow = dataclasses.replace(FREE, hand_over=0.01, hand_over_worker=0.001)
    assert play(slow, 1, 1000).handing == pytest.approx(10)
    assert play(slow, 11, 1000).handing == pytest.approx(20)


def test_fewer_units_than_workers() -> None:
    assert play(FREE, 8, 3).seconds == pytest.approx(2)


def _write(path: Path) -> Path:
    ran = {"unit_seconds": [0.3, 0.5], "rate": 300.0}
    document = {
        "title": "dift, 2 targets",
        "repeats": [{"Ray": ran}, {"Ray": ran}],
        "stand": {"Ray": {"gaps": [0.003, 0.005, 0.004]}},
        "handed": [
            {"way": "Ray", "workers": 2, "driver": 0.001, "caller": 0.0005, "head": 0.0001},
            {"way": "Ray", "workers": 6, "driver": 0.0014, "caller": 0.0005, "head": 0.0002},
            {"way": "processes", "workers": 2, "driver": 1.0, "caller": 1.0, "head": 0.0},
        ],
        "record": {"seconds": 0.0002, "bytes": 800.0},
        "kept": {"unit": 500.0, "finished": 200.0},
    }
    path.write_text(json.dumps(document))
    return path


def test_a_recording_is_read(tmp_path: Path) -> None:
    recording = simulate.read(_write(tmp_path / "throughput.json"))
    assert recording.unit_seconds == (0.3, 0.5, 0.3, 0.5)
    assert recording.hand_over_worker == pytest.approx(0.0001)
    assert recording.transit == pytest.approx(0.003)
    assert recording.write == pytest.approx(0.0007)
    assert (recording.real_workers, recording.real_rate) == (2, 5.0)


def test_the_command_prints_a_table_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(_write(tmp_path / "throughput.json")), "--units", "2000", "--workers", "1", "64", "1024"]
    assert main(simulate.app, [*words, "--plot", str(tmp_path / "plot.png"), "--json", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    assert "2,000 units, a file of 1.60 MB" in printed
    assert "time goes into units up to 1 workers" in printed
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    assert [one["workers"] for one in json.loads((tmp_path / "out.json").read_text())["played"]] == [1, 64, 1024]


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"repeats": []}')
    with pytest.raises(SemcorrError, match=r"expected what python -m benchmarks\.throughput"):
        simulate.read(tmp_path / "other.json")
