"""Runs of the benchmark kit: list and open them, select pairs, and load a pair's images and heat maps."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from semcorr.app.find import predict
from semcorr.app.workspace import Prediction
from semcorr.errors import ImageError, RunError
from semcorr.evaluation.metrics.pck import is_correct
from semcorr.evaluation.metrics.protocol import named
from semcorr.evaluation.metrics.scores import Scores, score
from semcorr.evaluation.runs.folder import read_run
from semcorr.evaluation.runs.recompute import QueriesOf
from semcorr.evaluation.runs.records import PairRecord, Run
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.progress import Progress
from semcorr.storage.files import is_dir, is_file

ALPHA = 0.1
"""A point is right within this fraction of the size that the run's benchmark measures by."""

Outcome = Literal["all", "all right", "some wrong", "all wrong", "no points", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
EVERY = "all"

_MAX_DEPTH = 3
"""Levels below the folder of runs that are searched."""

_Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and time of a run's files."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenRun:
    """A run with its pairs.

    Attributes:
        run: The run.
        records: Its pairs.
        right: For each record, which of its points are right.
    """

    run: Run
    records: tuple[PairRecord, ...]
    right: tuple[Bool[np.ndarray, " _"], ...]

    @property
    def categories(self) -> list[str]:
        """All categories, by name."""
        return sorted({record.category for record in self.records})

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {record.index: position for position, record in enumerate(self.records)}

    def position(self, index: int) -> int:
        """Where the pair with an index in the data set is in ``records``: it moves while a run goes on.

        Raises:
            RunError: The run has no such pair.
        """
        if index not in self._positions:
            raise RunError(f"The run {self.run.name!r} has no pair {index}. Choose one of the list.")
        return self._positions[index]


class OpenRuns:
    """Opens runs, and keeps those that were opened last for as long as their files do not change.

    Args:
        folder: The folder below which they are.
        keep: How many are kept.
    """

    def __init__(self, folder: Path, keep: int = 4) -> None:
        self.folder = folder
        self._keep, self._lock = keep, threading.Lock()
        self._opened: OrderedDict[str, tuple[_Stamp, OpenRun]] = OrderedDict()

    def get(self, name: str) -> OpenRun:
        """A run, as it is on the disk now.

        Raises:
            SemcorrError: As :func:`open_run`.
        """
        folder = self.folder.resolve() / name
        with self._lock:
            known = self._opened.pop(name, None)
            if known is None or known[0] != _stamp(folder):
                _check_listed(self.folder, name)
                # The stamp first: what is appended while the run is read belongs to the next time.
                known = _stamp(folder), _read(folder)
            self._opened[name] = known
            if len(self._opened) > self._keep:
                self._opened.popitem(last=False)
            return known[1]


def list_runs(folder: Path) -> list[str]:
    """The runs below a folder, as paths relative to it; links that lead out of it are left out."""
    root = folder.resolve()
    if not is_dir(root):
        return []
    headers = [header for depth in range(1, _MAX_DEPTH + 1) for header in root.glob("*/" * depth + "run.json")]
    own = [header for header in headers if header.resolve().is_relative_to(root)]
    return sorted(header.parent.relative_to(root).as_posix() for header in own)


def open_run(folder: Path, name: str) -> OpenRun:
    """Read a run that :func:`list_runs` lists, and no other.

    Raises:
        RunError: It is not one of them, or broken.
        SettingsError: Its protocol is unknown.
    """
    _check_listed(folder, name)
    return _read(folder.resolve() / name)


def _check_listed(folder: Path, name: str) -> None:
    if name not in list_runs(folder):
        raise RunError(f"Expected one of the runs in the list, got {name!r}. Reload the list.")


def _read(folder: Path) -> OpenRun:
    run = read_run(folder)
    scores = score(run.records, named(str(run.settings["dataset"]["threshold"])))
    return OpenRun(run=run, records=scores.records, right=_right(scores))


def select(opened: OpenRun, category: str = EVERY, outcome: Outcome = "all") -> list[int]:
    """The indices (into ``records``) of the pairs of a category and outcome."""
    return [
        index
        for index, record in enumerate(opened.records)
        if category in (EVERY, record.category) and outcome in ("all", outcome_of(record, opened.right[index]))
    ]


def outcome_of(record: PairRecord, right: Bool[np.ndarray, " points"]) -> Outcome:
    """The outcome of a pair."""
    if record.error:
        return "failed"
    if not len(right):
        return "no points"
    if right.all():
        return "all right"
    return "some wrong" if right.any() else "all wrong"


def label_of(opened: OpenRun, index: int) -> str:
    """A pair's label in a list."""
    record, right = opened.records[index], opened.right[index]
    outcome = outcome_of(record, right)
    result = outcome if outcome in ("failed", "no points") else f"{int(right.sum())} of {len(right)} right"
    return f"{record.pair} · {record.category} · {result}"


def load_images(opened: OpenRun, index: int) -> tuple[Image, Image]:
    """Source and target of a pair.

    Raises:
        ImageError: An image is missing, or not below the folder that the run names.
    """
    root = Path(opened.run.settings["dataset"]["root"]).resolve()
    record = opened.records[index]
    images = []
    for name in (record.source, record.target):
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise ImageError(f"The image {name!r} is not where it was during the run. Put its data set back there.")
        images.append(load_image(path))
    return images[0], images[1]


def compute_maps(opened: OpenRun, index: int, matcher: Matcher, progress: Progress) -> Prediction:
    """Locate a pair's points again with the run's own method, for its heat maps.

    Raises:
        RunError: The pair failed.
        SemcorrError: As the method does.
    """
    record = opened.records[index]
    if record.error:
        raise RunError(f"This pair failed in the run: {record.error}")
    source, target = load_images(opened, index)
    query = QueriesOf(opened.run)(matcher, record, source, progress=progress)
    return predict(matcher, query, target, progress)


def _stamp(folder: Path) -> _Stamp:
    files = [folder / "run.json", *sorted((folder / "records").glob("*.jsonl"))]
    stats = [(file.name, file.stat()) for file in files if is_file(file)]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _right(scores: Scores) -> tuple[Bool[np.ndarray, " _"], ...]:
    right = is_correct(scores.errors, ALPHA)
    return tuple(right[scores.pair == number] for number in range(len(scores.records)))


def distances(record: PairRecord) -> Float[np.ndarray, " points"]:
    """Each predicted point's distance from the truth, in pixels of the target; NaN where the pair failed."""
    if record.error or len(record.predicted) != len(record.truth):
        return np.full(len(record.truth), np.nan)
    return np.linalg.norm(record.predicted - record.truth, axis=1)
