"""Runs of the tab *Match*, and loading the page: it shows all that its browser had before, a run included."""

from collections.abc import Iterator

import gradio as gr

from semcorr.app import workspace
from semcorr.app.find import check_ready, find
from semcorr.app.matchers import images_of, label_of
from semcorr.app.page import html, match_view, viewer, widgets
from semcorr.app.page.match_layout import WELCOME, MatchWidgets
from semcorr.app.page.match_view import Selection
from semcorr.app.page.widgets import Updates
from semcorr.app.server.jobs import Job, Status
from semcorr.app.server.sessions import Session
from semcorr.app.state import AppState
from semcorr.app.workspace import FindResult, contents
from semcorr.errors import SemcorrError
from semcorr.matchers.spec import MatcherSpec


class RunHandlers(widgets.Handlers):
    """The handlers of *Find* and *Cancel*, and of loading the page."""

    def __init__(self, state: AppState, ui: MatchWidgets) -> None:
        super().__init__(state)
        self._ui = ui

    def open(self, event: gr.EventData, request: gr.Request) -> Iterator[Updates]:
        """Show what the browser of a loaded page had before; follow a run that is under way."""
        key, page = getattr(event, "key", None), request.session_hash or ""
        session, known = self._state.sessions.open(page, key if isinstance(key, str) else None)
        yield self._restore(session, page, known=known, held=bool(getattr(event, "held", False)))
        if session.job is not None and session.busy and session.finding:
            yield from self._follow_run(session, session.job, page, Selection())

    def _restore(self, session: Session, page: str, *, known: bool, held: bool) -> Updates:
        """Show a session on a page that was loaded; ``held`` says that its browser left something on the server."""
        ui, warning = self._ui, self._state.sessions.warning()
        with session.lock:
            if session.pages == (page,):
                session.inspected = session.words_image = None  # those tabs start anew
            message = html.note(f"{WELCOME} {warning}")
            if known and not session.empty:
                kept = contents(session.work) or "no points yet"
                message = html.note(f"Your workspace is as you left it: {kept}. {warning}")
            elif not known and held:
                message = html.bad(
                    "Your earlier workspace is no longer on this server: the server was restarted, or the workspace "
                    f"made room for others or was closed for more than {self._state.limits.hours:g} hours."
                )
            updates = match_view.show(ui, self._state.matchers, session, page, Selection())
            return {**updates, ui.status: message, ui.keeper: match_view.keeper_value(session, key=session.key)}

    def find(self, method: str, preset: str | None, point: str, layer: str, request: gr.Request) -> Iterator[Updates]:
        """Add the run to the queue, and show its progress and result."""
        session = self._session(request)
        start = session.work
        spec = self._selected(method, preset, example=start.example)
        label = label_of(spec)

        def work(job: Job) -> tuple[FindResult, int]:
            result = find(self._state.matchers.get(spec), start, label, job)
            # Here and not where the page waits for it: the page may have been closed.
            with session.lock:
                merged, dropped = workspace.merge(session.work, result)
                session.history.do("matches found", merged)
            return result, dropped

        try:
            check_ready(start, label)
            self._state.sessions.check_room(session)
            job = session.start(self._state.queue, work, finding=label)
            session.methods[start.example] = (spec.method, spec.preset)
        except SemcorrError as error:
            yield widgets.refused(self._ui.status, error)
            return
        yield from self._follow_run(session, job, request.session_hash or "", Selection(point=point, layer=layer))

    def _selected(self, method: str, preset: str | None, *, example: bool) -> MatcherSpec:
        """What is selected; where Find is pressed right after a change, the lists may still be the former ones."""
        matchers = self._state.matchers
        if method not in matchers.methods(example=example):
            return matchers.usual(example=example)
        return matchers.offered(method, preset if preset in matchers.presets(method) else None, example=example)

    def _follow_run(self, session: Session, job: Job, page: str, selection: Selection) -> Iterator[Updates]:
        shown = None

        def preview(status: Status) -> Updates:
            nonlocal shown
            if status.preview_maps is None or status.preview_maps is shown:
                return {}
            shown = status.preview_maps
            return {self._ui.source: viewer.source_view(session.files, session.work, preview=shown)}

        status = yield from self._follow(job, self._ui, preview)
        cancelled = "Cancelled. Points, matches and corrections are as they were."
        with session.lock:
            updates = match_view.show(self._ui, self._state.matchers, session, page, selection)
            updates |= widgets.ended(self._ui, status, self._done_message(session, job), cancelled)
        yield updates

    def _done_message(self, session: Session, job: Job) -> str:
        """The message after a run that succeeded."""
        if job.result is None:
            return ""
        result, dropped = job.result
        images = images_of(self._state.matchers.usual(example=result.start.example))
        sentences = [f"Done with {result.label} (for {images}). Select a point or a layer to see its heat maps."]
        if dropped:
            sentences.append(f"{dropped} matches were for points or targets that changed meanwhile, and were dropped.")
        sentences += [
            match_view.left_to_find(session.work),
            html.summarize_warnings(result.warnings),
            self._state.sessions.warning(),
        ]
        return " ".join(filter(None, sentences))
