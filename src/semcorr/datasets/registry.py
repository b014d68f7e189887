"""The benchmarks by name: how each is read, what is known of it, and where it comes from."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from semcorr.datasets import ap10k, cub, own, pf_pascal, pf_willow, spair, toy_world
from semcorr.datasets.base import Dataset
from semcorr.datasets.measured import measure
from semcorr.errors import DatasetError, suggest
from semcorr.progress import Progress
from semcorr.toy.objects import CATEGORIES

_AUTHORS = "its authors' own terms: read them first"
_WILLOW = "https://www.di.ens.fr/willow/research"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file to download; size in bytes and MD5 where they are known. No address has been tried from here.

    ``inside`` is the folder of the archive that is the benchmark; a file that is no archive has none, and is put into
    the benchmark's folder as it is.
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
class Known:
    """What a whole copy is known to hold; None where nothing is known.

    ``files`` is a glob pattern below the benchmark's folder and how many files it matches.
    """

    pairs: int | None = None
    by_category: Mapping[str, int] = field(default_factory=dict)
    categories: int | None = None
    points_a_pair: int | None = None
    files: tuple[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A benchmark. The first of ``splits`` and of ``settings`` is the default.

    ``folder`` is what its folder is called below the one that data is kept in. ``known`` counts are by split and
    setting. ``threshold`` is a rule of :mod:`semcorr.evaluation.metrics.protocol`, of the default setting.
    ``measured``: sizes are people's own, and are compared with the pictures when the benchmark is read, not only when
    they are opened.
    """

    name: str
    title: str
    folder: str
    read: Callable[[Path, str, str, Progress | None], Dataset]
    threshold: str
    splits: tuple[str, ...] = ("test",)
    settings: tuple[str, ...] = ("",)
    known: Mapping[tuple[str, str], Known] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    origin: str = ""
    terms: str = _AUTHORS
    measured: bool = False

    @property
    def default_split(self) -> str:
        """The split that figures are published on."""
        return self.splits[0]

    @property
    def pairs(self) -> int | None:
        """How many pairs the default split and setting have, where it is known."""
        known = self.known.get((self.default_split, self.settings[0]))
        return known.pairs if known else None


_SPAIR_TEST = {
    "aeroplane": 690, "bicycle": 650, "bird": 702, "boat": 702, "bottle": 870, "bus": 644,
    "car": 564, "cat": 600, "chair": 646, "cow": 640, "dog": 600, "horse": 600,
    "motorbike": 702, "person": 650, "pottedplant": 862, "sheep": 664, "train": 756, "tvmonitor": 692,
}  # fmt: skip
_WILLOW_CLASSES = (
    *("car(G)", "car(M)", "car(S)", "duck(S)", "motorbike(G)", "motorbike(M)", "motorbike(S)"),
    *("winebottle(M)", "winebottle(wC)", "winebottle(woC)"),
)

SPECS: Mapping[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec(
            name="spair",
            title="SPair-71k",
            folder="SPair-71k",
            read=lambda data, split, _, progress: spair.load(data, split, progress=progress),
            threshold="target-box",
            splits=("test", "val", "trn"),
            known={
                ("test", ""): Known(
                    pairs=12_234, by_category=_SPAIR_TEST, categories=18, files=("JPEGImages/*/*.jpg", 1800)
                ),
                ("val", ""): Known(categories=18, files=("JPEGImages/*/*.jpg", 1800)),
                ("trn", ""): Known(categories=18, files=("JPEGImages/*/*.jpg", 1800)),
            },
            sources=(
                Source(
                    url="https://cvlab.postech.ac.kr/research/SPair-71k/data/SPair-71k.tar.gz",
                    size=226_961_117,
                    inside="SPair-71k",
                ),
            ),
            origin="cvlab.postech.ac.kr/research/SPair-71k",
        ),
        Spec(
            name="spair-u",
            title="SPair-U",
            folder="SPair-U",
            read=lambda data, split, _, progress: spair.load(data, split, name="spair-u", progress=progress),
            threshold="target-box",
            splits=("test", "val", "trn"),
            origin="its authors' page",
        ),
        Spec(
            name="pf-willow",
            title="PF-WILLOW",
            folder="pf-willow",
            read=lambda data, split, _, progress: pf_willow.load(data, split, progress=progress),
            threshold="keypoints",
            known={
                ("test", ""): Known(
                    pairs=900,
                    by_category=dict.fromkeys(_WILLOW_CLASSES, 90),
                    categories=10,
                    points_a_pair=pf_willow.POINTS,
                    files=("*/*.png", 100),
                )
            },
            sources=(Source(url=f"{_WILLOW}/proposalflow/dataset/PF-dataset.zip", inside="PF-dataset"),),
            origin="www.di.ens.fr/willow/research/proposalflow",
        ),
        Spec(
            name="pf-pascal",
            title="PF-PASCAL",
            folder="PF-dataset-PASCAL",
            read=lambda data, split, *_: pf_pascal.load(data, split),
            threshold="image",
            splits=("test", "val"),
            known={("test", ""): Known(pairs=299, categories=20)},
            sources=(
                Source(url=f"{_WILLOW}/proposalflow/dataset/PF-dataset-PASCAL.zip", inside="PF-dataset-PASCAL"),
                Source(url=f"{_WILLOW}/cnngeometric/other_resources/test_pairs_pf_pascal.csv"),
            ),
            origin="www.di.ens.fr/willow/research/proposalflow",
        ),
        Spec(
            name="cub",
            title="CUB-200-2011",
            folder="CUB_200_2011",
            read=lambda data, split, setting, progress: cub.load(data, split, setting=setting, progress=progress),
            threshold="reference-cub",
            splits=("test", "train"),
            settings=cub.SETTINGS,
            known={
                (split, setting): Known(categories=len(cub.CLASSES), files=("images/*/*.jpg", 11_788))
                for split in ("test", "train")
                for setting in cub.SETTINGS
            },
            sources=(
                Source(
                    url="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
                    md5="97eceeb196236b17998738112f37df78",
                    inside="CUB_200_2011",
                ),
            ),
            origin="data.caltech.edu/records/65de6-vp158",
        ),
        Spec(
            name="ap10k",
            title="AP-10K",
            folder="ap-10k",
            read=lambda data, split, setting, progress: ap10k.load(data, split, setting=setting, progress=progress),
            threshold="target-box",
            splits=("test", "val", "trn"),
            settings=ap10k.SETTINGS,
            origin="its authors' page",
        ),
        Spec(
            name="toy",
            title="Toy world",
            folder="toy",
            read=lambda data, split, _, progress: toy_world.load(data, split, progress=progress),
            threshold="target-box",
            splits=("test", "val", "train"),
            known={
                (split, ""): Known(pairs=312, by_category=dict.fromkeys(CATEGORIES, 78), categories=4)
                for split in ("test", "val", "train")
            },
            origin="drawn into the folder when it is read",
            terms="semcorr's own, Apache-2.0",
        ),
        Spec(
            name="own",
            title="A folder of one's own",
            folder="",
            read=lambda data, split, setting, _: own.load(data, split, setting=setting or None),
            threshold="target-box",
            settings=("", *own.SETTINGS),
            measured=True,
            origin="yours: pictures and a COCO key-points .json",
            terms="yours",
        ),
    )
}
"""Every benchmark by its name."""


def find(name: str) -> Spec:
    """The benchmark of a name.

    Raises:
        DatasetError: there is none.
    """
    if name in SPECS:
        return SPECS[name]
    raise DatasetError(f"Unknown data set {name!r}.{suggest(name, SPECS)} Known: {', '.join(SPECS)}.")


def find_by_folder(folder: Path) -> Spec:
    """The benchmark whose folder is called so.

    Raises:
        DatasetError: there is none.
    """
    name = folder.resolve().name.lower()
    for spec in SPECS.values():
        if name and name in (spec.name, spec.folder.lower()):
            return spec
    known = ", ".join(spec.folder for spec in SPECS.values() if spec.folder)
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
        name: One of ``SPECS``.
        data: The benchmark's folder, or the one that it lies in; for "toy" where drawings are kept, for "own" the
            folder or its .json file.
        split: The benchmark's own default if None.
        setting: Which of several protocols; the benchmark's own default if None.
        categories: Only pairs of these; all if empty.
        flags: Only pairs that have, for each of these flags, one of its values (as text): {"viewpoint": ("1", "2")}.
        limit: Only the first so many of them.
        rescale: Scale coordinates where an image has another size than the annotations declare.
        progress: Called while files are read or drawings drawn.

    Raises:
        DatasetError: an unknown name, split, setting, category, flag or value, or a folder that is not what it should
            be.
    """
    spec = find(name)
    chosen = _known(spec, "split", split or spec.default_split, spec.splits)
    protocol = _known(spec, "setting", setting or spec.settings[0], spec.settings)
    if limit is not None and limit < 1:
        raise DatasetError(f"Expected a limit of at least 1 pair, got {limit}.")
    dataset = spec.read(data, chosen, protocol, progress)
    if rescale or spec.measured:
        dataset = measure(dataset, rescale=rescale)
    pairs = dataset.pairs
    if categories:
        there = sorted({pair.category for pair in pairs})
        for category in categories:
            _known(spec, "category", category, there)
        pairs = [pair for pair in pairs if pair.category in categories]
    for flag, wanted in (flags or {}).items():
        _known(spec, "flag", flag, sorted({name for pair in pairs for name in pair.flags}))
        for value in wanted:
            _known(spec, flag, value, sorted({str(pair.flags[flag]) for pair in pairs if flag in pair.flags}))
        pairs = [pair for pair in pairs if flag in pair.flags and str(pair.flags[flag]) in wanted]
    if pairs[:limit] and not any(pair.names for pair in pairs[:limit]):
        raise DatasetError(
            f"{spec.title}: none of the {len(pairs[:limit])} pairs chosen has a key-point that can be seen in both of "
            "its images, so there is nothing to measure. Choose other categories, flags or more pairs."
        )
    return dataset if pairs is dataset.pairs and limit is None else replace(dataset, pairs=pairs[:limit])


def _known(spec: Spec, what: str, value: str, known: Sequence[str]) -> str:
    if value in known:
        return value
    named = [one for one in known if one]
    there = f" Known: {', '.join(named)}." if named else f" It has no {what}s."
    raise DatasetError(f"{spec.title} has no {what} {value!r}.{suggest(value, named)}{there}")
