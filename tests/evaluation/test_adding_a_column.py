"""A new column of a report is a module with a ``RunColumn`` and one line in ``semcorr.evaluation.report.columns``."""

import csv
import io
import json

import numpy as np
import pytest

from evaluation.handmade import pair_record, run_of
from semcorr.evaluation.report import build, columns
from semcorr.evaluation.report.build import build_report
from semcorr.evaluation.report.columns import RunColumn, RunFigures

# --- what somebody writes ---------------------------------------------------------------------------------------------


def _worst(run: RunFigures) -> float | None:
    finite = run.scores.errors[np.isfinite(run.scores.errors)]
    return float(finite.max()) if len(finite) else None


WORST_ERROR = RunColumn("worst error", "fraction", _worst)

# --- what comes with it -----------------------------------------------------------------------------------------------

RUN = run_of("mine", [pair_record(0, [(10, 10), (20, 20)], [(0, 0), (3, 4)], target_box=(0.0, 0.0, 50.0, 50.0))])


def test_it_stands_in_every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of 5 pixels is 0.1 of the box, which is 50 long."""
    monkeypatch.setattr(build, "ERROR_COLUMNS", (*columns.ERROR_COLUMNS, WORST_ERROR))  # the line
    report = build_report([RUN])
    (table,) = (table for table in report.tables if "worst error" in [column.key for column in table.columns])
    assert table.columns[-1].heading == "worst error"
    assert table.markdown().splitlines()[-1].endswith("| 0.100 |")
    assert " & 0.100 \\\\" in table.latex()
    (row,) = csv.DictReader(io.StringIO(report.csv()))
    assert float(row["worst error"]) == pytest.approx(0.1)
    document = json.loads(report.json())
    values = [row["values"] for table in document["tables"] for row in table["rows"]]
    assert [one["worst error"] for one in values if "worst error" in one] == [pytest.approx(0.1)]


def test_it_is_not_there_without_the_line() -> None:
    assert "worst error" not in build_report([RUN]).csv()
