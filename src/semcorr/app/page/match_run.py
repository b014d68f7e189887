"""Runs of the tab *Match*, and what a page shows when it is loaded: all that its browser had, a run included."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from semcorr.app import workspace
from semcorr.app.find import find, ready
from semcorr.app.page import html, match_view, viewer, widgets
from semcorr.app.page.match_layout import WELCOME, MatchWidgets
from semcorr.app.page.match_view import Chosen, Updates
from semcorr.app.server.jobs import Job
from semcorr.app.server.sessions import Session
from semcorr.app.state import AppState
from semcorr.app.workspace import contents
from semcorr.errors import SemcorrError


class Runs:
    """What *Find* and *Cancel* do, and what the page does when it is loaded."""

    def __init__(self, state: AppState, on: MatchWidgets) -> None:
        self._state, self._on = state, on

    def open(self, event: gr.EventData, request: gr.Request) -> Iterator[Updates]:
        """The page was loaded: what the browser had is there again, a run under way included."""
        key, page = getattr(event, "key", None), request.session_hash or ""
        session, known = self._state.sessions.open(page, key if isinstance(key, str) else None)
        yield self._back(session, page, known=known, held=bool(getattr(event, "held", False)))
        if session.job is not None and session.busy and session.finding:
            yield from self._follow(session, session.job, page, Chosen())

    def _back(self, session: Session, page: str, *, known: bool, held: bool) -> Updates:
        """What a page that was loaded shows; ``held`` says that its browser left something here."""
        with session.lock:
            if session.pages == (page,):
                session.inspected = session.words_image = None  # those tabs begin anew
            told = html.note(f"{WELCOME} {self._state.sessions.warning()}")
            if known and not session.empty:
                what = contents(session.work) or "no points yet"
                told = html.note(f"Your workspace is as you left it: {what}. {self._state.sessions.warning()}")
            elif not known and held:
                told = html.bad(
                    "Your earlier workspace is no longer on this server: the server was restarted, or the workspace "
                    f"made room for others or was closed for more than {self._state.limits.hours:g} hours."
                )
            on, shown = self._on, match_view.shown(self._on, session, page, Chosen())
            if session.method is not None:  # with another, Find would find everything anew
                method, preset = session.method
                shown[on.method] = method
                shown[on.preset] = gr.Dropdown(choices=self._state.matchers.presets(method), value=preset)
            return {**shown, on.status: told, on.keeper: match_view.kept(session, key=session.key)}

    def cancel(self, request: gr.Request) -> None:
        """Stop the user's work at its next step."""
        self._state.sessions.of(request.session_hash).cancel()

    def find(self, method: str, preset: str | None, point: str, layer: str, request: gr.Request) -> Iterator[Updates]:
        """Put the work into the queue and show how it goes until it is done."""
        session, on = self._state.sessions.of(request.session_hash), self._on
        begun, presets = session.work, self._state.matchers.presets(method)
        # The list of presets may still be another method's, where Find was pressed very soon after.
        chosen = preset if preset in presets else next(iter(presets), None)
        label = f"{method}, {chosen}" if chosen else method

        def work(job: Job) -> tuple[workspace.FindResult, int]:
            outcome = find(self._state.matchers.get(method, chosen), begun, label, job)
            # Here and not where the page waits for it: the page may have been left.
            with session.lock:
                merged, changed = workspace.merge(session.work, outcome)
                session.history.do("matches found", merged)
            return outcome, changed

        try:
            ready(begun, label)
            self._state.sessions.check_room(session)
            job = session.start(self._state.queue, work, finding=label)
            session.method = (method, chosen)
        except SemcorrError as error:
            yield {on.status: html.bad(str(error))}
            return
        yield from self._follow(session, job, request.session_hash or "", Chosen(point=point, layer=layer))

    def _follow(self, session: Session, job: Job, page: str, chosen: Chosen) -> Iterator[Updates]:
        on = self._on
        yield {
            on.find: gr.Button(interactive=False),
            on.cancel: gr.Button(interactive=True),
            on.status: html.note("…"),
        }
        seen: Any = None
        for status in widgets.follow(self._state, job):
            if not job.finished:
                update: Updates = {on.status: html.live(status)}
                if status.look_maps is not None and status.look_maps is not seen:
                    seen = status.look_maps
                    update[on.source] = viewer.source_view(
                        session.files, session.work, looked=status.look_points, maps=status.look_maps
                    )
                yield update
        yield self._ended(session, job, page, chosen)

    def _ended(self, session: Session, job: Job, page: str, chosen: Chosen) -> Updates:
        on, status = self._on, job.status()
        told = html.bad(status.error)
        if status.state == "cancelled":
            told = html.note("Cancelled. Points, matches and corrections are as they were.")
        elif status.state == "done":
            outcome, changed = job.result
            words = f"Done with {outcome.label}. Choose a point, or a layer, to see where it looked."
            if changed:
                words += f" {changed} matches were for points or targets that changed meanwhile, and were put away."
            more = (
                match_view.left_to_find(session.work),
                html.remarks(outcome.remarks),
                self._state.sessions.warning(),
            )
            told = html.note(" ".join([words, *filter(None, more)]))
        with session.lock:
            return {
                **match_view.shown(on, session, page, chosen),
                on.find: gr.Button(interactive=True),
                on.cancel: gr.Button(interactive=False),
                on.status: told,
            }
