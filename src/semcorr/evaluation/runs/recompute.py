"""Heat maps of a run, computed again with the method that it was made with.

Records keep the peaks alone: heat maps of thousands of pairs would fill a disk.
"""

import contextlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.errors import ImageError, QueryError, RunError
from semcorr.evaluation.runs.records import PairRecord, Run
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.registry import methods
from semcorr.matchers.results import Query
from semcorr.matchers.wrappers.calibration import calibrated
from semcorr.progress import Progress


def load_method(run: Run, *, local_files_only: bool = False) -> Matcher:
    """Load what a run was made with: method, model, settings, precision and pose alignment.

    Confidence is calibrated if it was by the package's own calibration. Another calibration's file is not kept with a
    run: its confidence is then the method's own. Points and heat maps do not depend on it.

    Args:
        run: The run.
        local_files_only: Never download the model.

    Raises:
        RunError: The run is of a baseline, which has no heat maps, or of a class that is not installed as a method; or
            its model has other weights now.
        SemcorrError: The method or its model cannot be loaded.
    """
    method: dict[str, Any] = run.settings["method"]
    name = str(method.get("name"))
    if ":" in name:  # nothing is imported because a file says so
        raise RunError(
            f"{run.name} was made with --method {name}: heat maps of a run need a method that is installed. Leave "
            "--heatmaps out, or add the method by an entry point."
        )
    if "settings" not in method or name not in methods():
        raise RunError(f"{run.name} has no heat maps: {name!r} is a guess that reads no image.")
    # Runs of attention from before there was a choice do not say that peaks were cells.
    before = {"peak": "cell"} if "layers" in method["settings"] else {}
    options = {
        "revision": method.get("model_revision"),
        "dtype": method.get("dtype", "float32"),
        **({"quantize": method["quantize"]} if "quantize" in method else {}),
        "align_pose": bool(method.get("align_pose")),
        "local_files_only": local_files_only,
        "calibration": "none",
        **before,
        **method["settings"],
    }
    matcher = load_matcher(name, str(method["model_id"]), **options)
    if matcher.identity().get("model_fingerprint") != method.get("model_fingerprint"):
        raise RunError(f"{method['model_id']!r} is not the model that {run.name} was made with: its weights differ.")
    own = calibrated(matcher, name)
    same = own.identity().get("calibration") == method.get("calibration")
    return own if same else matcher


class QueriesOf:
    """The queries of a run's sources: kept ones (``semcorr eval --keep-queries``), or described again.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._folder = run.folder / "queries"

    def __call__(
        self, matcher: Matcher, record: PairRecord, source: Image, *, progress: Progress | None = None
    ) -> Query:
        """The query of a pair's points; to describe it again takes as long as it did.

        Raises:
            SemcorrError: As the method does.
        """
        points = np.clip(record.source_points, 0, record.source_size)
        kept = self._kept_query(source.sha256, points)
        return kept or matcher.describe(source, points, names=record.names, progress=progress)

    @cached_property
    def _kept(self) -> dict[str, list[Path]]:
        """Files of kept queries, by the hash of their image."""
        files: dict[str, list[Path]] = {}
        for path in sorted(self._folder.glob("*.safetensors")):
            # A query that another version wrote, or that is damaged, is made again.
            with contextlib.suppress(QueryError):
                files.setdefault(Query.load(path).image_sha256, []).append(path)
        return files

    def _kept_query(self, sha256: str, points: Float[np.ndarray, "points 2"]) -> Query | None:
        """A kept query of this image, cut to these points: a point's result does not depend on the others."""
        for path in self._kept.get(sha256, []):
            query = Query.load(path)
            rows = {tuple(point): row for row, point in enumerate(query.points.tolist())}
            chosen = [rows.get(tuple(point)) for point in points.tolist()]
            if None not in chosen:
                return query.take([row for row in chosen if row is not None])
        return None


class HeatmapsOf:
    """Computes the heat map of one of a pair's points, by the method, the model and the settings of the run.

    Raises:
        RunError, SemcorrError: As :func:`load_method`.
    """

    def __init__(self, run: Run) -> None:
        self._root = Path(run.settings["dataset"]["root"])
        self._matcher, self._queries = load_method(run), QueriesOf(run)
        self._maps: dict[int, np.ndarray | None] = {}

    def __call__(self, record: PairRecord, index: int) -> np.ndarray | None:
        """The heat map (height, width) over the target of the pair's ``index``-th point.

        None for a pair that failed, and for one whose images cannot be read any more.
        """
        if record.error or not len(record.predicted):
            return None
        if record.index not in self._maps:
            self._maps[record.index] = self._heatmaps(record)
        maps = self._maps[record.index]
        return None if maps is None else maps[index]

    def with_unmatched(self, record: PairRecord) -> Float[np.ndarray, "points height width"] | None:
        """The heat maps of a pair's common points, and after them those of the points that the source shows alone.

        With a geometric prior all of them are located together, so that a map may be another than the run's.
        """
        alone = np.array(list(record.source_unmatched.values()), dtype=np.float64).reshape(-1, 2)
        points = np.concatenate([record.source_points, alone])
        return self._heatmaps(replace(record, source_points=points, names=(*record.names, *record.source_unmatched)))

    def _heatmaps(self, record: PairRecord) -> Float[np.ndarray, "points height width"] | None:
        try:
            source, target = load_image(self._root / record.source), load_image(self._root / record.target)
        except ImageError:
            return None
        return self._matcher.locate(self._queries(self._matcher, record, source), target).heatmaps
