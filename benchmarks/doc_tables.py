"""Tables of the documentation, written from recorded results: what stands there is what a command printed.

``python -m benchmarks.doc_tables``

``docs/results`` holds what commands wrote: ``semcorr ablate``, ``eval`` and ``report`` with ``--json``, and benchmarks
with ``--json FILE``. A page marks where a table of one of them belongs::

    <!-- table: transfer -->
    <!-- end -->

What lies between the two lines is replaced. A report has many tables; words of the title choose one, headings its
columns, each with its interval, where not all are needed, and names its rows. Several are separated by commas, or by
semicolons where one has a comma in it::

    <!-- table: toy-ablation | lead over | PCK@0.1 per point -->
    <!-- table: photographs | Photographs: | mouse, 5 annotated; faces, 1 annotated | hypercolumn; same position -->

A table whose result is not recorded yet is empty. Those of ``semcorr doctor --families`` need no record: they say what
the package itself says.
"""

import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import accuracy_and_time as frontier
from benchmarks import calibration_domain as domain
from benchmarks import corrections, injected_faults, suggest, throughput
from benchmarks import known_transforms as known_pairs
from benchmarks import many_workers as simulate
from benchmarks import networks as several_networks
from benchmarks import peak_refinement as peaks
from benchmarks import processor_agreement as processors
from benchmarks import transfer_accuracy as transfer
from benchmarks.command import main, new_app
from benchmarks.engine import discovery, regions
from benchmarks.engine import examples as engine_examples
from semcorr.cli import console, doctor
from semcorr.errors import SemcorrError
from semcorr.evaluation.report import tables as report_tables
from semcorr.matchers.family_support import FamilySupport, family_support

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"

_MARK = re.compile(
    r"^(?P<indent> *)<!-- table: (?P<what>[^\n]+?) -->\n.*?^ *<!-- end -->$", flags=re.DOTALL | re.MULTILINE
)

app = new_app("doc_tables", "Write recorded results into the documentation's tables.")


@app.default
def pages() -> int:
    """Write recorded results into the documentation's tables."""
    for page in documents():
        before = page.read_text(encoding="utf-8")
        after, missing = rendered(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            console.say(f"Written: {page.relative_to(ROOT)}")
        for name in missing:
            console.note(
                f"{page.relative_to(ROOT)}: docs/results/{name}.json is not there; its tables stay as they are."
            )
    return 0


def documents() -> list[Path]:
    """Every page that may have tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rendered(text: str, results: Path = RESULTS) -> tuple[str, set[str]]:
    """A page with its tables as the results have them, and the names of results that are not there.

    Raises:
        SemcorrError: a result cannot be read, or has no such table.
    """
    missing = set()

    def table(mark: re.Match[str]) -> str:
        name, *which = (part.strip() for part in mark["what"].split("|"))
        if name in _OF_THE_PACKAGE:
            made = markdown(_OF_THE_PACKAGE[name](family_support()))
            return f"<!-- table: {name} -->\n{made}\n<!-- end -->"
        if not (results / f"{name}.json").exists():
            missing.add(name)
            return mark[0]
        table = f"<!-- table: {mark['what']} -->\n{_table(results / f'{name}.json', *which)}\n<!-- end -->"
        return textwrap.indent(table, mark["indent"])

    return _MARK.sub(table, text), missing


def _table(file: Path, title: str = "", headings: str = "", names: str = "") -> str:
    """One table of a recorded result, as Markdown."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        make = _OF_BENCHMARKS.get(file.stem)
        if make is not None:
            return markdown(make(document))
        every = map(report_tables.Table.from_document, document["tables"])
        chosen = [report_table for report_table in every if title in report_table.title]
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise SemcorrError(
            f"{file}: expected what a command wrote by --json ({type(error).__name__}: {error})."
        ) from error
    if len(chosen) != 1:
        titles = "; ".join(report_table.title for report_table in chosen) or "none"
        raise SemcorrError(f"{file}: expected one table with {title!r} in its title, got {titles}.")
    table = with_rows(chosen[0], _listed(names)) if names else chosen[0]
    return only(table, _listed(headings)) if headings else table.markdown()


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(";" if ";" in text else ",")]


def _values(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: report_tables.restored(value) for name, value in record.items()}


def with_rows(report_table: report_tables.Table, names: Sequence[str]) -> report_tables.Table:
    """A table with some of its rows, in the order of their names.

    Raises:
        SemcorrError: there is no such row.
    """
    rows = {row.name: row for row in report_table.rows}
    for name in names:
        if name not in rows:
            raise SemcorrError(f"Expected a row {name!r} in {report_table.title!r}, found {', '.join(rows)}.")
    return replace(report_table, rows=tuple(rows[name] for name in names))


def only(report_table: report_tables.Table, headings: Sequence[str]) -> str:
    """Some columns of a table, each with its interval, as Markdown without the title.

    Raises:
        SemcorrError: there is no such column.
    """
    known = [column.heading for column in report_table.columns]
    indices: list[int] = []
    for heading in headings:
        if heading not in known:
            raise SemcorrError(f"Expected a column {heading!r} in {report_table.title!r}, found {', '.join(known)}.")
        index = known.index(heading)
        interval = [column.kind for column in report_table.columns[index + 1 : index + 2]] == ["interval"]
        indices += [index, index + 1] if interval else [index]
    rows = [replace(row, values=tuple(row.values[index] for index in indices)) for row in report_table.rows]
    chosen = replace(
        report_table, title="", columns=tuple(report_table.columns[index] for index in indices), rows=tuple(rows)
    )
    return chosen.markdown().lstrip()


def markdown(table: Table) -> str:
    """A terminal's table as Markdown, without its title."""
    headings = [str(column.header) for column in table.columns]
    rules = ["---:" if column.justify == "right" else "---" for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in [headings, rules, *rows])


_OF_THE_PACKAGE: dict[str, Callable[[Sequence[FamilySupport]], Table]] = {
    "families": doctor.family_table,
    "family-sources": doctor.source_table,
}
"""What makes the tables that a command prints without data."""

_OF_BENCHMARKS: dict[str, Callable[[Any], Table]] = {
    "corrections": corrections.table,
    "discovery": discovery.table,
    "engine-examples": engine_examples.table,
    "domain": lambda document: domain.table([domain.Outcome(**one) for one in document["outcomes"]]),
    "frontier": lambda document: frontier.table([frontier.MethodScore(**_values(one)) for one in document["scores"]]),
    "injected-faults": injected_faults.table,
    "injected-faults-match": injected_faults.table,
    "known-pairs": lambda document: known_pairs.table([known_pairs.Outcome(**one) for one in document["outcomes"]]),
    "many-workers": lambda document: simulate.table(
        simulate.Recording(**_values(document["recording"])), [simulate.Played(**one) for one in document["played"]]
    ),
    "networks": several_networks.table,
    "networks-paper": several_networks.table,
    "peaks": peaks.table,
    "peaks-test": peaks.table,
    "processors": lambda document: processors.table([processors.Moved(**one) for one in document["moves"]]),
    "regions": regions.table,
    "regions-hypercolumn": regions.table,
    "regions-spread-loss": regions.table,
    "suggest": suggest.table,
    "throughput": lambda document: throughput.table(document["repeats"], compared=True),
    "transfer": transfer.table,
}
"""What makes the table that a benchmark prints from what it writes by ``--json``."""


if __name__ == "__main__":
    sys.exit(main(app))
