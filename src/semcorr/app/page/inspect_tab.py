"""The tab *Inspect*: a run of the benchmark kit, pair by pair, with the truth and the maps."""

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from semcorr.app import runs
from semcorr.app.page import html as texts
from semcorr.app.page import viewer, widgets
from semcorr.app.page.colours import confidence_colour, hex_colour
from semcorr.app.server.jobs import Job
from semcorr.app.server.sessions import Session
from semcorr.app.state import AppState
from semcorr.app.workspace import Prediction
from semcorr.errors import RunError, SemcorrError
from semcorr.evaluation.runs.recompute import load_method
from semcorr.visualization.style import point_colour

Updates = dict[Any, Any]
_MOST = 500
"""Pairs in the list; filters bring the others forth."""
_EMPTY = "Choose a run and a pair."


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspected:
    """What a session looks at: a run, its pairs that the filters leave, one of them, and that one's maps if made."""

    opened: runs.OpenRun
    places: tuple[int, ...]
    place: int | None = None
    found: Prediction | None = None


@dataclass(frozen=True, kw_only=True)
class _Widgets:
    """The tab's components."""

    run: gr.Dropdown
    again: gr.Button
    category: gr.Dropdown
    outcome: gr.Dropdown
    pair: gr.Dropdown
    before: gr.Button
    after: gr.Button
    maps: gr.Button
    cancel: gr.Button
    point: gr.Dropdown
    layer: gr.Dropdown
    status: gr.HTML
    source: gr.HTML
    target: gr.HTML
    table: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """All that any function changes."""
        return [
            *(self.run, self.category, self.outcome, self.pair, self.maps, self.cancel, self.point, self.layer),
            *(self.status, self.source, self.target, self.table),
        ]


def build(state: AppState) -> None:
    """Lay the tab out and wire it."""
    made: dict[str, Any] = {}
    names = runs.list_runs(state.runs)
    with gr.Row(elem_classes="sc-line"):
        made["run"] = gr.Dropdown(names, value=None, label="Run", elem_id="run", min_width=180, scale=2)
        made["again"] = gr.Button("Look again", size="sm", elem_id="runs-again", min_width=90)
        made["category"] = gr.Dropdown(
            [runs.EVERY], value=runs.EVERY, label="Category", elem_id="category", min_width=120
        )
        made["outcome"] = gr.Dropdown(
            list(runs.OUTCOMES), value="all", label="Outcome", elem_id="outcome", min_width=150
        )
        made["pair"] = gr.Dropdown([], value=None, label="Pair", elem_id="pair", min_width=260, scale=3)
        made["before"] = gr.Button("‹ Previous", size="sm", elem_id="before", min_width=70)
        made["after"] = gr.Button("Next ›", size="sm", elem_id="after", min_width=70)
    hint = "" if names else texts.note(_no_runs())
    made["status"] = gr.HTML(hint, elem_id="inspect-status", padding=False)
    with gr.Row(equal_height=False):
        made["source"] = widgets.viewer("inspect-source", viewer.view([], empty=_EMPTY))
        made["target"] = widgets.viewer("inspect-target", viewer.view([], empty=_EMPTY))
    with gr.Row(elem_classes="sc-line"):
        made["maps"] = gr.Button("Make heat maps", size="sm", variant="primary", elem_id="maps", interactive=False)
        made["cancel"] = gr.Button("Cancel", size="sm", variant="stop", elem_id="maps-cancel", interactive=False)
        made["point"] = gr.Dropdown(
            [widgets.ALL_POINTS], value=widgets.ALL_POINTS, label="Heat map of", elem_id="map-point"
        )
        made["layer"] = gr.Dropdown([viewer.FUSED], value=viewer.FUSED, label="Layer", elem_id="map-layer")
        widgets.opacity()
    made["table"] = gr.HTML("", elem_id="inspect-table", padding=False)
    _wire(state, _Widgets(**made))


def _no_runs() -> str:
    return (
        "There are no runs in the folder that the page was started with. Make one with semcorr eval, and start the "
        "page with --runs FOLDER."
    )


class _Handlers:
    """What the tab's lists and buttons do, each for the session that asks."""

    def __init__(self, state: AppState, on: _Widgets) -> None:
        self._state, self._on = state, on

    def again(self) -> Updates:
        names = runs.list_runs(self._state.runs)
        return {self._on.run: gr.Dropdown(choices=names), self._on.status: "" if names else texts.note(_no_runs())}

    def open(self, name: str, request: gr.Request) -> Updates:
        session, on = self._state.sessions.of(request.session_hash), self._on
        try:
            opened = runs.open_run(self._state.runs, name)
        except SemcorrError as error:
            return {on.status: texts.bad(str(error))}
        session.inspected = Inspected(opened=opened, places=())
        categories = [runs.EVERY, *opened.categories]
        return {
            on.category: gr.Dropdown(choices=categories, value=runs.EVERY),
            on.outcome: gr.Dropdown(value="all"),
            **self._filtered(session, runs.EVERY, "all"),
        }

    def filter(self, category: str, outcome: runs.Outcome, request: gr.Request) -> Updates:
        session = self._state.sessions.of(request.session_hash)
        return {} if session.inspected is None else self._filtered(session, category, outcome)

    def _filtered(self, session: Session, category: str, outcome: runs.Outcome) -> Updates:
        on, opened = self._on, session.inspected.opened
        places = runs.select(opened, category, outcome)
        session.inspected = Inspected(opened=opened, places=tuple(places))
        choices = [(runs.label_of(opened, place), str(place)) for place in places[:_MOST]]
        told = f"{len(places)} of {len(opened.records)} pairs"
        told += f"; the list has the first {_MOST}, the filters bring others" if len(places) > _MOST else ""
        told += f". The run has {opened.run.expected - len(opened.records)} to go." if not self._whole(opened) else ""
        first = choices[0][1] if choices else None
        return {
            on.pair: gr.Dropdown(choices=choices, value=first),
            **self._pair(session, first),
            on.status: texts.note(told),
        }

    def _whole(self, opened: runs.OpenRun) -> bool:
        return len(opened.records) >= opened.run.expected

    def pair(self, value: str | None, request: gr.Request) -> Updates:
        return self._pair(self._state.sessions.of(request.session_hash), value)

    def step(self, by: int) -> Any:
        def stepped(value: str | None, request: gr.Request) -> Updates:
            session = self._state.sessions.of(request.session_hash)
            if session.inspected is None or not session.inspected.places:
                return {}
            places = session.inspected.places[:_MOST]
            at = places.index(int(value)) if value is not None and int(value) in places else -by
            chosen = str(places[(at + by) % len(places)])
            return {self._on.pair: chosen, **self._pair(session, chosen)}

        return stepped

    def _pair(self, session: Session, value: str | None) -> Updates:
        on = self._on
        nothing = viewer.view([], empty="No pair is left." if session.inspected else _EMPTY)
        if session.inspected is None or value is None or int(value) not in session.inspected.places:
            return {on.source: nothing, on.target: nothing, on.table: "", on.maps: gr.Button(interactive=False)}
        opened, place = session.inspected.opened, int(value)
        session.inspected = Inspected(opened=opened, places=session.inspected.places, place=place)
        points = widgets.point_choices(opened.records[place].names)
        return {
            on.maps: gr.Button(interactive=bool(opened.records[place].names) and not opened.records[place].error),
            on.point: gr.Dropdown(choices=points, value=points[0]),
            on.layer: gr.Dropdown(choices=[viewer.FUSED], value=viewer.FUSED),
            on.table: _table(opened, place),
            **self._pictures(session),
        }

    def _pictures(self, session: Session, point: str | None = None, layer: str = viewer.FUSED) -> Updates:
        looked: Inspected = session.inspected
        assert looked.place is not None  # noqa: S101  # only called for a pair
        record, right = looked.opened.records[looked.place], looked.opened.right[looked.place]
        try:
            source, target = runs.pictures_of(looked.opened, looked.place)
        except SemcorrError as error:
            return {self._on.status: texts.bad(str(error))}
        heat = None if looked.found is None else viewer.heat_of(looked.found, widgets.point_index(point), layer)
        given = [_source_point(index, place, record.names[index]) for index, place in enumerate(record.source_points)]
        found = [] if record.error else [_target_point(record, right, index) for index in range(len(record.names))]
        left = viewer.panel(session.files, source, given, title=f"source: {record.source}")
        side = viewer.panel(
            session.files, target, found, title=f"target: {record.target} (rings: the truth)", heat=heat
        )
        return {self._on.source: viewer.view([left], empty=""), self._on.target: viewer.view([side], empty="")}

    def look(self, point: str, layer: str, request: gr.Request) -> Updates:
        session = self._state.sessions.of(request.session_hash)
        if session.inspected is None or session.inspected.place is None:
            return {}
        return self._pictures(session, point, layer)

    def cancel(self, request: gr.Request) -> None:
        self._state.sessions.of(request.session_hash).cancel()

    def maps(self, request: gr.Request) -> Iterator[Updates]:
        """Do the pair again, for its maps."""
        session, on = self._state.sessions.of(request.session_hash), self._on
        looked: Inspected | None = session.inspected

        def work(job: Job) -> Prediction:
            if looked is None or looked.place is None:
                raise RunError("Choose a pair first.")
            method = json.dumps(looked.opened.run.settings["method"], sort_keys=True)
            matcher = self._state.matchers.keep(method, lambda: load_method(looked.opened.run, local_files_only=True))
            return runs.maps_of(looked.opened, looked.place, matcher, job)

        try:
            job = session.start(self._state.queue, work)
        except SemcorrError as error:
            yield {on.status: texts.bad(str(error))}
            return
        yield {on.maps: gr.Button(interactive=False), on.cancel: gr.Button(interactive=True)}
        for status in widgets.follow(self._state, job):
            if not job.finished:
                yield {on.status: texts.live(status)}
        buttons = {on.maps: gr.Button(interactive=True), on.cancel: gr.Button(interactive=False)}
        status = job.status()
        if status.state != "done":
            told = texts.note("Cancelled.") if status.state == "cancelled" else texts.bad(status.error)
            yield {**buttons, on.status: told}
        elif session.inspected is looked and looked is not None:
            session.inspected = Inspected(
                opened=looked.opened, places=looked.places, place=looked.place, found=job.result
            )
            layers = [viewer.FUSED, *(job.result.matches.layer_names if job.result.layers is not None else ())]
            yield {
                **buttons,
                on.status: texts.note("Done again with the run's model and settings: choose a point and a layer."),
                on.layer: gr.Dropdown(choices=layers, value=layers[0]),
                **self._pictures(session),
            }
        else:
            yield {**buttons, on.status: texts.note("Another pair was chosen meanwhile.")}


def _source_point(index: int, place: np.ndarray, name: str) -> dict[str, Any]:
    colour = hex_colour(point_colour(index))
    return {"x": float(place[0]), "y": float(place[1]), "label": str(index + 1), "colour": colour, "title": name}


def _target_point(record: Any, right: np.ndarray, index: int) -> dict[str, Any]:
    confidence = float(record.confidence[index])
    told = "right" if right[index] else "wrong"
    return {
        **_source_point(index, record.predicted[index], f"{record.names[index]}: {told}, confidence {confidence:.2f}"),
        "dot": confidence_colour(confidence),
        "truth": [float(value) for value in record.truth[index]],
    }


def _table(opened: runs.OpenRun, place: int) -> str:
    record, right = opened.records[place], opened.right[place]
    if record.error:
        return texts.bad(f"This pair failed: {record.error}")
    if not record.names:
        return texts.note("This pair has no common visible points: there is nothing to measure.")
    rows = "".join(
        f'<tr><td>{index + 1}</td><td>{html.escape(name)}</td><td class="sc-number">{away:.1f}</td>'
        f'<td class="sc-number">{record.confidence[index]:.2f}</td><td>{"right" if right[index] else "wrong"}</td></tr>'
        for index, (name, away) in enumerate(zip(record.names, runs.distances(record), strict=True))
    )
    heads = "".join(
        f"<th>{head}</th>" for head in ("point", "name", "error, px", "confidence", f"within {runs.ALPHA:g}")
    )
    return f'<table class="sc-table"><tr>{heads}</tr>{rows}</table>'


def _wire(state: AppState, on: _Widgets) -> None:
    do = _Handlers(state, on)
    quick: dict[str, Any] = {"outputs": on.outputs, "show_progress": "hidden", "api_visibility": "private"}
    on.again.click(do.again, None, **quick)
    on.run.input(do.open, on.run, **quick)
    on.category.input(do.filter, [on.category, on.outcome], **quick)
    on.outcome.input(do.filter, [on.category, on.outcome], **quick)
    on.pair.input(do.pair, on.pair, **quick)
    on.before.click(do.step(-1), on.pair, **quick)
    on.after.click(do.step(1), on.pair, **quick)
    on.point.input(do.look, [on.point, on.layer], **quick)
    on.layer.input(do.look, [on.point, on.layer], **quick)
    on.maps.click(do.maps, None, **quick)
    on.cancel.click(do.cancel, None, None, show_progress="hidden", api_visibility="private")
