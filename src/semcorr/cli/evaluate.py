"""``semcorr eval``, ``ablate`` and ``merge``: run a method over a benchmark."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.options import DType, MatcherOptions, Output, Repeated, parse_shard
from semcorr.cli.report import PlotOptions, TableOptions
from semcorr.errors import SettingsError
from semcorr.matchers.registry import EVALUATED_METHOD, find_method
from semcorr.matchers.spec import MatcherSpec
from semcorr.models.names import PHOTO_MODEL

if TYPE_CHECKING:
    from semcorr.datasets.base import Dataset
    from semcorr.evaluation.runs.records import Run
    from semcorr.progress import Progress


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MethodOptions(MatcherOptions):
    """The method to evaluate; where none is named, the same one and in the same precision on every machine.

    Attributes:
        model: Hub id, diffusers folder, single .safetensors file, "toy" or "toy-plain". [default: toy for the toy
            world, CompVis/stable-diffusion-v1-4 for photographs]
        method: attention-dift, prompt (the paper's), dift, another method that `semcorr doctor` lists, a class of your
            own as MODULE:CLASS, or a baseline: same-position, same-box-position, random, oracle-grid.
        dtype: Precision of the network; auto takes the fastest, as for semcorr match.
    """

    model: Annotated[str, Parameter(show_default=False)] = ""
    method: str = EVALUATED_METHOD
    dtype: DType = "float32"

    def chosen(self, dataset: str) -> MatcherSpec:
        """Return what to evaluate, and note in one line what that is.

        Raises:
            SettingsError: There is no method or baseline of that name.
        """
        from semcorr.evaluation.runs.baselines import BASELINES

        known = find_method(self.method, also=BASELINES)
        model = self.model or ("toy" if dataset == "toy" else known.default_model if known else PHOTO_MODEL)
        spec = MatcherSpec(method=self.method, model=model, preset=self.preset, options=self.loading())
        if known is not None:
            console.note(f"Matching with {spec}.")
        return spec


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The pairs to evaluate on.

    Attributes:
        data: The benchmark's folder, see `semcorr data`. The toy world needs none.
        split: The split. [default: the benchmark's own]
        setting: The protocol, if the benchmark has several.
        category: Only pairs of this category; repeat for more.
        flag: NAME=VALUE: only pairs with this value of a flag, such as viewpoint=2; repeat for more.
        limit: Only this many pairs, the first ones.
        rescale: Scale coordinates if an image has another size than the annotations declare, as in a reduced copy.
    """

    data: Path | None = None
    split: str | None = None
    setting: str | None = None
    category: Repeated = ()
    flag: Repeated = ()
    limit: int | None = None
    rescale: Annotated[bool, Parameter(negative="")] = False

    def read(self, name: str) -> "Dataset":
        """Read the pairs, with progress if files are read or drawn."""
        from semcorr.datasets import registry

        registry.find(name)  # an unknown name is reported before a missing folder
        with console.TerminalProgress() as progress:
            dataset = registry.load(
                name,
                self._folder(name),
                split=self.split,
                setting=self.setting,
                categories=self.category,
                flags=self._flags(),
                limit=self.limit,
                rescale=self.rescale,
                progress=progress,
            )
        for note in dataset.notes:
            console.note(f"{note[0].upper()}{note[1:]}.")
        return dataset

    def _flags(self) -> dict[str, list[str]]:
        values: dict[str, list[str]] = {}
        for text in self.flag:
            name, equals, value = text.partition("=")
            if not equals:
                raise SettingsError(f"Expected --flag NAME=VALUE, such as viewpoint=2, got {text!r}.")
            values.setdefault(name, []).append(value)
        return values

    def _folder(self, name: str) -> Path:
        if self.data is not None:
            return self.data
        if name != "toy":
            raise SettingsError(
                f"Expected --data and the folder of {name}. To get one: semcorr data download {name}, or see semcorr "
                "data list."
            )
        cache = os.environ.get("XDG_CACHE_HOME")
        return (Path(cache) if cache else Path.home() / ".cache") / "semcorr" / "toy"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AblationOptions(MethodOptions):
    """The method to ablate: no other than the paper's has these design choices.

    Attributes:
        method: "prompt", the paper's; with --taps "dift". [default: that]
    """

    method: Annotated[str, Parameter(show_default=False)] = ""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EvaluationTables(TableOptions):
    """Which tables are printed, and in which format: by default the overall PCK.

    Attributes:
        details: Print tables of errors, confidence and leads as well, as semcorr report does; csv and json always have
            them.
    """

    details: bool = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AblationTables(TableOptions):
    """Which tables are printed, and in which format: by default all of the ablation.

    A class of its own, because a default object would lose its tables as soon as another option is given.

    Attributes:
        by: As for semcorr report; layer, rounds and crops are of the method's own run.
    """

    by: Repeated = ("overall", "layer", "rounds", "crops")


_DATA = DataOptions()
_METHOD = MethodOptions()
_TABLES = EvaluationTables()
_PLOTS = PlotOptions()
_ABLATION = AblationTables()
_ABLATED = AblationOptions()


def evaluate(
    dataset: str,
    /,
    *,
    output: Output | None = None,
    shard: str = "1/1",
    workers: int = 1,
    ray: str | None = None,
    keep_queries: Annotated[bool, Parameter(negative="")] = False,
    tables: EvaluationTables = _TABLES,
    plots: PlotOptions = _PLOTS,
    data: DataOptions = _DATA,
    method: MethodOptions = _METHOD,
) -> int:
    """Run a method over a benchmark, and print its figures beside the baselines'.

    A run is a folder. If it is stopped in whatever way, at most the pair in progress is lost, and the same command
    continues it; other settings are refused. A pair that fails is reported, counted as wrong, and tried again by the
    same command.

    Args:
        dataset: One of those that `semcorr data list` shows.
        output: Folder of the run. [default: runs/DATASET-METHOD]
        shard: i/n: do only the i-th of n shards, here or on another machine; `semcorr merge` joins their folders.
        workers: Number of processes, each with a model of its own.
        ray: Work on a Ray cluster: HOST:PORT of its head node, "auto" for the one on this machine, or "local".
        keep_queries: Keep the queries of source images when their pairs are done.
        tables: Which tables are printed, and in which format.
        plots: Which figures are drawn.
        data: The pairs to evaluate on.
        method: The method to evaluate.
    """
    from semcorr.evaluation.runs.runner import run

    # Misspelt options are reported before anything slow begins.
    part, chosen = parse_shard(shard), method.chosen(dataset)
    plots.check()
    pairs = _read(data, dataset, tables)
    folder = output or Path("runs") / f"{dataset}-{method.method.rpartition(':')[2]}"
    with running(folder) as progress:
        watch = _Stopwatch(progress)
        done = run(
            pairs, chosen, folder, shard=part, workers=workers, ray=ray, keep_queries=keep_queries, progress=watch
        )
    watch.note(done, workers)
    _show([done], dataset, tables, plots)
    return _status([done])


def ablate(
    dataset: str,
    /,
    *,
    output: Output | None = None,
    crops_apart: Annotated[bool, Parameter(negative="")] = False,
    taps: Annotated[bool, Parameter(negative="")] = False,
    tap: Repeated = (),
    workers: int = 1,
    ray: str | None = None,
    tables: AblationTables = _ABLATION,
    data: DataOptions = _DATA,
    method: AblationOptions = _ABLATED,
) -> int:
    """The paper's ablation: the method, and without crops, with one embedding, with one layer.

    Also from the method's own run: layers one by one and together, after 1, 2, ... embeddings, after 1, 2, ... crops.
    Each run has a folder of its own and is continued like those of `semcorr eval`. With the bundled model, its plain
    twin is compared too.

    With --taps another comparison: by dift, from each tap of a diffusion model alone (semcorr layers lists them), the
    best first. All taps of an image are read together. Choose on pairs other than those that you report.

    Args:
        dataset: One of those that `semcorr data list` shows.
        output: Folder of the runs. [default: runs/DATASET-ablation, or runs/DATASET-taps]
        crops_apart: Also switch crops off in optimization alone and in location alone: two more runs.
        taps: Rank the taps of the model instead.
        tap: Rank these taps alone: a name or a pattern, such as 'up/2*'; repeat for more.
        workers: Number of processes, each with a model of its own.
        ray: Work on a Ray cluster: HOST:PORT of its head node, "auto" for the one on this machine, or "local".
        tables: Which tables are printed, and in which format.
        data: The pairs to evaluate on.
        method: The method to ablate.
    """
    if taps or tap:
        if crops_apart:
            raise SettingsError("Taps are read without crops: leave out --crops-apart, or --taps.")
        named = replace(method, method=method.method or "dift").chosen(dataset)
        return _rank_taps(dataset, named, tap or ("*",), output, workers, ray, tables, data)
    from semcorr.evaluation.runs.ablation import ablate as variants

    chosen = replace(method, method=method.method or "prompt").chosen(dataset)
    pairs = _read(data, dataset, tables)
    folder = output or Path("runs") / f"{dataset}-ablation"
    with running(folder) as progress:
        runs = list(
            variants(pairs, chosen, folder, crops_apart=crops_apart, workers=workers, ray=ray, progress=progress)
        )
    _show(runs, dataset, tables, _PLOTS)
    return _status(runs)


def _rank_taps(
    dataset: str,
    method: MatcherSpec,
    patterns: Sequence[str],
    output: Path | None,
    workers: int,
    ray: str | None,
    tables: AblationTables,
    data: DataOptions,
) -> int:
    from semcorr.evaluation.report.build import build_report, ranked
    from semcorr.evaluation.runs.ablation import compare_taps

    pairs = _read(data, dataset, tables)
    folder = output or Path("runs") / f"{dataset}-taps"
    with running(folder) as progress:
        runs = compare_taps(pairs, method, folder, patterns=patterns, workers=workers, ray=ray, progress=progress)
    own = runs[0]
    options = tables.options(by=("overall",), baseline=own.name, quote=False)
    report = build_report(ranked(runs, options), options)
    # Errors and confidence are those of the run's own tap; that the taps are others is no news.
    kept = tuple(table for table in report.tables if table.columns[0].kind in ("percent", "gain"))
    tables.show(replace(report, tables=kept, notes=()))
    return _status([own])


def merge(output: Path, /, *runs: Path) -> int:
    """Join runs of the same settings, such as shards from several machines, in a new folder.

    Args:
        output: The new folder.
        runs: Folders that `semcorr eval` wrote.
    """
    from semcorr.evaluation.runs.folder import merge as join

    if not runs:
        raise SettingsError("Expected the folders of runs after the new folder's name, got none.")
    joined = join(runs, output)
    console.say(f"{output}: {len(joined.records)} of {joined.expected} pairs")
    return 0


def _read(data: DataOptions, name: str, tables: TableOptions) -> "Dataset":
    """Read the pairs, and check that they have the groups of the requested tables."""
    from semcorr.evaluation.metrics.alike import similar_points
    from semcorr.evaluation.report.build import check_groupings

    if "geo" in tables.by:
        similar_points(name)
    pairs = data.read(name)
    check_groupings(tables.by, (flag for pair in pairs.pairs for flag in pair.flags))
    return pairs


@contextlib.contextmanager
def running(folder: Path) -> "Iterator[Progress]":
    """Show progress; after Ctrl-C, say which folder holds what is done."""
    try:
        with console.TerminalProgress() as progress:
            yield progress
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done is in {folder}; the same command continues.") from None


class _Stopwatch:
    """Passes progress on, and measures how long the whole run takes."""

    def __init__(self, progress: "Progress") -> None:
        self._progress, self._began = progress, time.perf_counter()
        self._pairs = 0

    def __call__(self, stage: str, done: int, total: int, **info: object) -> None:
        if stage == "pairs":
            self._pairs = done
        self._progress(stage, done, total, **info)

    def note(self, run: "Run", workers: int) -> None:
        """If all pairs were done just now, note the seconds of the method and of the whole with loading and writing."""
        spent = sum(record.describe_seconds + record.locate_seconds for record in run.records)
        if spent and self._pairs == len(run.records):  # a guess takes no time
            wall = time.perf_counter() - self._began
            processes = "one process" if workers == 1 else f"{workers} processes"
            console.note(f"The method took {spent:.1f} s of {wall * workers:.1f} s in {processes}, loading included.")


def _show(runs: Sequence["Run"], dataset: str, tables: TableOptions, plots: PlotOptions) -> None:
    """Print all runs beside the baselines; breakdowns by layers, embeddings and crops are of the first run alone."""
    from semcorr.evaluation.report.build import WITHIN_A_RUN, build_report
    from semcorr.evaluation.report.tables import joined

    everything = tables.compared(runs)
    shown: list[tuple[Sequence[Run], tuple[str, ...]]] = [(everything, tables.by)]
    if len(runs) > 1:
        within = tuple(name for name in tables.by if name in WITHIN_A_RUN)
        shown = [(everything, tuple(name for name in tables.by if name not in within))]
        shown += [(tables.compared(runs[:1]), within)] if within else []
    sets = _toy_sets(runs) if dataset == "toy" else {}
    reports = []
    for compared, by in shown:
        names = [run.name for run in compared]
        # A data set may have no boxes, and the run may be of the baseline itself.
        baseline = next((name for name in ("same-box-position", "same-position") if name in names), None)
        options = tables.options(by=by, baseline=baseline, point_sets=sets)
        reports += [build_report(compared, options)] if by else []
    tables.show(joined(reports))
    plots.draw(everything, tables.options())


def _status(runs: Sequence["Run"]) -> int:
    """The exit status, 1 if pairs failed, after reporting them."""
    failed = [record for run in runs for record in run.records if record.error]
    if failed:
        console.plain_error(
            f"{len(failed)} pairs failed, the first ({failed[0].pair}): {failed[0].error} The same command tries them "
            "again."
        )
    return 1 if failed else 0


def _toy_sets(runs: Sequence["Run"]) -> dict[str, set[str]]:
    from semcorr.datasets.toy_world import WORDLESS

    names = {name for run in runs for record in run.records for name in record.names}
    return {"points with a word": names - WORDLESS, "points without a word": names & WORDLESS}
