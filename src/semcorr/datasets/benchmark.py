"""What is known of a benchmark: how it is read, what a whole copy holds, and where it comes from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from semcorr.datasets.base import Dataset
from semcorr.datasets.similar_points import Groups
from semcorr.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file to download. No address has been tried from here.

    Attributes:
        url: Its address.
        size: In bytes, where it is known.
        md5: Its MD5, where it is known.
        inside: The folder of the archive that is the benchmark. A file that is not an archive has none, and is put
            into the benchmark's folder as it is.
    """

    url: str
    size: int | None = None
    md5: str | None = None
    inside: str | None = None

    @property
    def file(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class KnownCounts:
    """What a whole copy is known to hold; None where nothing is known.

    Attributes:
        pairs: In all.
        by_category: Pairs of each category.
        categories: How many categories.
        points_per_pair: The same in every pair.
        files: A glob pattern below the benchmark's folder, and how many files it matches.
    """

    pairs: int | None = None
    by_category: Mapping[str, int] = field(default_factory=dict)
    categories: int | None = None
    points_per_pair: int | None = None
    files: tuple[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: What it is called on the command line.
        title: What messages call it.
        folder: The name of its folder below the one that data is kept in.
        read: Reads the pairs of a folder, a split and a setting.
        threshold: A rule of :mod:`semcorr.evaluation.metrics.protocol`, of the default setting.
        splits: Its splits; the first is the default, on which figures are published.
        settings: Its protocols; the first is the default.
        known: What a whole copy holds, by split and setting.
        sources: The files to download.
        similar_points: The groups of key-points of a category that look alike; None where none are published.
        origin: Where it comes from.
        terms: Under what terms.
        compare_sizes: Whether the declared sizes are compared with the images when the benchmark is read, not only
            when they are opened: for annotations of the user's own.
    """

    name: str
    title: str
    folder: str
    read: Callable[[Path, str, str, Progress | None], Dataset]
    threshold: str
    splits: tuple[str, ...] = ("test",)
    settings: tuple[str, ...] = ("",)
    known: Mapping[tuple[str, str], KnownCounts] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    similar_points: Callable[[str], Groups] | None = None
    origin: str = "its authors' page"
    terms: str = "its authors' own terms: read them first"
    compare_sizes: bool = False

    @property
    def default_split(self) -> str:
        """The split that figures are published on."""
        return self.splits[0]

    @property
    def pairs(self) -> int | None:
        """How many pairs the default split and setting have, where it is known."""
        known = self.known.get((self.default_split, self.settings[0]))
        return known.pairs if known else None
