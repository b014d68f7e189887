"""Whether methods carry over to another network: each on several models, over the same pairs of drawings.

``python -m benchmarks.networks toy NAME=MODEL [--methods paper ...] [--sources N] [--targets N] [-o runs/networks]``

MODEL is a folder that ``python -m tools.toy_model`` wrote, such as a transformer's. Leads are over the same pairs, with
the same pairs drawn for both. Runs are folders, as those of ``semcorr eval``: the same command goes on with what a stop
left.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from benchmarks.accuracy_and_time import ALPHA, MethodScore, run_all, scores_of
from benchmarks.command import cells_of, main, new_app, save_json, use_threads
from semcorr.cli import console
from semcorr.cli.evaluate import DataOptions, running
from semcorr.cli.options import Device, Output
from semcorr.datasets.base import Dataset, Pair
from semcorr.errors import SettingsError, suggest
from semcorr.evaluation.runs.records import Run
from semcorr.matchers.prompt import PRESETS
from semcorr.matchers.spec import MatcherSpec

METHODS = (*PRESETS, "attention-dift", "dift", "nbb")
"""Presets of the paper's method, and the methods that read features of the same network."""

FEATURES = "dift"
"""What the methods of one network are compared with: its features alone."""

Interval = tuple[float, float]

app = new_app("networks", "Run methods on several models over the same drawings, and show them side by side.")


@dataclass(frozen=True, kw_only=True)
class NetworkScore:
    """A method on a network: percentages of right points; None where there is nothing to compare with.

    Attributes:
        method, network: Names.
        pck, interval: PCK@0.1 per point, and its 95 % interval over pairs.
        over_features, over_features_interval: Lead over DIFT of the same network.
        over_network, over_network_interval: Lead over the same method on the first network.
        pairs, failed: Counts.
    """

    method: str
    network: str
    pck: float
    interval: Interval
    over_features: float | None
    over_features_interval: Interval | None
    over_network: float | None
    over_network_interval: Interval | None
    pairs: int
    failed: int


@app.default
def networks(
    *models: str,
    methods: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = METHODS,
    split: str = "test",
    sources: int | None = None,
    targets: int | None = None,
    output: Output = Path("runs/networks"),  # a path cannot change
    workers: int = 1,
    device: Device = "auto",
    threads: int | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Run methods on several models over the same drawings, and show them side by side.

    Args:
        models: Two or more, the first of which the others are compared with; NAME=MODEL gives one a name.
        methods: Presets of the paper's method, and of "attention-dift", "dift" and "nbb".
        split: Of the toy benchmark: settings are chosen on "val".
        sources: Only the first so many of each category's 6 source drawings.
        targets: Only the first so many of each source's 13 targets.
        output: Folder of the runs.
        workers: Processes.
        device: Where; auto takes a GPU if there is one.
        threads: Of the processor; all cores by default.
        json_file: A file that the table is written to as well.
    """
    for name in methods:
        if name not in METHODS:
            raise SettingsError(f"Unknown method {name!r}.{suggest(name, METHODS)} Expected of {', '.join(METHODS)}.")
    named = names_of(models)
    use_threads(threads)
    dataset = some_of(DataOptions(split=split).read("toy"), sources, targets)
    runs: dict[str, list[Run]] = {}
    with running(output) as progress:
        for network, model in named.items():
            specs = {name: spec(name, model, device) for name in methods}
            runs[network] = list(run_all(dataset, specs, output / network, workers=workers, progress=progress))
    drawings = len({pair.source.path for pair in dataset.pairs})
    document = {"split": split, "sources": drawings, "scores": [asdict(one) for one in compared(runs)]}
    console.show(table(document))
    if json_file is not None:
        save_json(document, json_file)
    return 0


def names_of(models: Sequence[str]) -> dict[str, str]:
    """Models by the names that they are shown under.

    Raises:
        SettingsError: There are fewer than two, or two of one name.
    """
    named: dict[str, str] = {}
    for text in models:
        name, equals, model = text.partition("=")
        named[name] = model if equals else text
    if len(named) < max(2, len(models)):
        raise SettingsError(f"Expected two or more models with names of their own, NAME=MODEL, got {' '.join(models)}.")
    return named


def spec(name: str, model: str, device: Device) -> MatcherSpec:
    """A preset of the paper's method, or another method with its usual settings, on a model."""
    method, preset = ("prompt", name) if name in PRESETS else (name, None)
    return MatcherSpec(method=method, preset=preset, model=model, options={"device": device, **cells_of(method)})


def some_of(dataset: Dataset, sources: int | None, targets: int | None) -> Dataset:
    """The pairs of each category's first sources with the first targets of each; None leaves all of them."""
    taken: dict[str, dict[Path, list[Pair]]] = {}
    for pair in dataset.pairs:
        taken.setdefault(pair.category, {}).setdefault(pair.source.path, []).append(pair)
    groups = (group for of_category in taken.values() for group in list(of_category.values())[:sources])
    return replace(dataset, pairs=[pair for group in groups for pair in group[:targets]])


def compared(runs: Mapping[str, Sequence[Run]]) -> list[NetworkScore]:
    """A row for each method and network: the same methods, in the same order, of each network."""
    every = [replace(run, name=f"{network}: {run.name}") for network, some in runs.items() for run in some]
    first = next(iter(runs))
    scores = {one.name: one for one in scores_of(every)}
    over = {name: {one.name: one for one in scores_of(every, name)} for name in scores if _is_reference(name, first)}
    rows = []
    for method, network in product([run.name for run in runs[first]], runs):
        own, features, same = f"{network}: {method}", f"{network}: {FEATURES}", f"{first}: {method}"
        score = scores[own]
        by_features = over[features][own] if features in over and method != FEATURES else None
        by_network = over[same][own] if network != first else None
        rows.append(_row(method, network, score, by_features, by_network))
    return rows


def _is_reference(name: str, first: str) -> bool:
    network, _, method = name.rpartition(": ")
    return network == first or method == FEATURES


def _row(
    method: str, network: str, score: MethodScore, features: MethodScore | None, same: MethodScore | None
) -> NetworkScore:
    return NetworkScore(
        method=method,
        network=network,
        pck=score.pck,
        interval=score.interval,
        over_features=None if features is None else features.lead,
        over_features_interval=None if features is None else features.lead_interval,
        over_network=None if same is None else same.lead,
        over_network_interval=None if same is None else same.lead_interval,
        pairs=score.pairs,
        failed=score.failed,
    )


def table(document: Mapping[str, Any]) -> Table:
    """A row for each method and network, of a document as it is, or as JSON has it."""
    scores = [NetworkScore(**_values(one)) for one in document["scores"]]
    first = scores[0].network
    shown = Table()
    for heading in ("method", "network"):
        shown.add_column(heading)
    for heading in (f"PCK@{ALPHA:g} per point", "95 %", f"over {FEATURES}", "95 %", f"over {first}", "95 %"):
        shown.add_column(heading, justify="right")
    for heading in ("pairs", "failed pairs"):
        shown.add_column(heading, justify="right")
    for one in scores:
        shown.add_row(
            one.method,
            one.network,
            f"{one.pck:.1f}",
            _interval(one.interval),
            _lead(one.over_features),
            _interval(one.over_features_interval),
            _lead(one.over_network),
            _interval(one.over_network_interval),
            str(one.pairs),
            str(one.failed),
        )
    return shown


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def _lead(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "–" if ends is None else f"{ends[0]:.1f} to {ends[1]:.1f}"


if __name__ == "__main__":
    sys.exit(main(app))
