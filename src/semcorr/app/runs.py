"""Runs of the benchmark kit: which there are, which pairs are of interest, and a pair's pictures and maps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from semcorr.app.find import layer_maps
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
from semcorr.storage.files import is_dir

ALPHA = 0.1
"""A point is right within this part of the size that the run's benchmark measures by."""

Outcome = Literal["all", "all right", "some wrong", "all wrong", "no points", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
EVERY = "all"

_DEEPEST = 3
"""Levels below the folder of runs that are looked through."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenRun:
    """A run with what became of every pair. ``right`` is by point, in the records' order."""

    run: Run
    records: tuple[PairRecord, ...]
    right: tuple[Bool[np.ndarray, " _"], ...]

    @property
    def categories(self) -> list[str]:
        """All categories, by name."""
        return sorted({record.category for record in self.records})


def list_runs(folder: Path) -> list[str]:
    """The runs below a folder, as names relative to it; none leads out of it."""
    root = folder.resolve()
    if not is_dir(root):
        return []
    headers = [header for depth in range(1, _DEEPEST + 1) for header in root.glob("*/" * depth + "run.json")]
    return sorted(header.parent.relative_to(root).as_posix() for header in headers if _below(header, root))


def _below(path: Path, root: Path) -> bool:
    """Whether a path is in the folder, whatever links it leads through."""
    return path.resolve().is_relative_to(root)


def open_run(folder: Path, name: str) -> OpenRun:
    """Read a run that :func:`list_runs` named, and no other.

    Raises:
        RunError: it is not one of them, or broken.
        SettingsError: its protocol is unknown.
    """
    if name not in list_runs(folder):
        raise RunError(f"Expected one of the runs in the list, got {name!r}. Reload the list.")
    run = read_run(folder.resolve() / name)
    scores = score(run.records, named(str(run.settings["dataset"]["threshold"])))
    return OpenRun(run=run, records=scores.records, right=_right(scores))


def select(opened: OpenRun, category: str = EVERY, outcome: Outcome = "all") -> list[int]:
    """The places (in ``records``) of the pairs of a category and outcome."""
    return [
        place
        for place, record in enumerate(opened.records)
        if category in (EVERY, record.category) and outcome in ("all", outcome_of(record, opened.right[place]))
    ]


def outcome_of(record: PairRecord, right: Bool[np.ndarray, " points"]) -> Outcome:
    """What became of a pair."""
    if record.error:
        return "failed"
    if not len(right):
        return "no points"
    if right.all():
        return "all right"
    return "some wrong" if right.any() else "all wrong"


def label_of(opened: OpenRun, place: int) -> str:
    """A pair in a list."""
    record, right = opened.records[place], opened.right[place]
    outcome = outcome_of(record, right)
    found = outcome if outcome in ("failed", "no points") else f"{int(right.sum())} of {len(right)} right"
    return f"{record.pair} · {record.category} · {found}"


def pictures_of(opened: OpenRun, place: int) -> tuple[Image, Image]:
    """Source and target of a pair.

    Raises:
        ImageError: a picture is missing, or not below the folder that the run names.
    """
    root = Path(opened.run.settings["dataset"]["root"]).resolve()
    record = opened.records[place]
    images = []
    for name in (record.source, record.target):
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise ImageError(f"The picture {name!r} is not where the run was made. Bring its data set back there.")
        images.append(load_image(path))
    return images[0], images[1]


def maps_of(opened: OpenRun, place: int, matcher: Matcher, progress: Progress) -> Prediction:
    """Do a pair again with the run's own method, for its heat maps.

    Raises:
        RunError: the pair failed.
        SemcorrError: as the method does.
    """
    record = opened.records[place]
    if record.error:
        raise RunError(f"This pair failed in the run: {record.error}")
    source, target = pictures_of(opened, place)
    query = QueriesOf(opened.run)(matcher, record, source, progress=progress)
    matches = matcher.locate(query, target, progress=progress)
    layers = layer_maps(matcher, query, target, progress) if len(matches.layer_names) > 1 else None
    return Prediction(image=target, matches=matches, layers=layers)


def _right(scores: Scores) -> tuple[Bool[np.ndarray, " _"], ...]:
    right = is_correct(scores.errors, ALPHA)
    return tuple(right[scores.pair == number] for number in range(len(scores.records)))


def distances(record: PairRecord) -> Float[np.ndarray, " points"]:
    """How far each found point lies from the truth, in pixels of the target; NaN where the pair failed."""
    if record.error or len(record.predicted) != len(record.truth):
        return np.full(len(record.truth), np.nan)
    return np.linalg.norm(record.predicted - record.truth, axis=1)
