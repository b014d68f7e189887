"""``semcorr data``: list, download and check benchmarks."""

from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App
from rich.table import Table

from semcorr.cli import console
from semcorr.cli.options import Json

if TYPE_CHECKING:
    from semcorr.datasets.check import Report

data_app = App(name="data", help="List, download and check benchmarks.")


@data_app.command(name="list")
def list_(*, as_json: Json = False) -> int:
    """List the benchmarks: how many pairs each has, where it comes from, and its terms of use.

    Args:
        as_json: Print one JSON document instead.
    """
    from semcorr.datasets.registry import BENCHMARKS

    if as_json:
        rows = [
            {
                "name": benchmark.name,
                "title": benchmark.title,
                "pairs": benchmark.pairs,
                "splits": list(benchmark.splits),
                "settings": [setting for setting in benchmark.settings if setting],
                "threshold": benchmark.threshold,
                "origin": benchmark.origin,
                "addresses": [source.url for source in benchmark.sources],
                "terms": benchmark.terms,
            }
            for benchmark in BENCHMARKS.values()
        ]
        console.show_json({"datasets": rows})
        return 0
    table = Table()
    for heading in ("name", "title", "pairs", "from", "terms"):
        table.add_column(heading, justify="right" if heading == "pairs" else "left")
    for benchmark in BENCHMARKS.values():
        pairs = "" if benchmark.pairs is None else str(benchmark.pairs)
        table.add_row(benchmark.name, benchmark.title, pairs, benchmark.origin, benchmark.terms)
    console.show(table)
    return 0


@data_app.command
def download(name: str, /, *, to: Path = Path("data")) -> int:
    """Download a benchmark; the same command continues with a download that was cut off.

    Args:
        name: One of the names of semcorr data list.
        to: The folder that data is kept in; the benchmark becomes a folder in it.
    """
    from semcorr.datasets.download import download
    from semcorr.datasets.registry import find

    benchmark = find(name)
    if benchmark.sources:
        console.note(f"{benchmark.title} from {benchmark.origin}. Terms: {benchmark.terms}.")
    with console.TerminalProgress() as progress:
        folder = download(name, to, progress=progress)
    console.say(f"{benchmark.title}: {folder}   Check it: semcorr data check {name} {folder}")
    return 0


@data_app.command
def check(
    name: str,
    path: Path | None = None,
    /,
    *,
    split: str | None = None,
    setting: str | None = None,
    deep: bool = False,
    as_json: Json = False,
) -> int:
    """Count the pairs and points of a copy of a benchmark, and compare them with the known numbers.

    The exit status is 1 if something is missing.

    Args:
        name: One of the names of semcorr data list; may be left out if the folder has the benchmark's own name.
        path: The benchmark's folder, or the one that it is in.
        split: The split. [default: the one that figures are published on]
        setting: The protocol, if there are several.
        deep: Also open every image, to find broken ones and wrong sizes.
        as_json: Print one JSON document instead.
    """
    from semcorr.datasets.check import check
    from semcorr.datasets.registry import find_by_folder

    if path is None:
        path = Path(name)
        name = find_by_folder(path).name
    with console.TerminalProgress() as progress:
        report = check(name, path, split=split, setting=setting, deep=deep, progress=progress)
    if as_json:
        console.show_json(_document(report))
    else:
        _show(report)
    return 0 if report.whole else 1


def _document(report: "Report") -> dict[str, object]:
    return {
        "name": report.name,
        "split": report.split,
        "setting": report.setting,
        "root": report.root,
        "whole": report.whole,
        "total": vars(report.total),
        "categories": {category: vars(count) for category, count in report.categories.items()},
        "findings": [vars(finding) for finding in report.findings],
    }


def _show(report: "Report") -> None:
    table = Table()
    for heading in ("category", "pairs", "points", "images"):
        table.add_column(heading, justify="left" if heading == "category" else "right")
    for category, count in {**report.categories, "all": report.total}.items():
        table.add_row(category, str(count.pairs), str(count.points), str(count.images))
    console.show(table)
    for finding in report.findings:
        console.say(("wrong: " if finding.broken else "note: ") + finding.message)
    which = f"{report.name} {report.split}" + (f" {report.setting}" if report.setting else "")
    console.say(f"{which} in {report.root}: " + ("nothing is missing." if report.whole else "not whole."))
