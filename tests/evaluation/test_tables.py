"""A table as text, in every format."""

import csv
import io
import json
from dataclasses import replace

from semcorr.evaluation.report.tables import Column, Report, Row, Table, joined

TABLE = Table(
    title="50 % & more_",
    by="overall",
    dataset="toy",
    protocol="target box",
    columns=(
        Column(key="pck", heading="PCK", kind="percent"),
        Column(key="pck 95%", heading="95 %", kind="interval"),
        Column(key="lead", heading="lead", kind="gain"),
        Column(key="error", heading="error", kind="fraction"),
        Column(key="pairs", heading="pairs", kind="count"),
        Column(key="s", heading="s", kind="seconds"),
    ),
    rows=(
        Row(name="a|b_c", values=(50.0, (-1.0, 60.26), -0.04, 0.1234, 12234, 1.5)),
        Row(name="quoted: X", values=(69.99, None, None, None, None, None), quoted=True),
    ),
)
REPORT = Report(tables=(TABLE,), warnings=("careful, 100 %",), notes=("by the way",))


def test_markdown_literally() -> None:
    assert (
        REPORT.markdown()
        == """\
50 % & more_

|  | PCK | 95 % | lead | error | pairs | s |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| a\\|b_c | 50.0 | -1.0 to 60.3 | -0.0 | 0.123 | 12,234 | 1.50 |
| quoted: X | 69.99 | – | – | – | – | – |

- Warning: careful, 100 %
- by the way"""
    )


def test_latex_literally() -> None:
    assert (
        REPORT.latex()
        == """\
% Warning: careful, 100 %
% by the way

\\providecommand{\\toprule}{\\hline}
\\providecommand{\\midrule}{\\hline}
\\providecommand{\\bottomrule}{\\hline}

\\begin{table}
\\centering
\\caption{50 \\% \\& more\\_}
\\label{tab:toy-overall}
\\begin{tabular}{lrrrrr}
\\toprule
 & PCK & lead & error & pairs & s \\\\
\\midrule
a|b\\_c & 50.0 {\\scriptsize [$-$1.0, 60.3]} & $-$0.0 & 0.123 & 12,234 & 1.50 \\\\
\\midrule
quoted: X & 69.99 & -- & -- & -- & -- \\\\
\\bottomrule
\\end{tabular}
\\end{table}"""
    )


def test_latex_has_the_best_in_bold_where_figures_compete() -> None:
    """The largest percentage and the smallest error of those that print alike; guesses and quoted ones are left out."""
    columns = (
        Column(key="pck", heading="PCK", kind="percent"),
        Column(key="error", heading="error", kind="fraction"),
        Column(key="pairs", heading="pairs", kind="count"),
    )
    rows = (
        Row(name="one", values=(60.04, 0.2, 9)),
        Row(name="[two]", values=(60.01, 0.3, 8)),
        Row(name="oracle", values=(99.0, 0.1, 7), competes=False),
        Row(name="quoted", values=(70.0, 0.1, 6), quoted=True),
        Row(name="none", values=(None, None, 0)),
    )
    lines = replace(TABLE, columns=columns, rows=rows).latex().splitlines()
    assert "one & \\textbf{60.0} & \\textbf{0.200} & 9 \\\\" in lines
    assert "{}[two] & \\textbf{60.0} & 0.300 & 8 \\\\" in lines
    assert "oracle & 99.0 & 0.100 & 7 \\\\" in lines
    # Runs side by side: the best of each row.
    runs = tuple(Column(key=key, heading=key, kind="percent", competes=key != "guess") for key in ("a", "b", "guess"))
    rows = (Row(name="cat", values=(1.0, 2.0, 3.0)), Row(name="dog", values=(5.0, 4.0, 9.0)))
    lines = replace(TABLE, by="category", columns=runs, rows=rows).latex().splitlines()
    assert "cat & 1.0 & \\textbf{2.0} & 3.0 \\\\" in lines
    assert "dog & \\textbf{5.0} & 4.0 & 9.0 \\\\" in lines


def test_latex_has_a_label_for_each_table_and_comments_every_line_of_a_note() -> None:
    other = replace(TABLE, dataset="pf-willow test (2)", by="category")
    report = Report(tables=(TABLE, TABLE, other), notes=("first\nsecond",))
    labels = [line for line in report.latex().splitlines() if line.startswith("\\label")]
    assert labels == [
        "\\label{tab:toy-overall}",
        "\\label{tab:toy-overall-2}",
        "\\label{tab:pf-willow-test-2-category}",
    ]
    assert report.latex().startswith("% first\n% second\n")


def test_csv_parsed_back() -> None:
    rows = list(csv.DictReader(io.StringIO(REPORT.csv())))
    assert REPORT.csv().splitlines()[0] == (
        "dataset,protocol,by,name,quoted,pck,pck 95% low,pck 95% high,lead,error,pairs,s"
    )
    assert list(rows[0].values()) == [
        *("toy", "target box", "overall", "a|b_c", "false"),
        *("50.0", "-1.0", "60.26", "-0.04", "0.1234", "12234", "1.5"),
    ]
    assert (rows[1]["quoted"], rows[1]["pck"], rows[1]["pck 95% low"]) == ("true", "69.99", "")


def test_json_parsed_back() -> None:
    document = json.loads(REPORT.json())
    assert document == REPORT.document()
    assert document["tables"][0]["rows"][0]["values"]["pck 95%"] == [-1.0, 60.26]
    assert document["tables"][0]["rows"][1]["quoted"] is True


def test_joined_reports_say_everything_once() -> None:
    other = Report(tables=(replace(TABLE, by="layer"),), warnings=("careful, 100 %", "more"), notes=("by the way",))
    both = joined([REPORT, other])
    assert [table.by for table in both.tables] == ["overall", "layer"]
    assert both.warnings == ("careful, 100 %", "more")
    assert both.notes == ("by the way",)
