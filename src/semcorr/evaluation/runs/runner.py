"""Run a method over a data set: each source is described once, each pair is one record, and a stopped run continues."""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.errors import ImageError, RunError, SemcorrError
from semcorr.evaluation.runs import folder as run_folder
from semcorr.evaluation.runs.baselines import BASELINES, guessed
from semcorr.evaluation.runs.records import UNUSED, PairRecord, Run
from semcorr.evaluation.runs.units import Unit, units_of
from semcorr.executors import run_units
from semcorr.imaging.domain import statistics
from semcorr.imaging.image import Image, load_image
from semcorr.keypoints.declared_size import declared_scale
from semcorr.matchers.base import Matcher
from semcorr.matchers.query_store import QueryStore
from semcorr.matchers.registry import find_method
from semcorr.matchers.results import Diagnostics, Query
from semcorr.matchers.spec import MatcherSpec
from semcorr.matchers.wrappers.calibration import OWN_DATA, for_data_set
from semcorr.models.environment import environment
from semcorr.models.memory import out_of_memory_message
from semcorr.progress import Progress
from semcorr.settings import earlier_names
from semcorr.storage import record_store
from semcorr.storage.record_store import Shard

ALIKE = 0.9
"""The fraction of a folder's images that must be like a calibration's for the calibration to hold there."""


def load_spec(spec: MatcherSpec) -> Matcher | None:
    """Load the matcher of a run; None for a baseline, which needs none.

    Raises:
        SettingsError: There is no method or baseline of that name.
        SemcorrError: As :meth:`semcorr.matchers.spec.MatcherSpec.load`.
    """
    find_method(spec.method, also=BASELINES)
    return None if spec.method in BASELINES else spec.load()


def run(
    dataset: Dataset,
    method: MatcherSpec,
    folder: Path,
    *,
    shard: Shard | None = None,
    workers: int = 1,
    ray: str | None = None,
    keep_queries: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Do all pairs of a shard that ``folder`` does not hold yet, and return everything that it then holds.

    A pair that fails becomes a record with its error, and the run continues; the same call tries it again. Results
    depend on the data set, the method and its seed, never on order, shards, workers or stops; except for rounding,
    where other threads or other free memory make a method add up its numbers in another order.

    Args:
        dataset: The pairs.
        method: The method to evaluate.
        folder: The run's folder, new or of the very same settings.
        shard: Which part of the sources; all by default.
        workers: The number of processes, each with a matcher of its own; they share this one's threads.
        ray: Address of a Ray cluster to work on; see :func:`semcorr.executors.on_ray.on_ray`.
        keep_queries: Whether to keep the queries of sources when their pairs are done.
        progress: Called as ``("pairs", done, in all)``; raise from it to stop.

    Raises:
        RunError: The folder holds another run, is in use, or cannot be written; or a worker was killed.
        SettingsError, ModelError: The method cannot be loaded.
    """
    shard = shard or Shard()
    if workers < 1:
        raise RunError(f"Expected at least 1 worker, got {workers}.")
    loaded = load_spec(method)
    if loaded is not None:
        method = method.as_loaded(loaded)  # other processes may run where another precision would be chosen
    calibrated = calibration_holds(loaded, dataset)
    matcher = for_data_set(loaded, calibrated)
    settings = {"dataset": _dataset_settings(dataset), "method": _identity(method, matcher)}
    if loaded is not None and loaded.calibration is not None and not calibrated:
        settings["method"][UNUSED] = str(loaded.calibration)
    run_folder.open_run(folder, settings, len(dataset.pairs))
    elsewhere = workers > 1 or ray is not None
    if elsewhere:
        loaded = matcher = None  # Each process loads its own; this one was only needed for its identity.
    with record_store.locked(folder, shard):
        result = run_folder.read_run(folder)
        units = list(units_of(dataset, shard, result.done))
        if units:
            job = _RunJob(
                method=method,
                folder=folder,
                shard=shard,
                root=dataset.root,
                keep_queries=keep_queries,
                calibrated=calibrated,
            )
            started = None if elsewhere else job.started(matcher)
            indices = run_units(job, units, workers=workers, ray=ray, started=started, progress=progress)
            result = run_folder.read_written(folder, _counted_off(indices, units, progress))
    if not keep_queries and len(result.done) == result.expected:
        shutil.rmtree(folder / "queries", ignore_errors=True)  # a kill may have left some
    return result


def _counted_off(indices: Iterator[int], units: Sequence[Unit], progress: Progress | None) -> set[int]:
    """The indices of the pairs, as they are done."""
    total, written = sum(len(unit.indices) for unit in units), set[int]()
    for index in indices:
        written.add(index)
        if progress:
            progress("pairs", len(written), total)
    return written


def calibration_holds(matcher: Matcher | None, dataset: Dataset) -> bool:
    """Whether a method's confidence on a data set is a probability: its calibration is of that data set.

    For a folder of the user's own its images decide: nearly all of them (``ALIKE``) must be like those that the
    calibration was fitted to.
    """
    if matcher is None or matcher.calibration is None:
        return False
    if dataset.name != OWN_DATA:
        return matcher.calibration.holds_for(dataset.name)
    domain = matcher.calibration.domain
    if domain is None:
        return False
    files = sorted({side.path for pair in dataset.pairs for side in (pair.source, pair.target)})
    alike: list[bool] = []
    for file in files:
        with contextlib.suppress(ImageError):  # its pairs will fail
            alike.append(domain.contains(statistics(load_image(file))))
    return len(alike) > 0 and sum(alike) >= ALIKE * len(alike)


@dataclass(frozen=True, kw_only=True)
class _RunJob:
    """What every process of a run needs to know (:class:`semcorr.executors.Job`)."""

    method: MatcherSpec
    folder: Path
    shard: Shard
    root: Path
    keep_queries: bool
    calibrated: bool

    def start(self) -> Callable[[Unit, Progress | None], Iterator[int]]:
        """In a worker process: with a matcher and a file of its own."""
        return self.started(for_data_set(load_spec(self.method), self.calibrated))

    def started(self, matcher: Matcher | None) -> Callable[[Unit, Progress | None], Iterator[int]]:
        """With a matcher that is loaded already."""
        model = None if matcher is None else matcher.unwrapped.model
        file = run_folder.new_record_file(self.folder, self.shard, environment(model))
        return lambda unit, progress: self.pairs(matcher, unit, file, progress)

    def pairs(self, matcher: Matcher | None, unit: Unit, file: Path, progress: Progress | None = None) -> Iterator[int]:
        """Do a unit; yield the index of every pair when its record is written."""
        query, seconds, problem = None, 0.0, ""
        store, name = QueryStore(self.folder / "queries"), ""
        if matcher is not None and len(unit.points):
            try:
                image = _load_side(unit.pairs[0].source)
                name = _query_key(image.sha256, unit, matcher)
                query = store.load(name, image, unit.points)
                if query is None:
                    began = time.perf_counter()
                    query = matcher.describe(image, unit.points, names=unit.names, progress=progress)
                    seconds = time.perf_counter() - began
                    store.save(name, query)
            except RunError:
                raise
            except Exception as error:  # whatever a method raises, the other sources are done
                problem = _message(error)
        failed = False
        for index, pair, rows in zip(unit.indices, unit.pairs, unit.rows, strict=True):
            record = self._unpredicted(index, pair, describe_seconds=seconds, error=problem)
            if not problem and rows:
                record = self._predict(record, matcher, query, rows, pair)
            run_folder.append(file, record)
            seconds, failed = 0.0, failed or bool(record.error)
            yield index
        # Once a unit: a killed process loses nothing that it wrote, only a power cut does, and then no more than this.
        record_store.settle(file)
        # A pair that failed is tried again; the query of its source should then be there.
        if name and not self.keep_queries and not failed:
            store.remove(name)

    def _predict(
        self, record: PairRecord, matcher: Matcher | None, query: Query | None, rows: Sequence[int], pair: Pair
    ) -> PairRecord:
        try:
            if matcher is None or query is None:
                return guessed(record, BASELINES[self.method.method])
            image, own = _load_side(pair.target), query.take(rows)
            began = time.perf_counter()
            matches = matcher.locate(own, image, trace=True)
            seconds = time.perf_counter() - began
        except Exception as error:  # whatever a method raises, the other pairs are done
            return replace(record, error=_message(error))
        return replace(
            record,
            predicted=matches.points,
            confidence=matches.confidence,
            **({} if matches.diagnostics is None else _diagnostics(matches.diagnostics)),
            locate_seconds=seconds,
            warnings=(*query.warnings, *matches.warnings),
        )

    def _unpredicted(self, index: int, pair: Pair, *, describe_seconds: float, error: str) -> PairRecord:
        """The record of a pair before its points are located."""

        def name(path: Path) -> str:
            return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()

        return PairRecord(
            index=index,
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
            source_unmatched=pair.source.unmatched,
            target_unmatched=pair.target.unmatched,
            predicted=np.zeros((0, 2)),
            confidence=np.zeros(0),
            describe_seconds=describe_seconds,
            error=error,
        )


def _load_side(side: PairImage) -> Image:
    """A side's image, whose size must be that of its coordinates; swapped sides are left to the data set's reader."""
    image = load_image(side.path)
    declared_scale(side.path.name, side.size, image.size)
    return image


def _diagnostics(diagnostics: Diagnostics) -> dict[str, Any]:
    """A record's points by layer, and after 1, 2, ... rounds and crops, by that number."""

    def by_number(points: Float[np.ndarray, "points count 2"] | None) -> dict[str, np.ndarray]:
        return {} if points is None else {str(n + 1): points[:, n] for n in range(points.shape[1])}

    layers = dict(zip(diagnostics.layer_names, diagnostics.layer_points.swapaxes(0, 1), strict=True))
    return {
        "layers": layers,
        "rounds": by_number(diagnostics.after_rounds),
        "crops": by_number(diagnostics.after_crops),
    }


def _query_key(image_sha256: str, unit: Unit, matcher: Matcher) -> str:
    """The name of a query's file: by the image's content, the points, and all that results depend on."""
    # Under the names of version 0.1, so that queries that it kept are used.
    identity = earlier_names(matcher.identity())
    text = json.dumps([image_sha256, unit.points.tolist(), identity], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _message(error: Exception) -> str:
    if isinstance(error, SemcorrError):
        return str(error)
    return out_of_memory_message(error) or f"{type(error).__name__}: {error}"


def _dataset_settings(dataset: Dataset) -> dict[str, Any]:
    """The settings of the pairs: all of their numbers go into ``content``."""
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


def _identity(method: MatcherSpec, matcher: Matcher | None) -> dict[str, Any]:
    if matcher is None:
        return {"name": method.method}
    return {"name": method.method, "preset": method.preset, **matcher.identity()}
