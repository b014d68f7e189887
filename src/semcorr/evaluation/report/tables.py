"""Tables of figures as text: for a terminal, and as Markdown, LaTeX, CSV and JSON."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.table import Table as RichTable
from rich.text import Text

Value = float | int | str | tuple[float, float] | None
Kind = Literal["text", "percent", "gain", "interval", "fraction", "count", "seconds"]

NOTHING = "–"

BY_RUN = ("overall", "geo", "pck-dagger", "kap")
"""Tables (``Table.by``) whose rows are runs; in the others runs stand side by side."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        key: Its name in CSV and JSON, unique among the columns of a data set.
        heading: Its heading in the other formats.
        kind: How its values are printed. Values of "percent", "gain" and "interval" are percentages, those of
            "fraction" are fractions of the threshold's size. A larger percentage is better, and a smaller fraction.
        competes: Whether its values may be the best of a row; those of guesses may not.
    """

    key: str
    heading: str
    kind: Kind
    competes: bool = True


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method or one group.

    Attributes:
        name: Its name.
        values: One for each column.
        quoted: Whether the figures were published, not measured here.
        competes: Whether its values may be the best of a column; those of guesses may not.
    """

    name: str
    values: tuple[Value, ...]
    quoted: bool = False
    competes: bool = True


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

    def latex(self, label: str = "tab:results") -> str:
        """The table for a paper, with the rules of booktabs: an interval beside its figure, the best run in bold."""
        joined = [index for index, column in enumerate(self.columns) if column.kind == "interval"]
        headings = ("", *(column.heading for index, column in enumerate(self.columns) if index not in joined))
        lines = [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{_latex(self.title)}}}",
            f"\\label{{{label}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
            "\\toprule",
            _latex_row(_latex(heading) for heading in headings),
            "\\midrule",
        ]
        best = self._best()
        quoted = False
        for number, row in enumerate(self.rows):
            if row.quoted and not quoted and number:
                lines.append("\\midrule")
            quoted = row.quoted
            # Braces, because the end of the row before takes a bracket or star for its own.
            cells = [f"{{}}{_latex(row.name)}" if row.name.startswith(("[", "*")) else _latex(row.name)]
            for index, text in enumerate(self.cells(row)[1:]):
                shown = _latex(text) if self.columns[index].kind == "text" else re.sub(r"-(?=\d)", "$-$", _latex(text))
                if index not in joined:
                    cells.append(f"\\textbf{{{shown}}}" if (number, index) in best else shown)
                elif row.values[index] is not None:
                    cells[-1] += f" {{\\scriptsize [{shown.replace(' to ', ', ')}]}}"
            lines.append(_latex_row(cells))
        return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}"])

    def _best(self) -> set[tuple[int, int]]:
        """Row and column of the best measured values: of each column, or of each row where runs are side by side."""
        groups: dict[int, dict[tuple[int, int], tuple[float, str]]] = {}
        for number, row in enumerate(self.rows):
            for index, (column, value, text) in enumerate(
                zip(self.columns, row.values, self.cells(row)[1:], strict=True)
            ):
                competes = row.competes and column.competes and not row.quoted
                if competes and column.kind in _BETTER and isinstance(value, float | int):
                    group = groups.setdefault(index if self.by in BY_RUN else number, {})
                    group[number, index] = (_BETTER[column.kind] * value, text)
        best: set[tuple[int, int]] = set()
        for group in groups.values():
            _, shown = max(group.values())
            if len(group) > 1:
                best |= {cell for cell, (_, text) in group.items() if text == shown}
        return best

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
            "columns": [{name: getattr(c, name) for name in ("key", "heading", "kind")} for c in self.columns],
            "rows": rows,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Table":
        """The table that :meth:`document` is of, but for what competes in it."""
        columns = tuple(Column(**column) for column in document["columns"])
        rows = tuple(
            Row(
                name=row["name"],
                quoted=row["quoted"],
                values=tuple(restored(row["values"][column.key]) for column in columns),
            )
            for row in document["rows"]
        )
        header = {name: document[name] for name in ("title", "by", "dataset", "protocol")}
        return cls(columns=columns, rows=rows, **header)


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
        """All tables, for a paper, each with a label of its own; footnotes are comments.

        It compiles as it is, with the package booktabs and without.
        """
        comments = "\n".join(f"% {line}" for note in self.footnotes() for line in note.splitlines())
        labels: dict[str, int] = {}
        tables = []
        for table in self.tables:
            label = "tab:" + re.sub("[^a-z0-9]+", "-", f"{table.dataset} {table.by}".lower()).strip("-")
            labels[label] = labels.get(label, 0) + 1
            tables.append(table.latex(label if labels[label] == 1 else f"{label}-{labels[label]}"))
        return "\n\n".join([*([comments] if comments else []), _RULES, *tables])

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

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Report":
        """The report that :meth:`document` is of, but for what competes in its tables."""
        return cls(
            tables=tuple(map(Table.from_document, document["tables"])),
            warnings=tuple(document["warnings"]),
            notes=tuple(document["notes"]),
        )


def restored(value: Any) -> Any:
    """A value as it was before JSON, which has no tuples."""
    return tuple(value) if isinstance(value, list) else value


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


_BETTER: dict[Kind, int] = {"percent": 1, "gain": 1, "fraction": -1}
"""Kinds of values of which one is the best: with 1 the largest, with -1 the smallest."""

_RULES = "\n".join(f"\\providecommand{{\\{rule}}}{{\\hline}}" for rule in ("toprule", "midrule", "bottomrule"))
"""Lines where the package booktabs has not defined better ones."""

_LATEX = {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "–": "--",
    "×": "$\\times$",
    "≤": "$\\le$",
    "†": "$\\dagger$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + " \\\\"
