"""The tab *Match*: click points on a source, find them in targets, look at the maps, put right, take home."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from semcorr.app import export, workspace
from semcorr.app.page import examples, html, match_view, widgets
from semcorr.app.page.match_layout import MatchWidgets, lay_out
from semcorr.app.page.match_run import Runs
from semcorr.app.page.match_view import Change, Chosen, Updates
from semcorr.app.server.limits import read_upload, sweep
from semcorr.app.server.sessions import Session
from semcorr.app.state import AppState
from semcorr.app.workspace import Workspace, contents
from semcorr.errors import SemcorrError
from semcorr.imaging.image import Image


def build(state: AppState) -> None:
    """Lay the tab out and wire it."""
    _wire(state, lay_out(state))


class _Handlers:
    """What the tab's buttons and clicks do, each for the session that asks."""

    def __init__(self, state: AppState, on: MatchWidgets) -> None:
        self._state, self._on = state, on

    # --- steps, which can be undone ---

    def step(
        self,
        words: str,
        change: Change,
        request: gr.Request,
        chosen: Chosen,
        question: Callable[[Workspace], tuple[str, str] | None] = lambda _: None,
    ) -> Updates:
        """Change the workspace and show it, or say why not; ask first, where there is a question (and its yes)."""
        session, on = self._session(request), self._on
        with session.lock:
            if session.is_behind(request.session_hash):
                return self._behind(session, request, chosen)
            try:
                changed = change(session.work)
            except SemcorrError as error:
                # Shown again: a point that was dragged goes back to where it is.
                return {**match_view.shown(on, session, request.session_hash, chosen), on.status: html.bad(str(error))}
            if asked := question(session.work):
                return {on.keeper: match_view.asking(session, *asked, words, change)}
            return self._taken(session, words, changed, request, chosen)

    def _taken(self, session: Session, words: str, changed: Workspace, request: gr.Request, chosen: Chosen) -> Updates:
        session.do(words, changed)
        left = match_view.left_to_find(session.work)
        told = html.note(left) if left else ""
        return {**match_view.shown(self._on, session, request.session_hash, chosen), self._on.status: told}

    def _behind(self, session: Session, request: gr.Request, chosen: Chosen) -> Updates:
        told = "This workspace was changed on another page of this browser. Here it is as it is now: do the step again."
        shown = match_view.shown(self._on, session, request.session_hash, chosen)
        return {**shown, self._on.status: html.note(told)}

    def _session(self, request: gr.Request) -> Session:
        return self._state.sessions.of(request.session_hash)

    def confirm(self, event: gr.EventData, point: str, layer: str, request: gr.Request) -> Updates:
        """Take the step that was asked for."""
        session = self._session(request)
        with session.lock:
            pending, session.pending = session.pending, None
            if pending is None or getattr(event, "token", None) != pending.token:
                return {self._on.status: html.note("Something else was done meanwhile. Do the step again.")}
            try:
                changed = pending.change(session.work)
            except SemcorrError as error:
                return {self._on.status: html.bad(str(error))}
            chosen = Chosen(point=point, layer=layer)
            updates = self._taken(session, pending.words, changed, request, chosen)
            return {**updates, self._on.status: html.note(f"Done: {pending.words}. Undo takes it back.")}

    def refuse(self, request: gr.Request) -> Updates:
        """The user's no."""
        session = self._session(request)
        session.pending = None
        return {self._on.status: html.note("Nothing was changed."), self._on.keeper: match_view.kept(session)}

    def go(self, back: bool) -> Callable[[str, str, gr.Request], Updates]:
        def gone(point: str, layer: str, request: gr.Request) -> Updates:
            session, on = self._session(request), self._on
            chosen = Chosen(point=point, layer=layer)
            with session.lock:
                if session.is_behind(request.session_hash):
                    return self._behind(session, request, chosen)
                words = session.go(back=back)
                none = f"There is nothing to {'undo' if back else 'redo'}."
                told = f"{'Undone' if back else 'Done again'}: {words}. {match_view.left_to_find(session.work)}"
                shown = match_view.shown(on, session, request.session_hash, chosen)
                return {**shown, on.status: html.note(none if words is None else told)}

        return gone

    # --- images and points ---

    def uploads(self, paths: list[str], request: gr.Request) -> tuple[list[Image], list[str]]:
        """Read what was sent; what cannot be read comes back as messages."""
        images, refused = [], []
        sweep(self._state.folder)
        session, most = self._session(request), self._state.limits.targets
        if len(paths) > most:  # before any is decoded: small files may be large pictures
            return [], [f"Expected at most {most} pictures at a time, got {len(paths)}. Send fewer."]
        for path in paths:
            try:
                self._state.sessions.check_room(session)
                images.append(read_upload(path, Path(path).name, self._state.folder, self._state.limits))
            except SemcorrError as error:
                refused.append(str(error))
        return images, refused

    def example(self, category: str) -> Callable[[gr.Request], Updates]:
        def load(request: gr.Request) -> Updates:
            session, made = self._session(request), examples.example(category)

            def change(_: Workspace) -> Workspace:
                session.example = made
                return made

            def question(work: Workspace) -> tuple[str, str] | None:
                if work is session.example or not contents(work):
                    return None
                return match_view.losing(work, "The example takes the place of your"), "Load the example"

            return self.step("example loaded", change, request, Chosen(), question)

        return load

    def source(self, path: str, request: gr.Request) -> Updates:
        images, refused = self.uploads([path], request)
        if refused:
            return {self._on.status: html.bad(refused[0])}

        def question(work: Workspace) -> tuple[str, str] | None:
            if not contents(work):
                return None
            return match_view.losing(work, "Another source removes your"), "Replace the source"

        change: Change = lambda work: workspace.with_source(work, images[0])  # noqa: E731
        return self.step("source replaced", change, request, Chosen(), question)

    def targets(self, paths: list[str], point: str, layer: str, request: gr.Request) -> Updates:
        images, refused = self.uploads(paths, request)
        changed: Updates = {}
        if images:
            change: Change = lambda work: workspace.with_targets(work, images, self._state.limits)  # noqa: E731
            changed = self.step("targets added", change, request, Chosen(point=point, layer=layer))
        return {**changed, self._on.status: html.bad(" ".join(refused))} if refused else changed

    def place(self, event: gr.EventData, point: str, layer: str, request: gr.Request) -> Updates:
        x, y = float(event.x), float(event.y)
        change: Change = lambda work: workspace.add_point(work, x, y, self._state.limits)  # noqa: E731
        return self.step("point added", change, request, Chosen(point=point, layer=layer))

    def drag(self, event: gr.EventData, point: str, layer: str, request: gr.Request) -> Updates:
        index, x, y = int(event.index), float(event.x), float(event.y)
        change: Change = lambda work: workspace.move_point(work, index, x, y)  # noqa: E731
        return self.step("point moved", change, request, Chosen(point=point, layer=layer))

    def delete(self, point: str, layer: str, request: gr.Request) -> Updates:
        index = widgets.point_index(point)
        if index is None:
            return {self._on.status: html.note("Choose the point to delete first: click it.")}

        def question(work: Workspace) -> tuple[str, str] | None:
            count = sum(cell[1] == work.ids[index] for cell in work.decisions)
            if not count:
                return None
            return f"With the point {count} corrections or acceptances go. Undo brings them back.", "Delete the point"

        change: Change = lambda work: workspace.delete_point(work, index)  # noqa: E731
        return self.step("point deleted", change, request, Chosen(layer=layer), question)

    def clear(self, request: gr.Request) -> Updates:
        def question(work: Workspace) -> tuple[str, str] | None:
            return (match_view.losing(work, "This removes your"), "Clear the points") if contents(work) else None

        return self.step("points cleared", workspace.clear_points, request, Chosen(), question)

    def remove(self, point: str, layer: str, request: gr.Request) -> Updates:
        def question(work: Workspace) -> tuple[str, str] | None:
            if not work.matches and not work.decisions:
                return None
            return "All that was found and corrected in the targets goes with them. Undo brings it back.", "Remove them"

        chosen = Chosen(point=point, layer=layer)
        return self.step("targets removed", workspace.without_targets, request, chosen, question)

    def names(self, text: str, point: str, layer: str, request: gr.Request) -> Updates:
        change: Change = lambda work: workspace.rename(work, text)  # noqa: E731
        session = self._session(request)
        changed = self.step("names changed", change, request, Chosen(point=point, layer=layer))
        if text != ", ".join(session.work.names):
            changed.pop(self._on.names, None)  # what was refused stays, to be corrected
        return changed

    # --- matches ---

    def presets(self, method: str) -> Updates:
        presets = self._state.matchers.presets(method)
        return {self._on.preset: gr.Dropdown(choices=presets, value=next(iter(presets), None))}

    def look(self, point: str, layer: str, request: gr.Request) -> Updates:
        session = self._session(request)
        with session.lock:
            return {
                self._on.source: match_view.source_view(session, point),
                self._on.targets: match_view.targets_view(session, point, layer),
            }

    def pick(self, event: gr.EventData, layer: str, request: gr.Request) -> Updates:
        choices = widgets.point_choices(self._session(request).work.labels)
        index = int(event.index) + 1
        if not 0 < index < len(choices):
            return {}
        return {self._on.point: choices[index], **self.look(choices[index], layer, request)}

    def correct(self, event: gr.EventData, point: str, layer: str, request: gr.Request) -> Updates:
        """A click on a target, or a match dragged: it is there now."""
        dragged = getattr(event, "index", None)
        index = widgets.point_index(point) if dragged is None else int(dragged)
        if index is None:
            return {self._on.status: html.note("Choose the match to move first: click it, or drag it.")}
        target, x, y = int(event.panel), float(event.x), float(event.y)
        change: Change = lambda work: workspace.correct(work, target, index, x, y)  # noqa: E731
        return self.step("match corrected", change, request, Chosen(point=str(index + 1), layer=layer))

    def accept(self, point: str, layer: str, request: gr.Request) -> Updates:
        chosen = Chosen(point=point, layer=layer)
        return self.step("matches accepted", lambda work: workspace.accept(work, chosen.index), request, chosen)

    def reset(self, point: str, layer: str, request: gr.Request) -> Updates:
        chosen = Chosen(point=point, layer=layer)

        def question(_: Workspace) -> tuple[str, str] | None:
            whose = "all points" if chosen.index is None else f"point {point}"
            return (
                f"This removes what you corrected and accepted of {whose}; predictions count again, and Find may find "
                "them anew. Undo brings it back.",
                "Discard",
            )

        change: Change = lambda work: workspace.discard_decisions(work, chosen.index)  # noqa: E731
        return self.step("corrections discarded", change, request, chosen, question)

    def export(self, request: gr.Request) -> Updates:
        session = self._session(request)
        with session.lock:
            try:
                files = export.export(session.work)
            except SemcorrError as error:
                return {self._on.status: html.bad(str(error))}
            put = session.files.put
            links = {name: put(files[name], export.media_type(name), name) for name in export.listed(list(files))}
            session.saved = session.work
            left = export.left_out(session.work)
            told = (
                f"{left} of the targets' points are not in the files: they are not found yet, or the point was moved."
            )
            return {
                self._on.files: html.links(links),
                self._on.status: html.note(told) if left else "",
                self._on.keeper: match_view.kept(session),
            }


def _wire(state: AppState, on: MatchWidgets) -> None:
    do, runs = _Handlers(state, on), Runs(state, on)
    quick: dict[str, Any] = {"outputs": on.outputs, "show_progress": "hidden", "api_visibility": "private"}
    at = [on.point, on.layer]
    on.keeper.open(runs.open, None, **quick)
    on.keeper.confirm(do.confirm, at, **quick)
    on.keeper.refuse(do.refuse, None, **quick)
    for category, button in on.examples.items():
        button.click(do.example(category), None, **quick)
    on.source_upload.upload(do.source, on.source_upload, **quick)
    on.targets_upload.upload(do.targets, [on.targets_upload, *at], **quick)
    on.source.place(do.place, at, **quick)
    on.source.drag(do.drag, at, **quick)
    on.source.pick(do.pick, on.layer, **quick)
    on.undo.click(do.go(back=True), at, **quick)
    on.redo.click(do.go(back=False), at, **quick)
    on.delete.click(do.delete, at, **quick)
    on.clear.click(do.clear, None, **quick)
    on.remove.click(do.remove, at, **quick)
    on.names.blur(do.names, [on.names, *at], **quick)
    on.names.submit(do.names, [on.names, *at], **quick)
    on.method.input(do.presets, on.method, **quick)
    on.point.input(do.look, at, **quick)
    on.layer.input(do.look, at, **quick)
    on.targets.pick(do.pick, on.layer, **quick)
    on.targets.place(do.correct, at, **quick)
    on.targets.drag(do.correct, at, **quick)
    on.accept.click(do.accept, at, **quick)
    on.reset.click(do.reset, at, **quick)
    on.export.click(do.export, None, **quick)
    on.find.click(runs.find, [on.method, on.preset, *at], **quick)
    on.cancel.click(runs.cancel, None, None, show_progress="hidden", api_visibility="private")
