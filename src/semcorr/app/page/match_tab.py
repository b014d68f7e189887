"""The tab *Match*: click points on a source, find them in targets, see the heat maps, correct, export."""

from collections.abc import Callable

import gradio as gr

from semcorr.app import export, workspace
from semcorr.app.matchers import images_of, model_of
from semcorr.app.page import examples, html, match_view, widgets
from semcorr.app.page.match_layout import MatchWidgets, lay_out
from semcorr.app.page.match_run import RunHandlers
from semcorr.app.page.match_view import Change, Question, Selection
from semcorr.app.page.widgets import Updates
from semcorr.app.server.sessions import Session
from semcorr.app.state import AppState
from semcorr.app.workspace import Workspace
from semcorr.errors import SemcorrError
from semcorr.imaging.image import Image
from semcorr.matchers.spec import MatcherSpec

Ask = Callable[[Workspace], Question | None]
"""The question before a step; None where nothing would be lost."""


def build(state: AppState) -> None:
    """Lay the tab out and wire it."""
    _wire(state, lay_out(state))


class _Handlers(widgets.Handlers):
    """The handlers of the tab's buttons, lists and clicks."""

    def __init__(self, state: AppState, ui: MatchWidgets) -> None:
        super().__init__(state)
        self._ui = ui

    # --- steps, which can be undone ---

    def _step(
        self, name: str, change: Change, request: gr.Request, selection: Selection, ask: Ask = lambda _: None
    ) -> Updates:
        """Change the workspace and show it, or show the error; ask first where something would be lost."""
        session, ui = self._session(request), self._ui
        with session.lock:
            if session.is_behind(request.session_hash):
                return self._show_behind(session, request, selection)
            try:
                changed = change(session.work)
            except SemcorrError as error:
                # Shown again: a point that was dragged returns to its location.
                return {**self._show(session, request, selection), **widgets.refused(ui.status, error)}
            if question := ask(session.work):
                return {ui.keeper: match_view.ask(session, question, name, change)}
            return self._take(session, name, changed, request, selection)

    def _take(
        self, session: Session, name: str, changed: Workspace, request: gr.Request, selection: Selection
    ) -> Updates:
        before = session.work
        session.do(name, changed)
        other = changed.source is not before.source or len(changed.targets) > len(before.targets)
        said = [self._model_note(changed) if other else "", match_view.left_to_find(session.work)]
        note = " ".join(filter(None, said))
        return {**self._show(session, request, selection), self._ui.status: html.note(note) if note else ""}

    def _model_note(self, work: Workspace) -> str:
        """What the images will be matched on, in a sentence."""
        spec = self._state.matchers.usual(example=work.example)
        return f"These images are matched on {model_of(spec)}, a model for {images_of(spec)}."

    def _show(self, session: Session, request: gr.Request, selection: Selection) -> Updates:
        return match_view.show(self._ui, self._state.matchers, session, request.session_hash, selection)

    def _show_behind(self, session: Session, request: gr.Request, selection: Selection) -> Updates:
        message = (
            "This workspace was changed on another page of this browser. Here is its present state: repeat the step."
        )
        return {**self._show(session, request, selection), self._ui.status: html.note(message)}

    def confirm(self, event: gr.EventData, point: str, layer: str, request: gr.Request) -> Updates:
        """Take the step that was confirmed."""
        session = self._session(request)
        with session.lock:
            pending, session.pending = session.pending, None
            if pending is None or getattr(event, "token", None) != pending.token:
                return {self._ui.status: html.note("Something else was done meanwhile. Repeat the step.")}
            try:
                changed = pending.change(session.work)
            except SemcorrError as error:
                return widgets.refused(self._ui.status, error)
            updates = self._take(session, pending.name, changed, request, Selection(point=point, layer=layer))
            return {**updates, self._ui.status: html.note(f"Done: {pending.name}. Undo takes it back.")}

    def refuse(self, request: gr.Request) -> Updates:
        """Do not take the step."""
        session = self._session(request)
        session.pending = None
        return {self._ui.status: html.note("Nothing was changed."), self._ui.keeper: match_view.keeper_value(session)}

    def undo(self, point: str, layer: str, request: gr.Request) -> Updates:
        return self._go(Selection(point=point, layer=layer), request, back=True)

    def redo(self, point: str, layer: str, request: gr.Request) -> Updates:
        return self._go(Selection(point=point, layer=layer), request, back=False)

    def _go(self, selection: Selection, request: gr.Request, *, back: bool) -> Updates:
        session = self._session(request)
        with session.lock:
            if session.is_behind(request.session_hash):
                return self._show_behind(session, request, selection)
            name = session.go(back=back)
            message = f"{'Undone' if back else 'Done again'}: {name}. {match_view.left_to_find(session.work)}"
            if name is None:
                message = f"There is nothing to {'undo' if back else 'redo'}."
            return {**self._show(session, request, selection), self._ui.status: html.note(message)}

    # --- images and points ---

    def _read_uploads(self, paths: list[str], request: gr.Request) -> tuple[list[Image], list[str]]:
        """Read uploaded images; return those that can be read, and an error message for each of the others."""
        session, limit = self._session(request), self._state.limits.targets
        if len(paths) > limit:  # before any is decoded: small files may be large images
            return [], [f"Expected at most {limit} images at a time, got {len(paths)}. Send fewer."]
        images, errors = [], []
        for path in paths:
            try:
                images.append(self._read_upload(path, session))
            except SemcorrError as error:
                errors.append(str(error))
        return images, errors

    def example(self, category: str) -> Callable[[gr.Request], Updates]:
        def load(request: gr.Request) -> Updates:
            session, example = self._session(request), examples.example(category)

            def change(_: Workspace) -> Workspace:
                session.example = example
                return example

            def ask(work: Workspace) -> Question | None:
                if work is session.example:
                    return None
                return match_view.question_before_loss(work, "The example replaces your", "Load the example")

            return self._step("example loaded", change, request, Selection(), ask)

        return load

    def source(self, path: str, request: gr.Request) -> Updates:
        images, errors = self._read_uploads([path], request)
        if errors:
            return {self._ui.status: html.bad(errors[0])}
        return self._step(
            "source replaced",
            lambda work: workspace.replace_source(work, images[0]),
            request,
            Selection(),
            lambda work: match_view.question_before_loss(work, "Another source removes your", "Replace the source"),
        )

    def targets(self, paths: list[str], point: str, layer: str, request: gr.Request) -> Updates:
        images, errors = self._read_uploads(paths, request)
        updates: Updates = {}
        if images:
            updates = self._step(
                "targets added",
                lambda work: workspace.add_targets(work, images, self._state.limits),
                request,
                Selection(point=point, layer=layer),
            )
        return {**updates, self._ui.status: html.bad(" ".join(errors))} if errors else updates

    def add_point(self, event: gr.EventData, point: str, layer: str, request: gr.Request) -> Updates:
        x, y = float(event.x), float(event.y)
        return self._step(
            "point added",
            lambda work: workspace.add_point(work, x, y, self._state.limits),
            request,
            Selection(point=point, layer=layer),
        )

    def move_point(self, event: gr.EventData, point: str, layer: str, request: gr.Request) -> Updates:
        index, x, y = int(event.index), float(event.x), float(event.y)
        return self._step(
            "point moved",
            lambda work: workspace.move_point(work, index, x, y),
            request,
            Selection(point=point, layer=layer),
        )

    def delete_point(self, point: str, layer: str, request: gr.Request) -> Updates:
        index = widgets.point_index(point)
        if index is None:
            return {self._ui.status: html.note("Choose the point to delete first: click it.")}

        def ask(work: Workspace) -> Question | None:
            count = sum(cell[1] == work.ids[index] for cell in work.decisions)
            text = f"With the point {count} corrections or acceptances are lost. Undo brings them back."
            return Question(text=text, yes="Delete the point") if count else None

        selection = Selection(layer=layer)
        return self._step("point deleted", lambda work: workspace.delete_point(work, index), request, selection, ask)

    def clear_points(self, request: gr.Request) -> Updates:
        def ask(work: Workspace) -> Question | None:
            return match_view.question_before_loss(work, "This removes your", "Clear the points")

        return self._step("points cleared", workspace.clear_points, request, Selection(), ask)

    def remove_targets(self, point: str, layer: str, request: gr.Request) -> Updates:
        text = "All matches and corrections in the targets are lost with them. Undo brings them back."

        def ask(work: Workspace) -> Question | None:
            return Question(text=text, yes="Remove them") if work.matches or work.decisions else None

        selection = Selection(point=point, layer=layer)
        return self._step("targets removed", workspace.remove_targets, request, selection, ask)

    def name_points(self, text: str, point: str, layer: str, request: gr.Request) -> Updates:
        selection = Selection(point=point, layer=layer)
        updates = self._step("names changed", lambda work: workspace.name_points(work, text), request, selection)
        if text != ", ".join(self._session(request).work.names):
            updates.pop(self._ui.names, None)  # refused names stay in the field, for the user to correct
        return updates

    # --- matches ---

    def presets(self, method: str) -> Updates:
        presets = self._state.matchers.presets(method)
        return {self._ui.preset: gr.Dropdown(choices=presets, value=MatcherSpec(method=method).preset)}

    def show_maps(self, point: str, layer: str, request: gr.Request) -> Updates:
        session = self._session(request)
        with session.lock:
            return {
                self._ui.source: match_view.source_view(session, point),
                self._ui.targets: match_view.targets_view(session, point, layer),
            }

    def pick(self, event: gr.EventData, layer: str, request: gr.Request) -> Updates:
        choices = widgets.point_choices(self._session(request).work.labels)
        index = int(event.index) + 1
        if not 0 < index < len(choices):
            return {}
        return {self._ui.point: choices[index], **self.show_maps(choices[index], layer, request)}

    def correct(self, event: gr.EventData, point: str, layer: str, request: gr.Request) -> Updates:
        """Move the selected match to a click on a target, or a match to where it was dragged."""
        dragged = getattr(event, "index", None)
        index = widgets.point_index(point) if dragged is None else int(dragged)
        if index is None:
            return {self._ui.status: html.note("Choose the match to move first: click it, or drag it.")}
        target, x, y = int(event.panel), float(event.x), float(event.y)
        return self._step(
            "match corrected",
            lambda work: workspace.correct(work, target, index, x, y),
            request,
            Selection(point=str(index + 1), layer=layer),
        )

    def accept(self, point: str, layer: str, request: gr.Request) -> Updates:
        selection = Selection(point=point, layer=layer)
        return self._step("matches accepted", lambda work: workspace.accept(work, selection.index), request, selection)

    def discard(self, point: str, layer: str, request: gr.Request) -> Updates:
        selection = Selection(point=point, layer=layer)
        whose = "all points" if selection.index is None else f"point {point}"
        question = Question(
            text=f"This removes your corrections and acceptances of {whose}; predictions count again, and Find may "
            "find them anew. Undo brings them back.",
            yes="Discard",
        )
        return self._step(
            "corrections discarded",
            lambda work: workspace.discard_decisions(work, selection.index),
            request,
            selection,
            lambda _: question,
        )

    def export(self, request: gr.Request) -> Updates:
        session, ui = self._session(request), self._ui
        with session.lock:
            try:
                files = export.export(session.work)
            except SemcorrError as error:
                return widgets.refused(ui.status, error)
            links = {
                name: session.files.add(files[name], export.media_type(name), name)
                for name in export.in_order(list(files))
            }
            session.saved = session.work
            left = export.count_left_out(session.work)
            message = (
                f"{left} of the targets' points are not in the files: they are not found yet, or the point was moved."
            )
            return {
                ui.files: html.links(links),
                ui.status: html.note(message) if left else "",
                ui.keeper: match_view.keeper_value(session),
            }


def _wire(state: AppState, ui: MatchWidgets) -> None:
    handlers, runs = _Handlers(state, ui), RunHandlers(state, ui)
    options = widgets.event_options(ui.outputs)
    selection = [ui.point, ui.layer]
    ui.keeper.open(runs.open, None, **options)
    ui.keeper.confirm(handlers.confirm, selection, **options)
    ui.keeper.refuse(handlers.refuse, None, **options)
    for category, button in ui.examples.items():
        button.click(handlers.example(category), None, **options)
    ui.source_upload.upload(handlers.source, ui.source_upload, **options)
    ui.targets_upload.upload(handlers.targets, [ui.targets_upload, *selection], **options)
    ui.source.mark(handlers.add_point, selection, **options)
    ui.source.drag(handlers.move_point, selection, **options)
    ui.source.pick(handlers.pick, ui.layer, **options)
    ui.undo.click(handlers.undo, selection, **options)
    ui.redo.click(handlers.redo, selection, **options)
    ui.delete.click(handlers.delete_point, selection, **options)
    ui.clear.click(handlers.clear_points, None, **options)
    ui.remove.click(handlers.remove_targets, selection, **options)
    ui.names.blur(handlers.name_points, [ui.names, *selection], **options)
    ui.names.submit(handlers.name_points, [ui.names, *selection], **options)
    ui.method.input(handlers.presets, ui.method, **options)
    ui.point.input(handlers.show_maps, selection, **options)
    ui.layer.input(handlers.show_maps, selection, **options)
    ui.targets.pick(handlers.pick, ui.layer, **options)
    ui.targets.mark(handlers.correct, selection, **options)
    ui.targets.drag(handlers.correct, selection, **options)
    ui.accept.click(handlers.accept, selection, **options)
    ui.discard.click(handlers.discard, selection, **options)
    ui.export.click(handlers.export, None, **options)
    ui.start.click(runs.find, [ui.method, ui.preset, *selection], **options)
    widgets.wire_cancel(ui.cancel, runs)
