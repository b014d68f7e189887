"""Run a method over a data set: each source described once, one record a pair, resumable after any kill."""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.matchers.wrappers.calibration import OWN_DATA, CalibratedMatcher
from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.keypoints.declared_size import declared_scale
from semcorr.matchers.defaults import DEFAULT_METHOD
from semcorr.imaging.domain import statistics
from semcorr.errors import ImageError, QueryError, RunError, SemcorrError
from semcorr.evaluation.runs import folder as run_folder
from semcorr.evaluation.baselines import BASELINES, guessed
from semcorr.evaluation.runs.records import UNUSED, PairRecord, Run
from semcorr.storage import record_store
from semcorr.storage.record_store import Shard
from semcorr.executors import spread
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import Query
from semcorr.models.memory import out_of_memory_message
from semcorr.matchers.registry import find_method, load_matcher
from semcorr.progress import Progress

LIKE = 0.9
"""So many of the images of a folder of one's own must be like a calibration's for it to hold there."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """What is measured: a baseline by its name, or a method with its model, preset and further options.

    Name and model are by default those of :func:`semcorr.matchers.registry.load_matcher`.

    Raises:
        SettingsError: there is no method of the name.
    """

    name: str = DEFAULT_METHOD
    model: str | None = None
    preset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = find_method(self.name, also=BASELINES)
        if found is not None and not self.preset:
            object.__setattr__(self, "preset", next(iter(found.presets), None))

    def load(self) -> Matcher | None:
        """The matcher; None for a baseline, which needs none.

        Raises:
            SettingsError, ModelError: as :func:`semcorr.matchers.registry.load_matcher`.
        """
        if self.name in BASELINES:
            return None
        return load_matcher(self.name, self.model, self.preset, **self.options)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The pairs of one source picture that are still to do, and all points that any of its pairs asks for.

    ``rows`` says for every pair which of ``points`` are its own; ``names`` are the points'. ``points`` do not depend on
    what is already done, so a resumed run describes the same.
    """

    places: tuple[int, ...]
    pairs: tuple[Pair, ...]
    points: Float[np.ndarray, "points 2"]
    names: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]


def run(
    dataset: Dataset,
    method: Method,
    folder: Path,
    *,
    shard: Shard | None = None,
    workers: int = 1,
    ray: str | None = None,
    keep_queries: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Do all pairs of a shard that ``folder`` does not hold yet, and return everything that it then holds.

    A pair that cannot be done becomes a record with its error, and the run goes on; the same call tries it again.
    Results depend on the data set, the method and its seed, never on order, shards, workers or stops; but for
    rounding, where other threads or other free memory make a method add up its numbers in another order.

    Args:
        dataset: The pairs.
        method: What is measured.
        folder: The run's folder, new or of the very same settings.
        shard: Which part of the sources; all by default.
        workers: Processes, each with a matcher of its own; they share this one's threads.
        ray: Address of a Ray cluster to work on; see :func:`semcorr.executors.on_ray.on_ray`.
        keep_queries: Keep what sources were described as when their pairs are done.
        progress: Called as ``("pairs", done, in all)``; raise from it to stop.

    Raises:
        RunError: the folder holds another run, is in use, or cannot be written; or a worker was killed.
        SettingsError, ModelError: the method cannot be loaded.
    """
    shard = shard or Shard()
    if workers < 1:
        raise RunError(f"Expected at least 1 worker, got {workers}.")
    loaded = method.load()
    calibrated = calibration_holds(loaded, dataset)
    matcher = _for_dataset(loaded, calibrated)
    settings = {"dataset": _dataset_settings(dataset), "method": _identity(method, matcher)}
    if isinstance(loaded, CalibratedMatcher) and not calibrated:
        settings["method"][UNUSED] = str(loaded.calibration)
    run_folder.open_run(folder, settings, len(dataset.pairs))
    if workers > 1 or ray is not None:
        matcher = None  # Each process loads its own; this one only had to say what it is.
    with record_store.locked(folder, shard):
        found = run_folder.read_run(folder)
        units = list(units_of(dataset, shard, found.done))
        total = sum(len(unit.places) for unit in units)
        if total:
            work = _Work(
                method=method,
                folder=folder,
                shard=shard,
                root=dataset.root,
                keep_queries=keep_queries,
                calibrated=calibrated,
            )
            started = None if workers > 1 or ray is not None else work.started(matcher)
            pairs = spread(work, units, workers=workers, ray=ray, started=started, progress=progress)
            written: set[int] = set()
            for count, place in enumerate(pairs, start=1):
                written.add(place)
                if progress:
                    progress("pairs", count, total)
            found = run_folder.read_written(folder, written)
    if not keep_queries and len(found.done) == found.expected:
        shutil.rmtree(folder / "queries", ignore_errors=True)  # what a kill at the wrong moment may have left
    return found


def calibration_holds(matcher: Matcher | None, dataset: Dataset) -> bool:
    """Whether a method's confidence on a data set is a probability: its calibration is of that data set.

    Of a folder of one's own its images decide: nearly all of them (``LIKE``) are like those that the calibration saw.
    """
    if not isinstance(matcher, CalibratedMatcher):
        return False
    if dataset.name != OWN_DATA:
        return matcher.calibration.holds_for(dataset.name)
    domain = matcher.calibration.domain
    if domain is None:
        return False
    files = sorted({side.path for pair in dataset.pairs for side in (pair.source, pair.target)})
    like, seen = 0, 0
    for file in files:
        with contextlib.suppress(ImageError):  # those of a pair that fails
            image = load_image(file)
            like, seen = like + domain.contains(statistics(image)), seen + 1
    return seen > 0 and like >= LIKE * seen


def _for_dataset(matcher: Matcher | None, calibrated: bool) -> Matcher | None:
    """The method with its calibration, whatever an image looks like, or without."""
    if not isinstance(matcher, CalibratedMatcher):
        return matcher
    return CalibratedMatcher(matcher.matcher, matcher.calibration, everywhere=True) if calibrated else matcher.matcher


def units_of(dataset: Dataset, shard: Shard, done: set[int]) -> Iterator[Unit]:
    """The shard's sources that have pairs left, in the data set's order."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place, pair in enumerate(dataset.pairs):
        groups.setdefault((str(pair.source.path), pair.category), []).append(place)
    for places in shard.of(list(groups.values())):
        left = [place for place in places if place not in done]
        if not left:
            continue
        index: dict[tuple[float, float], int] = {}
        names: list[str] = []
        for place in places:
            pair = dataset.pairs[place]
            for point, name in zip(_inside(pair.source), pair.names, strict=True):
                if index.setdefault(point, len(index)) == len(names):
                    names.append(name)
        yield Unit(
            places=tuple(left),
            pairs=tuple(dataset.pairs[place] for place in left),
            points=np.array(list(index), dtype=np.float64).reshape(-1, 2),
            names=tuple(names),
            rows=tuple(tuple(index[point] for point in _inside(dataset.pairs[place].source)) for place in left),
        )


def _inside(picture: PairImage) -> list[tuple[float, float]]:
    """The points, those that annotators set just beyond the edge moved onto it."""
    x_y = np.clip(picture.points, 0, picture.size)
    return [(float(x), float(y)) for x, y in x_y]


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What every process of a run needs to know."""

    method: Method
    folder: Path
    shard: Shard
    root: Path
    keep_queries: bool
    calibrated: bool

    def start(self) -> Callable[[Unit, Progress | None], Iterator[int]]:
        """In a worker process: a matcher and a file of its own (:class:`semcorr.executors.Job`)."""
        return self.started(_for_dataset(self.method.load(), self.calibrated))

    def started(self, matcher: Matcher | None) -> Callable[[Unit, Progress | None], Iterator[int]]:
        """The same where the matcher is there already."""
        file = record_store.new_record_file(self.folder, self.shard)
        return lambda unit, progress: self.pairs(matcher, unit, file, progress)

    def pairs(self, matcher: Matcher | None, unit: Unit, file: Path, progress: Progress | None = None) -> Iterator[int]:
        """Do a unit; yield the place of every pair when its record is written."""
        stored, query, seconds, problem = None, None, 0.0, ""
        if matcher is not None and len(unit.points):
            try:
                image = _opened(unit.pairs[0].source)
                stored = self.folder / "queries" / f"{_key(image.sha256, unit, matcher)}.safetensors"
                query, seconds = self._describe(matcher, image, unit, stored, progress)
            except RunError:
                raise
            except Exception as error:  # whatever a method raises, the other sources are done
                problem = _tell(error)
        failed = False
        for place, pair, rows in zip(unit.places, unit.pairs, unit.rows, strict=True):
            record = self._blank(place, pair, describe_seconds=seconds, error=problem)
            if not problem and rows:
                record = self._predict(record, matcher, query, rows, pair)
            run_folder.append(file, record)
            seconds, failed = 0.0, failed or bool(record.error)
            yield place
        # Once a unit: a killed process loses nothing that it wrote, only a power cut does, and then no more than this.
        record_store.settle(file)
        # A pair that failed is tried again; what its source was described as should then be there.
        if stored is not None and not self.keep_queries and not failed:
            stored.unlink(missing_ok=True)

    def _describe(
        self, matcher: Matcher, image: Image, unit: Unit, stored: Path, progress: Progress | None
    ) -> tuple[Query, float]:
        """What the source is described as, and the seconds that the method took for it just now."""
        if stored.exists():
            # One that another version wrote, or that is damaged, is made again.
            with contextlib.suppress(QueryError):
                return Query.load(stored), 0.0
        began = time.perf_counter()
        query = matcher.describe(image, unit.points, names=unit.names, progress=progress)
        seconds = time.perf_counter() - began
        with record_store.writing(self.folder):
            query.save(stored)
        return query, seconds

    def _predict(
        self, record: PairRecord, matcher: Matcher | None, query: Query | None, rows: Sequence[int], pair: Pair
    ) -> PairRecord:
        try:
            if matcher is None or query is None:
                return guessed(record, BASELINES[self.method.name])
            image, own = _opened(pair.target), query.take(rows)
            began = time.perf_counter()
            matches = matcher.locate(own, image, trace=True)
            seconds = time.perf_counter() - began
        except Exception as error:  # whatever a method raises, the other pairs are done
            return replace(record, error=_tell(error))
        return replace(
            record,
            predicted=matches.points,
            confidence=matches.confidence,
            layers=dict(zip(matches.layer_names, matches.layer_points.swapaxes(0, 1), strict=True)),
            rounds=_counted(matches.after_rounds),
            crops=_counted(matches.after_crops),
            locate_seconds=seconds,
            warnings=(*query.remarks, *matches.remarks),
        )

    def _blank(self, place: int, pair: Pair, *, describe_seconds: float, error: str) -> PairRecord:
        def name(path: Path) -> str:
            return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()

        return PairRecord(
            index=place,
            pair=pair.id,
            category=pair.category,
            names=pair.names,
            flags=pair.flags,
            source=name(pair.source.path),
            target=name(pair.target.path),
            source_size=pair.source.size,
            target_size=pair.target.size,
            source_box=pair.source.box,
            target_box=pair.target.box,
            source_points=pair.source.points,
            truth=pair.target.points,
            predicted=np.zeros((0, 2)),
            confidence=np.zeros(0),
            describe_seconds=describe_seconds,
            error=error,
        )


def _opened(picture: PairImage) -> Image:
    """A side's image, of the size that its coordinates are in; a swap alone is left to those that read the data set."""
    image = load_image(picture.path)
    declared_scale(picture.path.name, picture.size, image.size)
    return image


def _counted(points: Float[np.ndarray, "points count 2"] | None) -> dict[str, np.ndarray]:
    """Peaks after 1, 2, ... of something, by that number."""
    return {} if points is None else {str(n + 1): points[:, n] for n in range(points.shape[1])}


def _key(image_sha256: str, unit: Unit, matcher: Matcher) -> str:
    """Names what a source is described as: by the picture's content, the points, and all that results depend on."""
    text = json.dumps([image_sha256, unit.points.tolist(), matcher.identity()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _tell(error: Exception) -> str:
    if isinstance(error, SemcorrError):
        return str(error)
    return out_of_memory_message(error) or f"{type(error).__name__}: {error}"


def _dataset_settings(dataset: Dataset) -> dict[str, Any]:
    """What names the pairs: all of their numbers go into ``content``."""
    digest = hashlib.sha256()
    for pair in dataset.pairs:
        sides = [[s.size, s.box, s.points.tolist()] for s in (pair.source, pair.target)]
        digest.update(json.dumps([pair.id, pair.category, pair.names, sides]).encode())
    return {
        "name": dataset.name,
        "split": dataset.split,
        "setting": dataset.setting,
        "threshold": dataset.threshold,
        "pairs": len(dataset.pairs),
        "content": digest.hexdigest()[:20],
        run_folder.ROOT: str(dataset.root.resolve()),
    }


def _identity(method: Method, matcher: Matcher | None) -> dict[str, Any]:
    if matcher is None:
        return {"name": method.name}
    return {"name": method.name, "preset": method.preset, **matcher.identity()}
