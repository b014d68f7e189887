"""What the tab *Match* shows of a session, and what it asks before something is lost."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import gradio as gr

from semcorr.app.page import html, viewer, widgets
from semcorr.app.page.colours import legend
from semcorr.app.page.match_layout import MatchWidgets
from semcorr.app.server.sessions import Session
from semcorr.app.workspace import Workspace, contents

Updates = dict[Any, Any]
Change = Callable[[Workspace], Workspace]

_tokens = itertools.count(1).__next__


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which point and layer the lists of a page stand at; None where they stay as they are by default."""

    point: str | None = None
    layer: str | None = None

    @property
    def index(self) -> int | None:
        """The point, counted from 0; None for all."""
        return widgets.point_index(self.point)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pending:
    """A step that waits for the user's yes, and the question's number."""

    token: int
    words: str
    change: Change


def shown(on: MatchWidgets, session: Session, page: str, chosen: Chosen) -> Updates:
    """Everything that depends on the workspace; from now on the page is not behind."""
    work = session.work
    session.shows(page)
    points, layers = widgets.point_choices(work.labels), viewer.layer_choices(work)
    index = chosen.index if chosen.index is not None and chosen.index < len(work.points) else None
    point = points[0] if index is None else points[index + 1]
    layer = chosen.layer if chosen.layer in layers else layers[0]
    found = bool(work.matches or work.decisions)
    return {
        on.source: source_view(session, point),
        on.targets: targets_view(session, point, layer),
        on.names: ", ".join(work.names),
        on.point: gr.Dropdown(choices=points, value=point),
        on.layer: gr.Dropdown(choices=layers, value=layer),
        on.legend: _legend(work),
        on.undo: gr.Button(interactive=session.history.undoable is not None),
        on.redo: gr.Button(interactive=session.history.redoable is not None),
        on.accept: gr.Button(interactive=bool(work.matches)),
        on.reset: gr.Button(interactive=bool(work.decisions)),
        on.export: gr.Button(interactive=found),
        on.files: "",
        on.table: html.table(work),
        on.keeper: kept(session),
    }


def kept(session: Session, **more: object) -> dict[str, object]:
    """What the browser is to know: whether leaving loses something, and whether there is something to come back to."""
    return {"unsaved": session.unsaved, "holds": not session.empty, **more}


def asking(session: Session, words: str, yes: str, step: str, change: Change) -> dict[str, object]:
    """Have the browser ask; the step waits for the answer."""
    session.pending = Pending(token=_tokens(), words=step, change=change)
    return kept(session, question={"words": words, "yes": yes, "token": session.pending.token})


def source_view(session: Session, point: str | None) -> viewer.View:
    """The source, with the chosen point marked."""
    index = widgets.point_index(point)
    return viewer.source_view(session.files, session.work, active=-1 if index is None else index)


def targets_view(session: Session, point: str | None, layer: str | None) -> viewer.View:
    """The targets, with the chosen point's heat map."""
    index = widgets.point_index(point)
    active = -1 if index is None else index
    return viewer.targets_view(session.files, session.work, point=index, layer=layer or viewer.FUSED, active=active)


def left_to_find(work: Workspace) -> str:
    """Which points *Find* would look for, in a sentence; empty where nothing was found at all, or nothing is left."""
    if not work.matches:
        return ""
    moved = len({cell[1] for cell in work.matches if cell not in work.decisions and work.outdated(cell)})
    kinds = (
        (work.incomplete, "is not found in every target yet", "are not found in every target yet"),
        (moved, "was moved after it was found", "were moved after they were found"),
    )
    told = [f"{count} {f'point {one}' if count == 1 else f'points {many}'}" for count, one, many in kinds if count]
    return f"{', '.join(told)}: press Find." if told else ""


def losing(work: Workspace, verb: str) -> str:
    """A question before a whole workspace is lost."""
    return f"{verb} {contents(work)}. Undo brings them back."


def _legend(work: Workspace) -> str:
    if not work.matches:
        return ""
    calibrations = {match.prediction.matches.calibration for match in work.matches.values()}
    # With several the numbers do not mean the same: no one of them is claimed.
    return legend(calibrations.pop() if len(calibrations) == 1 else None)
