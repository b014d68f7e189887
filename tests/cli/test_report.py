"""``semcorr report``: folders in, text and figures out."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

from evaluation.handmade import pair_record, run_of
from semcorr.cli.report import PlotOptions, TableOptions, report
from semcorr.errors import RunError, SettingsError
from semcorr.evaluation.report.card import Card
from semcorr.evaluation.runs import folder as run_folder
from semcorr.evaluation.runs.records import PairRecord
from semcorr.storage import record_store

app = App(result_action="return_value")
app.command(report)


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[str, str]:
    assert app(["report", *map(str, words)], exit_on_error=False, print_error=False) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


def record(index: int, offset: float) -> PairRecord:
    return pair_record(
        index,
        [[10, 20], [30, 20]],
        [[offset, 0], [0, 0]],
        category=("cat", "dog")[index % 2],
        flags={"viewpoint": index % 3},
        source_size=(60, 40),
        target_size=(60, 40),
        source_box=(0.0, 0.0, 40.0, 40.0),
        target_box=(0.0, 0.0, 50.0, 40.0),
        locate_seconds=1.0,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of 6 pairs, one point each is 5 of 50 pixels off, the other 0."""
    return write(tmp_path / "runs" / "mine", [record(i, 5.0) for i in range(6)])


def write(folder: Path, records: list[PairRecord], **method: Any) -> Path:
    settings = run_of(folder.name, records, dataset={"root": str(folder)}, method=method).settings
    run_folder.open_run(folder, settings, len(records))
    file = record_store.new_record_file(folder, record_store.Shard())
    file.write_text("".join(one.to_json() + "\n" for one in records))
    return folder


def test_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = call(capsys, folder)
    assert "toy test, 6 pairs, 12 points: PCK in %, target box, original pixels" in out
    assert "same-position" in out
    assert not err


def test_options(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "--alpha",
        0.09,
        "--alpha",
        0.1,
        "--threshold",
        "image",
        "--frame",
        "squash",
        "--format",
        "json",
        "--times",
    )
    out, _ = call(capsys, folder, "--by", "overall", "--by", "viewpoint", *words, "--no-baselines")
    document = json.loads(out)
    first, *_, last = document["tables"]
    # 5 of 60 pixels: right at 0.09 already.
    assert first["rows"][0]["values"]["pck@0.09 per image"] == 100
    assert first["protocol"] == "image side, squashed to 512 × 512"
    assert [row["name"] for row in last["rows"]] == ["viewpoint 0", "viewpoint 1", "viewpoint 2", "all points"]
    assert '"s to locate a pair": 1.0' in out


def test_runs_side_by_side_with_a_baseline(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write(tmp_path / "runs" / "other", [record(i, 9.0) for i in range(6)], seed=1)
    out, err = call(capsys, folder, other, "--alpha", 0.1, "--baseline", "other", "--format", "csv")
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(out))}
    assert list(rows)[:2] == ["mine", "other"]
    assert float(rows["mine"]["lead@0.1 per point"]) == 50
    assert err == "Runs of prompt differ in seed: mine None, other 1.\n"


@pytest.mark.parametrize(("form", "start"), [("markdown", "toy test, 6 pairs"), ("latex", "\\providecommand")])
def test_texts(form: str, start: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = call(capsys, folder, "--format", form)
    assert out.startswith(start)
    assert out == call(capsys, folder, "--format", form)[0]


def test_a_folder_of_runs_stands_for_the_runs_in_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder.parent / "deep" / "other", [record(i, 9.0) for i in range(6)])
    out, _ = call(capsys, folder.parent, "--no-baselines", "--no-details", "--format", "markdown")
    named = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|")][2:]
    assert named == ["other", "mine"]
    assert out.count("PCK in %") == 1
    assert call(capsys, folder, "--no-baselines")[0] == call(capsys, folder, "--no-baselines", "--details")[0]
    assert out != call(capsys, folder.parent, "--format", "markdown")[0]


def test_json_is_a_format(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, folder, "--json") == call(capsys, folder, "--format", "json")


def test_plots(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = call(capsys, folder, "--plots", tmp_path / "plots")
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "categories.png",
        "curves.png",
        "pairs-mine.png",
    ]
    assert "Figure" not in out
    assert err.count("Figure: ") == 3


def test_the_card_of_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = call(capsys, folder, "--card")
    assert text.startswith("# mine\n")
    assert "PCK@0.01 per image" in text
    document, _ = call(capsys, folder, "--card", "--json", "--threshold", "image")
    assert Card.from_json(document).protocol["threshold"] == "image"
    for words in ((folder, folder), (folder, "--format", "csv")):
        with pytest.raises(SettingsError, match="Expected one run and Markdown or JSON for a card"):
            call(capsys, *words, "--card")


def test_key_point_average_precision_needs_heat_maps(folder: Path) -> None:
    with pytest.raises(RunError, match="mine has no heat maps"):
        report(folder, tables=TableOptions(baselines=False), kap=True)


def test_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run in"):
        report(tmp_path / "none")
    with pytest.raises(SettingsError, match="Expected at least one run"):
        report()
    with pytest.raises(SettingsError, match="Unknown grouping"):
        report(folder, tables=TableOptions(by=("categories",)))
    with pytest.raises(SettingsError, match="Expected --plots"):
        report(folder, plots=PlotOptions(heatmaps=True))
    with pytest.raises(SettingsError, match="Unknown threshold"):
        report(folder, threshold="box")
