"""The tab *Inspect*: a run of the benchmark kit, pair by pair, with the ground truth and the heat maps."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import numpy as np

from semcorr.app import runs
from semcorr.app.page import html, viewer, widgets
from semcorr.app.page.colours import confidence_colour
from semcorr.app.page.widgets import Updates
from semcorr.app.server.jobs import Job
from semcorr.app.server.sessions import Session
from semcorr.app.state import AppState
from semcorr.app.workspace import Prediction
from semcorr.errors import RunError, SemcorrError
from semcorr.evaluation.runs.recompute import load_method
from semcorr.evaluation.runs.records import PairRecord

_MAX_PAIRS = 500
"""Pairs in the list; filters show the others."""
_EMPTY = "Choose a run and a pair."
_NO_RUNS = (
    "There are no runs in the folder that the page was started with. Make one with semcorr eval, and start the page "
    "with --runs FOLDER."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspected:
    """What a session inspects.

    Attributes:
        opened: The run.
        filtered: The indices of the pairs that pass the filters.
        index: The selected pair; None for none.
        prediction: Its result with heat maps, once it is computed.
    """

    opened: runs.OpenRun
    filtered: tuple[int, ...] = ()
    index: int | None = None
    prediction: Prediction | None = None


@dataclass(frozen=True, kw_only=True)
class _Widgets(widgets.JobWidgets):
    """The tab's components."""

    run: gr.Dropdown
    reload: gr.Button
    category: gr.Dropdown
    outcome: gr.Dropdown
    pair: gr.Dropdown
    previous: gr.Button
    next: gr.Button
    point: gr.Dropdown
    layer: gr.Dropdown
    source: gr.HTML
    target: gr.HTML
    table: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """The components that handlers update."""
        return [
            *(self.run, self.category, self.outcome, self.pair, self.start, self.cancel, self.point, self.layer),
            *(self.status, self.source, self.target, self.table),
        ]


def build(state: AppState) -> None:
    """Lay the tab out and wire it."""
    names = runs.list_runs(state.runs)
    with gr.Row(elem_classes="sc-line"):
        made = _lists(names)
    made["status"] = gr.HTML("" if names else html.note(_NO_RUNS), elem_id="inspect-status", padding=False)
    with gr.Row(equal_height=False):
        made["source"] = widgets.viewer("inspect-source", viewer.view([], empty=_EMPTY))
        made["target"] = widgets.viewer("inspect-target", viewer.view([], empty=_EMPTY))
    with gr.Row(elem_classes="sc-line"):
        made |= _map_controls()
    made["table"] = gr.HTML("", elem_id="inspect-table", padding=False)
    _wire(state, _Widgets(**made))


def _lists(names: list[str]) -> dict[str, Any]:
    return {
        "run": gr.Dropdown(names, value=None, label="Run", elem_id="run", min_width=180, scale=2),
        "reload": gr.Button("Reload list", size="sm", elem_id="runs-reload", min_width=90),
        "category": gr.Dropdown([runs.EVERY], value=runs.EVERY, label="Category", elem_id="category", min_width=120),
        "outcome": gr.Dropdown(list(runs.OUTCOMES), value="all", label="Outcome", elem_id="outcome", min_width=150),
        "pair": gr.Dropdown([], value=None, label="Pair", elem_id="pair", min_width=260, scale=3),
        "previous": gr.Button("‹ Previous", size="sm", elem_id="previous", min_width=70),
        "next": gr.Button("Next ›", size="sm", elem_id="next", min_width=70),
    }


def _map_controls() -> dict[str, Any]:
    made: dict[str, Any] = {
        "start": gr.Button("Make heat maps", size="sm", variant="primary", elem_id="maps", interactive=False),
        "cancel": gr.Button("Cancel", size="sm", variant="stop", elem_id="maps-cancel", interactive=False),
        "point": gr.Dropdown([widgets.ALL_POINTS], value=widgets.ALL_POINTS, label="Heat map of", elem_id="map-point"),
        "layer": gr.Dropdown([viewer.FUSED], value=viewer.FUSED, label="Layer", elem_id="map-layer"),
    }
    widgets.opacity()
    return made


class _Handlers(widgets.Handlers):
    """The handlers of the tab's lists and buttons."""

    def __init__(self, state: AppState, ui: _Widgets) -> None:
        super().__init__(state)
        self._ui = ui

    def reload(self) -> Updates:
        names = runs.list_runs(self._state.runs)
        return {self._ui.run: gr.Dropdown(choices=names), self._ui.status: "" if names else html.note(_NO_RUNS)}

    def open(self, name: str, request: gr.Request) -> Updates:
        session, ui = self._session(request), self._ui
        try:
            opened = runs.open_run(self._state.runs, name)
        except SemcorrError as error:
            return widgets.refused(ui.status, error)
        session.inspected = Inspected(opened=opened)
        return {
            ui.category: gr.Dropdown(choices=[runs.EVERY, *opened.categories], value=runs.EVERY),
            ui.outcome: gr.Dropdown(value="all"),
            **self._filter(session, runs.EVERY, "all"),
        }

    def filter(self, category: str, outcome: runs.Outcome, request: gr.Request) -> Updates:
        session = self._session(request)
        return {} if session.inspected is None else self._filter(session, category, outcome)

    def _filter(self, session: Session, category: str, outcome: runs.Outcome) -> Updates:
        opened = session.inspected.opened
        filtered = runs.select(opened, category, outcome)
        session.inspected = Inspected(opened=opened, filtered=tuple(filtered))
        choices = [(runs.label_of(opened, index), str(index)) for index in filtered[:_MAX_PAIRS]]
        missing = opened.run.expected - len(opened.records)
        message = f"{len(filtered)} of {len(opened.records)} pairs"
        message += f"; the list has the first {_MAX_PAIRS}, filters show others" if len(filtered) > _MAX_PAIRS else ""
        message += f". The run has {missing} to go." if missing > 0 else ""
        first = choices[0][1] if choices else None
        return {
            self._ui.pair: gr.Dropdown(choices=choices, value=first),
            **self._show_pair(session, first),
            self._ui.status: html.note(message),
        }

    def pair(self, value: str | None, request: gr.Request) -> Updates:
        return self._show_pair(self._session(request), value)

    def step(self, by: int) -> Callable[[str | None, gr.Request], Updates]:
        def stepped(value: str | None, request: gr.Request) -> Updates:
            session = self._session(request)
            if session.inspected is None or not session.inspected.filtered:
                return {}
            listed = session.inspected.filtered[:_MAX_PAIRS]
            position = listed.index(int(value)) if value is not None and int(value) in listed else -by
            selected = str(listed[(position + by) % len(listed)])
            return {self._ui.pair: selected, **self._show_pair(session, selected)}

        return stepped

    def _show_pair(self, session: Session, value: str | None) -> Updates:
        ui = self._ui
        if session.inspected is None or value is None or int(value) not in session.inspected.filtered:
            nothing = viewer.view([], empty="No pair is left." if session.inspected else _EMPTY)
            return {ui.source: nothing, ui.target: nothing, ui.table: "", ui.start: gr.Button(interactive=False)}
        session.inspected = replace(session.inspected, index=int(value), prediction=None)
        opened, index = session.inspected.opened, int(value)
        points = widgets.point_choices(opened.records[index].names)
        return {
            ui.start: gr.Button(interactive=bool(opened.records[index].names) and not opened.records[index].error),
            ui.point: gr.Dropdown(choices=points, value=points[0]),
            ui.layer: gr.Dropdown(choices=[viewer.FUSED], value=viewer.FUSED),
            ui.table: _table(opened, index),
            **self._show_images(session),
        }

    def _show_images(self, session: Session, point: str | None = None, layer: str = viewer.FUSED) -> Updates:
        inspected: Inspected = session.inspected
        assert inspected.index is not None  # noqa: S101  # only called for a pair
        record, right = inspected.opened.records[inspected.index], inspected.opened.right[inspected.index]
        try:
            source, target = runs.load_images(inspected.opened, inspected.index)
        except SemcorrError as error:
            return widgets.refused(self._ui.status, error)
        prediction = inspected.prediction
        heat = None if prediction is None else viewer.heat_of(prediction, widgets.point_index(point), layer)
        source_marks = [
            viewer.mark(index, float(x), float(y), record.names[index])
            for index, (x, y) in enumerate(record.source_points)
        ]
        marks = [] if record.error else [_target_mark(record, right, index) for index in range(len(record.names))]
        title = f"target: {record.target} (rings: the truth)"
        left = viewer.panel(session.files, source, source_marks, title=f"source: {record.source}")
        right_panel = viewer.panel(session.files, target, marks, title=title, heat=heat)
        return {self._ui.source: viewer.view([left], empty=""), self._ui.target: viewer.view([right_panel], empty="")}

    def show_maps(self, point: str, layer: str, request: gr.Request) -> Updates:
        session = self._session(request)
        if session.inspected is None or session.inspected.index is None:
            return {}
        return self._show_images(session, point, layer)

    def compute_maps(self, request: gr.Request) -> Iterator[Updates]:
        """Locate the pair's points again, for the heat maps."""
        session, ui = self._session(request), self._ui
        inspected: Inspected | None = session.inspected

        def work(job: Job) -> Prediction:
            if inspected is None or inspected.index is None:
                raise RunError("Choose a pair first.")
            run = inspected.opened.run
            key = json.dumps(run.settings["method"], sort_keys=True)
            matcher = self._state.matchers.keep(key, lambda: load_method(run, local_files_only=True))
            return runs.compute_maps(inspected.opened, inspected.index, matcher, job)

        try:
            job = session.start(self._state.queue, work)
        except SemcorrError as error:
            yield widgets.refused(ui.status, error)
            return
        status = yield from self._follow(job, ui)
        if status.state != "done":
            yield widgets.ended(ui, status)
        elif inspected is not None and session.inspected is inspected:
            session.inspected = replace(inspected, prediction=job.result)
            layers = [viewer.FUSED, *(job.result.matches.layer_names if job.result.layers is not None else ())]
            message = "Done again with the run's model and settings: choose a point and a layer."
            yield {
                **widgets.ended(ui, status, message),
                ui.layer: gr.Dropdown(choices=layers, value=layers[0]),
                **self._show_images(session),
            }
        else:
            yield widgets.ended(ui, status, "Another pair was chosen meanwhile.")


def _target_mark(record: PairRecord, right: np.ndarray, index: int) -> dict[str, Any]:
    confidence = float(record.confidence[index])
    x, y = record.predicted[index]
    title = f"{record.names[index]}: {'right' if right[index] else 'wrong'}, confidence {confidence:.2f}"
    return {
        **viewer.mark(index, float(x), float(y), title),
        "dot": confidence_colour(confidence),
        "truth": [float(value) for value in record.truth[index]],
    }


def _table(opened: runs.OpenRun, index: int) -> str:
    record, right = opened.records[index], opened.right[index]
    if record.error:
        return html.bad(f"This pair failed: {record.error}")
    if not record.names:
        return html.note("This pair has no common visible points: there is nothing to measure.")
    rows = [
        (str(number), name, f"{distance:.1f}", f"{confidence:.2f}", "right" if is_right else "wrong")
        for number, (name, distance, confidence, is_right) in enumerate(
            zip(record.names, runs.distances(record), record.confidence, right, strict=True), start=1
        )
    ]
    return html.grid(("point", "name", "error, px", "confidence", f"within {runs.ALPHA:g}"), rows, numeric=(2, 3))


def _wire(state: AppState, ui: _Widgets) -> None:
    handlers = _Handlers(state, ui)
    options = widgets.event_options(ui.outputs)
    ui.reload.click(handlers.reload, None, **options)
    ui.run.input(handlers.open, ui.run, **options)
    ui.category.input(handlers.filter, [ui.category, ui.outcome], **options)
    ui.outcome.input(handlers.filter, [ui.category, ui.outcome], **options)
    ui.pair.input(handlers.pair, ui.pair, **options)
    ui.previous.click(handlers.step(-1), ui.pair, **options)
    ui.next.click(handlers.step(1), ui.pair, **options)
    ui.point.input(handlers.show_maps, [ui.point, ui.layer], **options)
    ui.layer.input(handlers.show_maps, [ui.point, ui.layer], **options)
    ui.start.click(handlers.compute_maps, None, **options)
    widgets.wire_cancel(ui.cancel, handlers)
