"""Tables of figures as text: for a terminal, and as Markdown, LaTeX, CSV and JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.table import Table as RichTable
from rich.text import Text

Value = float | int | str | tuple[float, float] | None
Kind = Literal["text", "percent", "gain", "interval", "fraction", "count", "seconds"]

NOTHING = "–"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        key: Its name in CSV and JSON, unique among the columns of a data set.
        heading: Its heading in the other formats.
        kind: How its values are printed. Values of "percent", "gain" and "interval" are percentages, those of
            "fraction" are fractions of the threshold's size.
    """

    key: str
    heading: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method or one group; ``quoted`` marks figures that were published, not measured here."""

    name: str
    values: tuple[Value, ...]
    quoted: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table; all of its figures are of one data set and one protocol. ``by`` says what its rows are."""

    title: str
    by: str
    dataset: str
    protocol: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def rich(self) -> RichTable:
        """The table for a terminal."""
        table = RichTable(title=Text(self.title), title_justify="left")
        table.add_column("")
        for column in self.columns:
            # Broken here, or rich makes the column as wide as its heading.
            table.add_column(Text(column.heading.replace(" per ", "\nper ")), justify="right")
        for index, row in enumerate(self.rows):
            after = self.rows[index + 1 : index + 2]
            style = "dim" if row.quoted else None
            ends = bool(after) and after[0].quoted and not row.quoted
            table.add_row(*(Text(cell) for cell in self.cells(row)), style=style, end_section=ends)
        return table

    def markdown(self) -> str:
        """The table for a document."""
        headings = ("", *(column.heading for column in self.columns))
        rule = ("---", *("---:",) * len(self.columns))
        rows = [headings, rule, *(self.cells(row) for row in self.rows)]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in rows]
        return "\n".join([self.title, "", *lines])

    def latex(self) -> str:
        """The table for a paper; needs the package booktabs."""
        headings = ("", *(column.heading for column in self.columns))
        lines = [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{_latex(self.title)}}}",
            f"\\begin{{tabular}}{{l{'r' * len(self.columns)}}}",
            "\\toprule",
            _latex_row(headings),
            "\\midrule",
        ]
        quoted = False
        for row in self.rows:
            if row.quoted and not quoted and len(lines) > 7:
                lines.append("\\midrule")
            quoted = row.quoted
            lines.append(_latex_row(self.cells(row)))
        return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}"])

    def cells(self, row: Row) -> tuple[str, ...]:
        """The row's name and values as text."""
        pairs = zip(row.values, self.columns, strict=True)
        return (row.name, *(_text(value, column.kind, exact=row.quoted) for value, column in pairs))

    def document(self) -> dict[str, Any]:
        """The table for JSON."""
        rows = [
            {
                "name": row.name,
                "quoted": row.quoted,
                "values": {
                    c.key: list(v) if isinstance(v, tuple) else v for c, v in zip(self.columns, row.values, strict=True)
                },
            }
            for row in self.rows
        ]
        return {
            "title": self.title,
            "dataset": self.dataset,
            "protocol": self.protocol,
            "by": self.by,
            "columns": [vars(column) for column in self.columns],
            "rows": rows,
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """Tables, warnings that a reader must know before comparing their figures, and further notes."""

    tables: tuple[Table, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def footnotes(self) -> tuple[str, ...]:
        """Warnings, marked as such, and notes."""
        return (*(f"Warning: {warning}" for warning in self.warnings), *self.notes)

    def markdown(self) -> str:
        """All tables and footnotes, for a document."""
        footnotes = "\n".join(f"- {note}" for note in self.footnotes())
        return "\n\n".join([*(table.markdown() for table in self.tables), *([footnotes] if footnotes else [])])

    def latex(self) -> str:
        """All tables, for a paper; footnotes are comments."""
        footnotes = "\n".join(f"% {note}" for note in self.footnotes())
        return "\n\n".join([*([footnotes] if footnotes else []), *(table.latex() for table in self.tables)])

    def csv(self) -> str:
        """One line per row name and data set, with the columns of all tables; an interval has two. No footnotes."""
        columns = list(dict.fromkeys(column for table in self.tables for column in table.columns))
        lines: dict[tuple[str, str, str, bool], dict[str, Any]] = {}
        for table in self.tables:
            for row in table.rows:
                line = lines.setdefault((table.dataset, table.by, row.name, row.quoted), {"protocol": table.protocol})
                for column, value in zip(table.columns, row.values, strict=True):
                    line |= dict(zip(_keys(column), value if isinstance(value, tuple) else (value,) * 2, strict=False))
        keys = list(dict.fromkeys(key for column in columns for key in _keys(column)))
        out = io.StringIO()
        writer = csv.DictWriter(out, ["dataset", "protocol", "by", "name", "quoted", *keys], lineterminator="\n")
        writer.writeheader()
        for (dataset, by, name, quoted), line in lines.items():
            writer.writerow({"dataset": dataset, "by": by, "name": name, "quoted": str(quoted).lower(), **line})
        return out.getvalue().removesuffix("\n")

    def json(self) -> str:
        """Everything, as one document."""
        return json.dumps(self.document(), indent=2, ensure_ascii=False, allow_nan=False)

    def document(self) -> dict[str, Any]:
        """The content of :meth:`json`."""
        return {
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "tables": [table.document() for table in self.tables],
        }


def joined(reports: Sequence[Report]) -> Report:
    """All tables one after the other, and every footnote once."""
    return Report(
        tables=tuple(table for report in reports for table in report.tables),
        warnings=tuple(dict.fromkeys(warning for report in reports for warning in report.warnings)),
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
    )


def _keys(column: Column) -> Sequence[str]:
    return (f"{column.key} low", f"{column.key} high") if column.kind == "interval" else (column.key,)


def _text(value: Value, kind: Kind, *, exact: bool) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, tuple):
        return f"{value[0]:.1f} to {value[1]:.1f}"
    if isinstance(value, str):
        return value
    match kind:
        case "percent":
            # A quoted figure keeps the digits that it was published with.
            return f"{value:g}" if exact and round(value, 1) != value else f"{value:.1f}"
        case "gain":
            return f"{value:+.1f}"
        case "fraction":
            return f"{value:.3f}"
        case "count":
            return f"{value:,}"
        case _:
            return f"{value:.2f}"


_LATEX = {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "–": "--",
    "×": "$\\times$",
    "≤": "$\\le$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(_latex(cell) for cell in cells) + " \\\\"
