"""Tables of the documentation are what recorded results say."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy_and_time as frontier
from benchmarks import doc_tables as pages
from benchmarks.command import save_json
from semcorr.errors import SemcorrError
from semcorr.evaluation.report.tables import Column, Report, Row, Table


@pytest.mark.parametrize("page", pages.documents(), ids=lambda page: page.stem)
def test_what_stands_in_a_page_is_what_was_recorded(page: Path):
    text = page.read_text(encoding="utf-8")
    assert pages.rendered(text)[0] == text, "Type: python -m benchmarks.doc_tables"


def test_every_result_is_used_and_a_table_without_one_is_empty():
    texts = "".join(page.read_text(encoding="utf-8") for page in pages.documents())
    for name in pages.rendered(texts)[1]:
        marks = re.findall(rf"^ *<!-- table: {name}\b[^\n]*-->$", texts, re.MULTILINE)
        assert marks
        assert all(re.search(rf"{re.escape(mark)}\n *<!-- end -->", texts) for mark in marks)
    for result in pages.RESULTS.glob("*.json"):
        assert f"<!-- table: {result.stem}" in texts


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A report of one table: a percentage, its interval, a number."""
    columns = (
        Column(key="pck", heading="PCK", kind="percent"),
        Column(key="pck 95%", heading="95 %", kind="interval"),
        Column(key="n", heading="pairs", kind="count"),
    )
    rows = (
        Row(name="mine", values=(50.04, (40.0, 61.26), 1234)),
        Row(name="mine, twice", values=(60.0, (50.0, 70.0), 10)),
    )
    table = Table(title="all: PCK", by="overall", dataset="toy", protocol="box", columns=columns, rows=rows)
    (tmp_path / "run.json").write_text(Report(tables=(table,)).json())
    return tmp_path


@pytest.mark.parametrize(
    ("mark", "lines"),
    [
        (
            "run",
            [
                *("all: PCK", ""),
                *("|  | PCK | 95 % | pairs |", "| --- | ---: | ---: | ---: |"),
                *("| mine | 50.0 | 40.0 to 61.3 | 1,234 |", "| mine, twice | 60.0 | 50.0 to 70.0 | 10 |"),
            ],
        ),
        (
            "run | PCK | pairs, PCK | mine",
            [
                *("|  | pairs | PCK | 95 % |", "| --- | ---: | ---: | ---: |"),
                "| mine | 1,234 | 50.0 | 40.0 to 61.3 |",
            ],
        ),
        (
            "run | PCK | pairs | mine, twice; mine",
            [*("|  | pairs |", "| --- | ---: |"), *("| mine, twice | 10 |", "| mine | 1,234 |")],
        ),
    ],
)
def test_a_table_is_put_where_it_is_marked(mark: str, lines: list[str], results: Path):
    text = f"before\n\n<!-- table: {mark} -->\nold\n<!-- end -->\nafter\n"
    table = "\n".join(lines)
    assert pages.rendered(text, results) == (
        f"before\n\n<!-- table: {mark} -->\n{table}\n<!-- end -->\nafter\n",
        set(),
    )


def test_a_benchmark_has_the_table_that_it_prints(tmp_path: Path):
    score = frontier.MethodScore(
        name="fast",
        pck=66.34,
        interval=(63.7, 68.8),
        lead=-2.5,
        lead_interval=(-4.3, -0.7),
        point_seconds=0.064,
        target_seconds=0.18,
        pairs=312,
        failed=0,
    )
    save_json({"scores": [asdict(score)]}, tmp_path / "frontier.json")
    text, _ = pages.rendered("<!-- table: frontier -->\n<!-- end -->", tmp_path)
    assert "| fast | 66.3 | 63.7 to 68.8 | -2.5 | -4.3 to -0.7 | 0.0640 | 0.180 | 0 |" in text.splitlines()


def test_in_a_list_it_is_indented(results: Path):
    text, _ = pages.rendered("- a\n\n  <!-- table: run | PCK | pairs -->\n  <!-- end -->\n", results)
    assert text.splitlines()[3:5] == ["  |  | pairs |", "  | --- | ---: |"]


def test_without_a_result_a_table_stays(results: Path):
    text = "<!-- table: other -->\nold\n<!-- end -->\n"
    assert pages.rendered(text, results) == (text, {"other"})


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("run | ROC", "expected one table with 'ROC' in its title, got none"),
        ("run | PCK | F1", "a column 'F1'"),
        ("run | PCK | pairs | yours", "a row 'yours' in 'all: PCK', found mine, mine, twice"),
    ],
)
def test_a_missing_table_is_an_error(mark: str, message: str, results: Path):
    with pytest.raises(SemcorrError, match=message):
        pages.rendered(f"<!-- table: {mark} -->\n<!-- end -->\n", results)


def test_no_result_at_all(results: Path):
    (results / "run.json").write_text("[1]")
    with pytest.raises(SemcorrError, match="expected what a command wrote by --json"):
        pages.rendered("<!-- table: run -->\n<!-- end -->\n", results)


def test_means_over_categories_are_those_of_the_rows():
    """Worked out again from the recorded numbers."""
    rows = json.loads((pages.RESULTS / "transfer.json").read_text())
    five = [row for row in rows if row["support"] == 5]
    mean = np.mean([row["pck"]["0.1"] for row in five]) * 100
    line = next(
        line
        for line in pages.rendered("<!-- table: transfer -->\n<!-- end -->")[0].splitlines()
        if "| mean | 5" in line
    )
    assert len(five) == 4
    assert f"| {mean:.1f} |" in line
