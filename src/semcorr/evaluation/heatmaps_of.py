"""Heat maps of a run's pairs, made again: records keep peaks, for maps of thousands of pairs would fill a disk."""

from pathlib import Path
from typing import Any, cast

import numpy as np

from semcorr.diffusion import DiffusionModel
from semcorr.diffusion.model import DType
from semcorr.errors import RunError
from semcorr.evaluation.records import PairRecord, Run
from semcorr.images import load_image
from semcorr.matching import Query
from semcorr.prompt import PromptMatcher
from semcorr.prompt.settings import PromptSettings


class HeatmapsOf:
    """Gives the map of one of a pair's points, by the model and the settings of the run.

    A point's result does not depend on the others, so only what is asked for is described: from the run's kept queries
    where there are some (``semcorr eval --keep-queries``), else anew, which takes as long as it took.

    Raises:
        RunError: the run is of a baseline, or its model is not the one that is found under its name.
    """

    def __init__(self, run: Run) -> None:
        method: dict[str, Any] = run.settings["method"]
        if "settings" not in method:
            raise RunError(f"{run.name} has no heat maps: {method.get('name')!r} is a guess.")
        self._root = Path(run.settings["dataset"]["root"])
        self._kept = sorted((run.folder / "queries").glob("*.safetensors"))
        model = DiffusionModel.from_pretrained(
            method["model_id"], revision=method["model_revision"], dtype=cast("DType", method["dtype"])
        )
        if model.fingerprint != method["model_fingerprint"]:
            raise RunError(
                f"{method['model_id']!r} is not the model that {run.name} was made with: its weights differ."
            )
        self._matcher = PromptMatcher(model, PromptSettings.from_dict(method["settings"]))
        self._maps: dict[int, np.ndarray] = {}

    def __call__(self, record: PairRecord, index: int) -> np.ndarray | None:
        """The map (height, width) over the target of the pair's ``index``-th point; None for a pair that failed."""
        if record.error or not len(record.predicted):
            return None
        if record.index not in self._maps:
            source = load_image(self._root / record.source)
            points = np.clip(record.source_points, 0, record.source_size)
            query = self._known(source.sha256, points) or self._matcher.describe(source, points)
            self._maps[record.index] = self._matcher.locate(query, self._root / record.target).heatmaps
        return self._maps[record.index][index]

    def _known(self, sha256: str, points: np.ndarray) -> Query | None:
        """A kept query of this picture, cut to these points."""
        for path in self._kept:
            query = Query.load(path)
            if query.image_sha256 != sha256:
                continue
            places = {tuple(point): place for place, point in enumerate(query.points.tolist())}
            wanted = [places.get(tuple(point)) for point in points.tolist()]
            if None not in wanted:
                return query.take([place for place in wanted if place is not None])
        return None
