"""The answers about the tab *Inspect*: runs of the benchmark kit, pair by pair, with truth and heat maps."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.routing import Route

from semcorr.app import runs
from semcorr.app.heat import FUSED, heat_of
from semcorr.app.server.jobs import Job
from semcorr.app.server.session import Session
from semcorr.app.state import AppState
from semcorr.app.view import colour_of, heat_response, image_view, job_view
from semcorr.app.workspace import Prediction
from semcorr.errors import ImageError
from semcorr.evaluation.report.comparability import is_calibrated
from semcorr.evaluation.runs.recompute import load_method

_MAX_PAIRS = 500
"""Pairs in the list; filters show the others."""


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Pairs(_Request):
    run: str
    category: str = runs.EVERY
    outcome: runs.Outcome = "all"


class _Pair(_Request):
    run: str
    index: int


class _Heat(_Pair):
    point: Literal["all"] | Annotated[int, Field(ge=0)]
    layer: str = FUSED


@dataclass(frozen=True, kw_only=True, eq=False)
class _PairMaps:
    """A pair's heat maps, computed again."""

    pair: _Pair
    prediction: Prediction


def routes(state: AppState) -> list[Route]:
    """All routes about runs."""
    answers = _Answers(state)
    return [
        state.route("/api/runs", answers.runs),
        state.route("/api/runs/pairs", answers.pairs),
        state.work_route("/api/runs/pair", answers.pair, post=True),
        state.work_route("/api/runs/maps", answers.maps, post=True),
        state.work_route("/api/runs/heat", answers.heat),
    ]


class _Answers:
    """The answers to requests."""

    def __init__(self, state: AppState) -> None:
        self._state, self._runs = state, runs.OpenRuns(state.runs)

    def runs(self, _: Request, __: bytes) -> Any:
        """The names of all runs."""
        return {"runs": runs.list_runs(self._state.runs)}

    def pairs(self, request: Request, _: bytes) -> Any:
        """The pairs of a run that pass the filters."""
        asked = _Pairs.model_validate(dict(request.query_params))
        opened = self._runs.get(asked.run)
        filtered = runs.select(opened, asked.category, asked.outcome)
        missing = opened.run.expected - len(opened.records)
        message = f"{len(filtered)} of {len(opened.records)} pairs"
        message += f"; the list has the first {_MAX_PAIRS}, filters show others" if len(filtered) > _MAX_PAIRS else ""
        message += f". The run has {missing} to go." if missing > 0 else "."
        return {
            "categories": [runs.EVERY, *opened.categories],
            "outcomes": runs.OUTCOMES,
            "pairs": [
                {"index": opened.records[position].index, "label": runs.label_of(opened, position)}
                for position in filtered[:_MAX_PAIRS]
            ],
            "message": message,
        }

    def pair(self, session: Session, _: Request, body: bytes) -> Any:
        """A pair: its images, its points, and their distance from the truth."""
        asked = _Pair.model_validate_json(body)
        opened = self._runs.get(asked.run)
        position = opened.position(asked.index)
        record = opened.records[position]
        error, source, target = "", None, None
        try:
            source, target = (image_view(session.files, image) for image in runs.load_images(opened, position))
        except ImageError as missing:  # the numbers are shown all the same
            error = str(missing)
        with session.lock:
            maps = session.inspected
        has_maps = maps is not None and maps.pair == asked
        return {
            "source": source,
            "target": target,
            "source_points": [
                {**_named(record.names[index], index), "x": x, "y": y}
                for index, (x, y) in enumerate(_plain(record.source_points))
            ],
            "points": [] if record.error else _points(opened, position),
            "within": runs.ALPHA,
            "calibrated": is_calibrated(opened.run),
            "error": f"This pair failed: {record.error}" if record.error else error,
            "note": "" if record.names else "This pair has no common visible points: there is nothing to measure.",
            "layers": _layers(maps.prediction) if has_maps else [],
        }

    def maps(self, session: Session, _: Request, body: bytes) -> Any:
        """Begin to locate a pair's points again, for their heat maps."""
        asked = _Pair.model_validate_json(body)
        opened = self._runs.get(asked.run)
        position = opened.position(asked.index)
        pair = opened.records[position].pair
        self._state.sessions.check_room(session)

        def work(job: Job) -> None:
            key = json.dumps(opened.run.settings["method"], sort_keys=True)
            matcher = self._state.matchers.keep(key, lambda: load_method(opened.run, local_files_only=True))
            prediction = runs.compute_maps(opened, position, matcher, job)
            with session.lock:
                session.inspected = _PairMaps(pair=asked, prediction=prediction)

        done = f"{pair} is located again with the run's model and settings: choose a point and a layer."
        session.start(self._state.queue, "maps", work, lambda _: done)
        return {"job": job_view(session, self._state.queue)}

    def heat(self, session: Session, request: Request, _: bytes) -> Any:
        """The heat map of a pair's target."""
        asked = _Heat.model_validate(dict(request.query_params))
        with session.lock:
            maps = session.inspected
        if maps is None or maps.pair != _Pair(run=asked.run, index=asked.index):
            return heat_response(None)
        point = None if asked.point == "all" else asked.point
        return heat_response(heat_of(maps.prediction, point, asked.layer))


def _named(name: str, index: int) -> dict[str, Any]:
    return {"id": index, "number": index + 1, "label": name, "colour": colour_of(index)}


def _points(opened: runs.OpenRun, position: int) -> list[dict[str, Any]]:
    """The predicted points of a pair, with the true ones."""
    record, right = opened.records[position], opened.right[position]
    columns = (record.predicted, record.confidence, record.truth, runs.distances(record))
    return [
        {
            **_named(record.names[index], index),
            "x": x,
            "y": y,
            "confidence": confidence,
            "truth": truth,
            "error": distance,
            "right": bool(right[index]),
        }
        for index, ((x, y), confidence, truth, distance) in enumerate(zip(*map(_plain, columns), strict=True))
    ]


def _plain(values: np.ndarray) -> Any:
    """Numbers for JSON: None for one that is not finite."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return plain.tolist()


def _layers(prediction: Prediction) -> list[str]:
    return [FUSED, *(prediction.matches.layer_names if prediction.layers is not None else ())]
