"""Where workers' time goes, from spans that are known, and one short run."""

import json
from pathlib import Path

import pytest

from benchmarks import throughput
from benchmarks.command import main
from benchmarks.executor_timing import Ran, Span
from semcorr.keypoints.predictions import TransferRecord

RECORD = TransferRecord(file="a.png", path=Path("a.png"))


def _span(process: int, began: float, ended: float) -> Span:
    return Span(process=process, began=began, ended=ended, in_method=0.5 * (ended - began), record=RECORD)


def test_time_is_divided_into_starting_units_and_what_is_between() -> None:
    """Two workers begin after 2 s and 4 s; the last result comes at 10 s. Of 8 + 6 s, units take 3 + 4 and 5 s."""
    spans = (_span(1, 2, 5), _span(1, 6, 10), _span(2, 4, 9))
    ran = Ran(asked=0, last=10, gone=11.5, workers=2, spans=spans)
    assert ran.starting == 3
    assert ran.steady == 7
    assert ran.ending == 1.5
    assert ran.rate == pytest.approx(60 * 3 / 7)
    assert ran.in_units == pytest.approx(12 / 14)
    assert ran.in_method == pytest.approx(6 / 14)
    assert ran.gaps == [1]


def test_a_worker_that_never_had_a_unit_began_with_the_last_result() -> None:
    ran = Ran(asked=0, last=6, gone=6, workers=2, spans=(_span(1, 2, 6),))
    assert ran.starting == 4
    assert ran.in_units == 1


@pytest.mark.slow
def test_one_process_and_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--targets", "6", "--method", "dift", "--repeats", "1", "--unit", "0.2", "--set", "samples=1"]
    words += ["--way", "one thread", "--way", "processes", "-o", str(tmp_path / "runs")]
    assert main(throughput.app, [*words, "--json", str(tmp_path / "throughput.json")]) == 0
    printed = capsys.readouterr().out
    assert "% not in the method" in printed
    document = json.loads((tmp_path / "throughput.json").read_text())
    (repeat,) = document["repeats"]
    assert len(repeat["processes"]["unit_seconds"]) == len(repeat["one thread"]["unit_seconds"]) == 6
    assert 0 < repeat["processes"]["in_method"] < repeat["processes"]["in_units"] <= 1
    assert document["stand"]["processes"]["unit_seconds"] == pytest.approx([0.2] * 6, rel=0.2)
    assert [one["units"] for one in document["handed"]] == [500, 2000]
    assert document["record"]["bytes"] > 100
    assert document["kept"]["unit"] > 100


def test_a_table_compares_each_way_with_one_thread_of_the_same_repeat() -> None:
    def ran(rate: float, whole: float) -> dict[str, float]:
        return {"rate": rate, "in_method": 0.75, "in_units": 0.875, "starting": 1, "steady": whole - 3, "ending": 2}

    repeats = [{"one thread": ran(100, 10), "Ray": ran(150, 20)}, {"one thread": ran(50, 8), "Ray": ran(100, 4)}]
    shown = throughput.table(repeats, compared=True)
    labels, _, ray = ([str(cell) for cell in column.cells] for column in shown.columns)
    cells = dict(zip(labels, ray, strict=True))
    assert cells["times one thread's"] == "1.75 (1.50 to 2.00)"
    assert cells["times one thread's, in all"] == "1.25 (0.500 to 2.00)"
    assert cells["seconds in all"] == "12.0 (4.00 to 20.0)"
    assert cells["% not in the method"] == "25.0"
    assert cells["% in the rest of a unit"] == "12.5"
