"""``semcorr eval``, ``ablate`` and ``merge``: run a method over a benchmark."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.keypoints import compare
from semcorr.cli.options import MatcherOptions, Output, Repeated, parse_shard
from semcorr.cli.report import TableOptions
from semcorr.errors import SettingsError
from semcorr.models.names import PHOTO_MODEL

if TYPE_CHECKING:
    from semcorr.datasets.base import Dataset
    from semcorr.evaluation.runs.records import Run
    from semcorr.evaluation.runs.runner import Method
    from semcorr.progress import Progress


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MethodOptions(MatcherOptions):
    """What is measured.

    Attributes:
        model: Hub id, diffusers folder, single .safetensors file, "toy" or "toy-plain". [default: toy for the toy
            world, CompVis/stable-diffusion-v1-4 for photographs]
        method: attention-dift, prompt (the paper's), dift, another method that `semcorr doctor` lists, or a baseline:
            same-position, same-box-position, random, oracle-grid.
    """

    model: Annotated[str, Parameter(show_default=False)] = ""

    def chosen(self, dataset: str) -> "Method":
        """The method, ready to load; says in one line what it is."""
        from semcorr.evaluation.runs.runner import Method
        from semcorr.matchers.registry import describe_choice, methods
        from semcorr.models.names import with_variant

        where = {"dtype": self.dtype, "device": self.device, "revision": self.revision}
        options = {**where, **self.resources(), **self.overrides()}
        options |= {"align_pose": True} if self.align_pose else {}
        options |= {"calibration": self.calibration} if self.calibration else {}
        known = methods().get(self.method)  # a baseline is none
        model = self.model or ("toy" if dataset == "toy" else known.photo_model if known else PHOTO_MODEL)
        model = str(with_variant(model, self.variant))
        if known is not None:
            console.note(f"Matching with {describe_choice(self.method, model, self.preset)}.")
        return Method(name=self.method, model=model, preset=self.preset, options=options)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which pairs.

    Attributes:
        data: The benchmark's folder, see `semcorr data`. The toy world needs none.
        split: The benchmark's own default unless named.
        setting: Which of several protocols of the benchmark.
        category: Only pairs of this category; repeat for more.
        flag: NAME=VALUE: only pairs of this difficulty, such as viewpoint=2; repeat for more.
        limit: Only the first so many pairs.
        rescale: Scale coordinates where an image has another size than the annotations declare, as of a reduced copy.
    """

    data: Path | None = None
    split: str | None = None
    setting: str | None = None
    category: Repeated = ()
    flag: Repeated = ()
    limit: int | None = None
    rescale: Annotated[bool, Parameter(negative="")] = False

    def read(self, name: str) -> "Dataset":
        """The pairs, with progress where files are read or drawn."""
        from semcorr.datasets import registry

        registry.find(name)  # an unknown name is told before a missing folder
        with console.TerminalProgress() as progress:
            dataset = registry.load(
                name,
                self._place(name),
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
        wanted: dict[str, list[str]] = {}
        for text in self.flag:
            name, equals, value = text.partition("=")
            if not equals:
                raise SettingsError(f"Expected --flag NAME=VALUE, such as viewpoint=2, got {text!r}.")
            wanted.setdefault(name, []).append(value)
        return wanted

    def _place(self, name: str) -> Path:
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
    """The same, where the paper's method is taken apart: no other has these parts.

    Attributes:
        method: "prompt", the paper's.
    """

    method: str = "prompt"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AblationTables(TableOptions):
    """The same, where all of the ablation is what one wants to see.

    A class of its own, because a default object would lose its tables as soon as another option is given.

    Attributes:
        by: As for semcorr report; layer, rounds and crops are of the method's own run.
    """

    by: Repeated = ("overall", "layer", "rounds", "crops")


_DATA = DataOptions()
_METHOD = MethodOptions()
_TABLES = TableOptions()
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
    truth: Path | None = None,
    sigma: float | None = None,
    tables: TableOptions = _TABLES,
    data: DataOptions = _DATA,
    method: MethodOptions = _METHOD,
) -> int:
    """Run a method over a benchmark, and print its figures beside the baselines'.

    With --truth nothing is run: DATASET is a COCO file of found key-points, as `semcorr transfer` writes it, and is
    compared with the true ones.

    A run is a folder. Stopped in whatever way, it loses the pair in flight at most, and the same command continues;
    other settings are refused. A pair that fails is noted, counted as wrong, and tried again by the same command.

    Args:
        dataset: One of those that `semcorr data list` shows; with --truth, a COCO file.
        output: Folder of the run. [default: runs/DATASET-METHOD]
        shard: i/n: do only the i-th of n parts, here or on another machine; `semcorr merge` joins folders.
        workers: Processes, each with a model of its own.
        ray: Work on a Ray cluster: HOST:PORT of its head node, "auto" for the one on this machine, or "local".
        keep_queries: Keep what source pictures were described as.
        truth: COCO file of true key-points to compare those of DATASET with.
        sigma: With --truth, COCO's constant for how far apart is alike, the same for all key-points. [default: 0.05]
        tables: Which tables are printed, and how.
        data: Which pairs.
        method: What is measured.
    """
    from semcorr.evaluation.runs.runner import run

    if truth is not None:
        return compare(Path(dataset), truth, sigma, json=tables.json)
    part, chosen = parse_shard(shard), method.chosen(dataset)  # what is misspelt is told before anything slow begins
    pairs = _read(data, dataset, tables)
    folder = output or Path("runs") / f"{dataset}-{method.method}"
    with running(folder) as progress:
        watch = _Stopwatch(progress)
        found = run(
            pairs, chosen, folder, shard=part, workers=workers, ray=ray, keep_queries=keep_queries, progress=watch
        )
    watch.tell(found, workers)
    _print([found], dataset, tables)
    return _status([found])


def ablate(
    dataset: str,
    /,
    *,
    output: Output | None = None,
    crops_apart: Annotated[bool, Parameter(negative="")] = False,
    workers: int = 1,
    ray: str | None = None,
    tables: AblationTables = _ABLATION,
    data: DataOptions = _DATA,
    method: AblationOptions = _ABLATED,
) -> int:
    """The paper's ablation: the method, and without crops, with one embedding, with one layer.

    Then, from the method's own run: layers one by one and together, after 1, 2, ... embeddings, after 1, 2, ... crops.
    Runs lie in folders of their own and are resumable as those of `semcorr eval`. With the bundled model, its plain
    twin stands beside it.

    Args:
        dataset: One of those that `semcorr data list` shows.
        output: Folder of the runs. [default: runs/DATASET-ablation]
        crops_apart: Switch crops off at learning alone and at locating alone as well: two more runs.
        workers: Processes, each with a model of its own.
        ray: Work on a Ray cluster: HOST:PORT of its head node, "auto" for the one on this machine, or "local".
        tables: Which tables are printed, and how.
        data: Which pairs.
        method: What is measured.
    """
    from semcorr.evaluation.runs.ablation import ablate as variants

    chosen = method.chosen(dataset)
    pairs = _read(data, dataset, tables)
    folder = output or Path("runs") / f"{dataset}-ablation"
    with running(folder) as progress:
        runs = list(
            variants(pairs, chosen, folder, crops_apart=crops_apart, workers=workers, ray=ray, progress=progress)
        )
    _print(runs, dataset, tables)
    return _status(runs)


def merge(output: Path, /, *runs: Path) -> int:
    """Join runs of the same settings, such as shards from several machines, into a new folder.

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
    """The pairs, once it is known that they have the groups that tables are wanted by."""
    from semcorr.evaluation.report.build import check_groupings

    pairs = data.read(name)
    check_groupings(tables.by, (flag for pair in pairs.pairs for flag in pair.flags))
    return pairs


@contextlib.contextmanager
def running(folder: Path) -> "Iterator[Progress]":
    """Shows progress; Ctrl-C says where that is which is done."""
    try:
        with console.TerminalProgress() as progress:
            yield progress
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done is in {folder}; the same command continues.") from None


class _Stopwatch:
    """Hands progress on, and measures what the kit adds to the time that the method takes."""

    def __init__(self, progress: "Progress") -> None:
        self._progress, self._began = progress, time.perf_counter()
        self._seen = 0

    def __call__(self, stage: str, done: int, total: int, **info: object) -> None:
        if stage == "pairs":
            self._seen = done
        self._progress(stage, done, total, **info)

    def tell(self, run: "Run", workers: int) -> None:
        """Where all pairs were done just now: seconds of the method, and of the whole with loading and writing."""
        spent = sum(record.describe_seconds + record.locate_seconds for record in run.records)
        if spent and self._seen == len(run.records):  # a guess takes no time
            wall = time.perf_counter() - self._began
            processes = "one process" if workers == 1 else f"{workers} processes"
            console.note(f"The method took {spent:.1f} s of {wall * workers:.1f} s in {processes}, loading included.")


def _print(runs: Sequence["Run"], dataset: str, tables: TableOptions) -> None:
    """All runs beside the baselines; what a run holds of its layers, embeddings and crops is of the first alone."""
    from semcorr.evaluation.report.build import WITHIN_A_RUN, build_report
    from semcorr.evaluation.report.groups import Wanted, with_baselines
    from semcorr.evaluation.report.tables import joined

    parts: list[tuple[Sequence[Run], tuple[str, ...]]] = [(runs, tables.by)]
    if len(runs) > 1:
        within = tuple(name for name in tables.by if name in WITHIN_A_RUN)
        parts = [(runs, tuple(name for name in tables.by if name not in within)), (runs[:1], within)]
    sets = _toy_sets(runs) if dataset == "toy" else {}
    reports = []
    for some, by in parts:
        compared = with_baselines(some)
        boxes = any(run.name == "same-box-position" for run in compared)
        baseline = "same-box-position" if boxes else "same-position"
        wanted = Wanted(by=by, alphas=tables.alpha, baseline=baseline, point_sets=sets)
        reports += [build_report(compared, wanted)] if by else []
    tables.tell(joined(reports))


def _status(runs: Sequence["Run"]) -> int:
    """Whether pairs failed, which is also told."""
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
