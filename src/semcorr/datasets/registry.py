"""The benchmarks by name, and reading the pairs of one. A new one is a file with a ``Benchmark`` and a line here."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from semcorr.datasets.ap10k import AP10K
from semcorr.datasets.base import Dataset, Pair
from semcorr.datasets.benchmark import Benchmark
from semcorr.datasets.cub import CUB
from semcorr.datasets.image_sizes import with_actual_sizes
from semcorr.datasets.own import OWN
from semcorr.datasets.pf_pascal import PF_PASCAL
from semcorr.datasets.pf_willow import PF_WILLOW
from semcorr.datasets.spair import SPAIR, SPAIR_U
from semcorr.datasets.toy_world import TOY
from semcorr.errors import DatasetError, suggest
from semcorr.progress import Progress

BENCHMARKS: Mapping[str, Benchmark] = {
    one.name: one
    for one in (
        SPAIR,
        SPAIR_U,
        PF_WILLOW,
        PF_PASCAL,
        CUB,
        AP10K,
        TOY,
        OWN,
    )
}
"""Every benchmark by its name."""


def find(name: str) -> Benchmark:
    """The benchmark with a name.

    Raises:
        DatasetError: There is none.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    raise DatasetError(f"Unknown data set {name!r}.{suggest(name, BENCHMARKS)} Known: {', '.join(BENCHMARKS)}.")


def find_by_folder(folder: Path) -> Benchmark:
    """The benchmark whose folder has this name.

    Raises:
        DatasetError: There is none.
    """
    name = folder.resolve().name.lower()
    for benchmark in BENCHMARKS.values():
        if name and name in (benchmark.name, benchmark.folder.lower()):
            return benchmark
    known = ", ".join(benchmark.folder for benchmark in BENCHMARKS.values() if benchmark.folder)
    raise DatasetError(f"No benchmark's folder is called {folder.name!r} ({known} are): name the benchmark as well.")


def load(
    name: str,
    data: Path,
    *,
    split: str | None = None,
    setting: str | None = None,
    categories: Collection[str] = (),
    flags: Mapping[str, Collection[str]] | None = None,
    limit: int | None = None,
    rescale: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Read a benchmark's pairs.

    Args:
        name: One of ``BENCHMARKS``.
        data: The benchmark's folder, or the one that it is in; for "toy" where drawings are kept, for "own" the
            folder or its .json file.
        split: The benchmark's own default if None.
        setting: Which of several protocols; the benchmark's own default if None.
        categories: Only pairs of these; all if empty.
        flags: Only pairs that have, for each of these flags, one of its values (as text): {"viewpoint": ("1", "2")}.
        limit: Only the first so many of them.
        rescale: Scale coordinates where an image has another size than the annotations declare.
        progress: Called while files are read or drawings drawn.

    Raises:
        DatasetError: An unknown name, split, setting, category, flag or value, or a folder that is not what it should
            be.
    """
    benchmark = find(name)
    split = _known(benchmark, "split", split or benchmark.default_split, benchmark.splits)
    setting = _known(benchmark, "setting", setting or benchmark.settings[0], benchmark.settings)
    if limit is not None and limit < 1:
        raise DatasetError(f"Expected a limit of at least 1 pair, got {limit}.")
    dataset = benchmark.read(data, split, setting, progress)
    if rescale or benchmark.compare_sizes:
        dataset = with_actual_sizes(dataset, rescale=rescale)
    pairs = _selected(benchmark, dataset.pairs, categories, flags or {})[:limit]
    if pairs and not any(pair.names for pair in pairs):
        raise DatasetError(
            f"{benchmark.title}: none of the {len(pairs)} pairs chosen has a key-point that can be seen in both of its "
            "images, so there is nothing to measure. Choose other categories, flags or more pairs."
        )
    return replace(dataset, pairs=pairs)


def _selected(
    benchmark: Benchmark, pairs: Sequence[Pair], categories: Collection[str], flags: Mapping[str, Collection[str]]
) -> Sequence[Pair]:
    """The pairs of these categories that have one of the values of each flag."""
    if categories:
        existing = sorted({pair.category for pair in pairs})
        for category in categories:
            _known(benchmark, "category", category, existing)
        pairs = [pair for pair in pairs if pair.category in categories]
    for flag, values in flags.items():
        _known(benchmark, "flag", flag, sorted({name for pair in pairs for name in pair.flags}))
        for value in values:
            _known(benchmark, flag, value, sorted({str(pair.flags[flag]) for pair in pairs if flag in pair.flags}))
        pairs = [pair for pair in pairs if flag in pair.flags and str(pair.flags[flag]) in values]
    return pairs


def _known(benchmark: Benchmark, kind: str, value: str, known: Sequence[str]) -> str:
    """The value, if it is a known one of its kind.

    Raises:
        DatasetError: It is not.
    """
    if value in known:
        return value
    named = [one for one in known if one]
    existing = f" Known: {', '.join(named)}." if named else f" It has no {kind}s."
    raise DatasetError(f"{benchmark.title} has no {kind} {value!r}.{suggest(value, named)}{existing}")
