"""The tab *Match*: click points on a source, find them in targets, look at the maps, put right, take home."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from semcorr.app import examples, exporting, panels, parts, texts, workspace
from semcorr.app.colours import legend
from semcorr.app.jobs import Job, Status
from semcorr.app.limits import read_upload, sweep
from semcorr.app.match_layout import MatchParts, lay_out
from semcorr.app.serve import Desk
from semcorr.app.sessions import Session
from semcorr.app.work import find, ready
from semcorr.app.workspace import Workspace
from semcorr.errors import SemcorrError
from semcorr.images import Image

Updates = dict[Any, Any]


def build(desk: Desk) -> None:
    """Lay the tab out and wire it."""
    _wire(desk, lay_out(desk))


# --- what the page shows ----------------------------------------------------------------------------------------------


def _shown(on: MatchParts, session: Session, *, point: str | None = None, layer: str | None = None) -> Updates:
    """Everything that depends on the table. ``point`` and ``layer`` are what is chosen, where that stays."""
    work = session.work
    points, layers = parts.point_choices(work.labels), panels.layer_choices(work)
    point = point if point in points and work.result is not None else points[0]
    layer = layer if layer in layers else layers[0]
    found = work.result is not None
    told = ""
    if work.result is not None:
        told = legend(work.result.found[0].matches.calibration)
    return {
        on.source: panels.source_view(session.shelf, work),
        on.targets: _targets(session, point, layer),
        on.point: gr.Dropdown(choices=points if found else points[:1], value=point),
        on.layer: gr.Dropdown(choices=layers, value=layer),
        on.legend: told,
        on.reset: gr.Button(interactive=found),
        on.export: gr.Button(interactive=found),
        on.files: "",
        on.table: texts.table(work),
    }


def _targets(session: Session, point: str | None, layer: str | None) -> panels.View:
    index = parts.point_index(point)
    active = -1 if index is None else index
    return panels.targets_view(session.shelf, session.work, point=index, layer=layer or panels.FUSED, active=active)


# --- what happens -----------------------------------------------------------------------------------------------------


class _Handlers:
    """What the tab's buttons and clicks do, each for the session that asks."""

    def __init__(self, desk: Desk, on: MatchParts) -> None:
        self._desk, self._on = desk, on

    def change(self, change: Callable[[Workspace], Workspace], request: gr.Request) -> Updates:
        """Change the table and show it, or say why not."""
        session = self._desk.sessions.of(request.session_hash)
        with session.lock:
            try:
                session.work = change(session.work)
            except SemcorrError as error:
                return {self._on.status: texts.bad(str(error))}
            return {self._on.status: "", **_shown(self._on, session)}

    def uploads(self, paths: list[str], request: gr.Request) -> tuple[list[Image], list[str]]:
        """Read what was sent; what cannot be read comes back as messages."""
        images, refused = [], []
        sweep(self._desk.folder)
        session, most = self._desk.sessions.of(request.session_hash), self._desk.limits.targets
        if len(paths) > most:  # before any is decoded: small files may be large pictures
            return [], [f"Expected at most {most} pictures at a time, got {len(paths)}. Send fewer."]
        for path in paths:
            try:
                self._desk.sessions.check_room(session)
                images.append(read_upload(path, Path(path).name, self._desk.folder, self._desk.limits))
            except SemcorrError as error:
                refused.append(str(error))
        return images, refused

    def example(self, category: str) -> Callable[[gr.Request], Updates]:
        def load(request: gr.Request) -> Updates:
            made = examples.example(category)
            return {**self.change(lambda _: made, request), self._on.names: ", ".join(made.names)}

        return load

    def source(self, path: str, request: gr.Request) -> Updates:
        images, refused = self.uploads([path], request)
        if refused:
            return {self._on.status: texts.bad(refused[0])}
        return {self._on.names: "", **self.change(lambda work: workspace.with_source(work, images[0]), request)}

    def targets(self, paths: list[str], request: gr.Request) -> Updates:
        images, refused = self.uploads(paths, request)
        changed: Updates = {}
        if images:
            changed = self.change(lambda work: workspace.with_targets(work, images, self._desk.limits), request)
        return {**changed, self._on.status: texts.bad(" ".join(refused))} if refused else changed

    def place(self, event: gr.EventData, request: gr.Request) -> Updates:
        x, y = float(event.x), float(event.y)
        return self.change(lambda work: workspace.add_point(work, x, y, self._desk.limits), request)

    def drag(self, event: gr.EventData, request: gr.Request) -> Updates:
        index, x, y = int(event.index), float(event.x), float(event.y)
        return self.change(lambda work: workspace.move_point(work, index, x, y), request)

    def undo(self, request: gr.Request) -> Updates:
        return self.change(workspace.undo_point, request)

    def clear(self, request: gr.Request) -> Updates:
        return {**self.change(workspace.clear_points, request), self._on.names: ""}

    def remove(self, request: gr.Request) -> Updates:
        return self.change(workspace.without_targets, request)

    def names(self, text: str, point: str, layer: str, request: gr.Request) -> Updates:
        session = self._desk.sessions.of(request.session_hash)
        changed = self.change(lambda work: workspace.rename(work, text), request)
        if len(changed) > 1:
            index = parts.point_index(point)
            kept = None if index is None else parts.point_choices(session.work.labels)[index + 1]
            changed |= _shown(self._on, session, point=kept, layer=layer)
        return changed

    def presets(self, method: str) -> Updates:
        presets = self._desk.models.presets(method)
        return {self._on.preset: gr.Dropdown(choices=presets, value=next(iter(presets), None))}

    def look(self, point: str, layer: str, request: gr.Request) -> Updates:
        session = self._desk.sessions.of(request.session_hash)
        with session.lock:
            return {self._on.targets: _targets(session, point, layer)}

    def pick(self, event: gr.EventData, layer: str, request: gr.Request) -> Updates:
        session = self._desk.sessions.of(request.session_hash)
        with session.lock:
            choice = parts.point_choices(session.work.labels)[int(event.index) + 1]
            return {self._on.point: choice, self._on.targets: _targets(session, choice, layer)}

    def correct(self, event: gr.EventData, point: str, layer: str, request: gr.Request) -> Updates:
        """A click on a target, or a match dragged: it is there now."""
        session = self._desk.sessions.of(request.session_hash)
        dragged = getattr(event, "index", None)
        index = parts.point_index(point) if dragged is None else int(dragged)
        if index is None:
            return {self._on.status: texts.note("Choose the match to move first: click it, or drag it.")}
        x, y = float(event.x), float(event.y)
        with session.lock:
            choice = parts.point_choices(session.work.labels)[index + 1]
            try:
                session.work = workspace.correct(session.work, int(event.panel), index, x, y)
            except SemcorrError as error:
                return {self._on.status: texts.bad(str(error))}
            return {self._on.status: "", **_shown(self._on, session, point=choice, layer=layer)}

    def reset(self, point: str, layer: str, request: gr.Request) -> Updates:
        session = self._desk.sessions.of(request.session_hash)
        with session.lock:
            for target in range(len(session.work.targets)):
                session.work = workspace.uncorrect(session.work, target)
            return _shown(self._on, session, point=point, layer=layer)

    def export(self, request: gr.Request) -> Updates:
        session = self._desk.sessions.of(request.session_hash)
        with session.lock:
            try:
                files = exporting.export(session.work)
            except SemcorrError as error:
                return {self._on.status: texts.bad(str(error))}
            put = session.shelf.put
            links = {name: put(files[name], exporting.media_type(name), name) for name in exporting.listed(list(files))}
            return {self._on.files: texts.links(links)}

    def cancel(self, request: gr.Request) -> None:
        self._desk.sessions.of(request.session_hash).cancel()

    def find(self, method: str, preset: str | None, request: gr.Request) -> Iterator[Updates]:
        """Put the work into the queue and show how it goes until it is done."""
        session, on = self._desk.sessions.of(request.session_hash), self._on
        begun, presets = session.work, self._desk.models.presets(method)
        # The list of presets may still be another method's, where Find was pressed very soon after.
        chosen = preset if preset in presets else next(iter(presets), None)
        label = f"{method}, {chosen}" if chosen else method

        def work(job: Job) -> Any:
            return find(self._desk.models.get(method, chosen), begun, label, job)

        try:
            ready(begun)
            self._desk.sessions.check_room(session)
            job = session.start(self._desk.queue, work)
        except SemcorrError as error:
            yield {on.status: texts.bad(str(error))}
            return
        yield {
            on.find: gr.Button(interactive=False),
            on.cancel: gr.Button(interactive=True),
            on.status: texts.note("…"),
        }
        seen: Any = None
        for status in parts.follow(self._desk, job):
            if not job.finished:
                update: Updates = {on.status: texts.live(status)}
                if status.look_maps is not None and status.look_maps is not seen:
                    seen = status.look_maps
                    update[on.source] = panels.source_view(
                        session.shelf, session.work, looked=status.look_points, maps=status.look_maps
                    )
                yield update
        yield self._ended(session, begun, job.status(), job.result, label)

    def _ended(self, session: Session, begun: Workspace, status: Status, result: Any, label: str) -> Updates:
        on = self._on
        buttons = {on.find: gr.Button(interactive=True), on.cancel: gr.Button(interactive=False)}
        told = {
            "done": texts.note(
                f"Done with {label}. Choose a point, or a layer, to see where it looked. {texts.remarks(result)}"
            ),
            "cancelled": texts.note("Cancelled. The points are still there."),
        }.get(status.state, texts.bad(status.error))
        with session.lock:
            if status.state == "done":
                now = session.work
                if now.source is not begun.source or now.points != begun.points or now.targets != begun.targets:
                    told = texts.bad(
                        "The pictures or points changed meanwhile, so the result was put away. Find again."
                    )
                else:
                    session.work = dataclasses.replace(now, result=result)
            return {**buttons, **_shown(on, session), on.status: told}


def _wire(desk: Desk, on: MatchParts) -> None:
    do = _Handlers(desk, on)
    quick: dict[str, Any] = {"outputs": on.outputs, "show_progress": "hidden", "api_visibility": "private"}
    for category, button in on.examples.items():
        button.click(do.example(category), None, **quick)
    on.source_upload.upload(do.source, on.source_upload, **quick)
    on.targets_upload.upload(do.targets, on.targets_upload, **quick)
    on.source.place(do.place, None, **quick)
    on.source.drag(do.drag, None, **quick)
    on.undo.click(do.undo, None, **quick)
    on.clear.click(do.clear, None, **quick)
    on.remove.click(do.remove, None, **quick)
    shown = [on.point, on.layer]
    on.names.blur(do.names, [on.names, *shown], **quick)
    on.names.submit(do.names, [on.names, *shown], **quick)
    on.method.input(do.presets, on.method, **quick)
    on.point.input(do.look, shown, **quick)
    on.layer.input(do.look, shown, **quick)
    on.targets.pick(do.pick, on.layer, **quick)
    on.targets.place(do.correct, shown, **quick)
    on.targets.drag(do.correct, shown, **quick)
    on.reset.click(do.reset, shown, **quick)
    on.export.click(do.export, None, **quick)
    on.find.click(do.find, [on.method, on.preset], **quick)
    on.cancel.click(do.cancel, None, None, show_progress="hidden", api_visibility="private")
