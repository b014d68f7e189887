"""What the tab *Match* shows of a session, and the questions it asks before something is lost."""

import dataclasses
import itertools
from collections.abc import Callable

import gradio as gr

from semcorr.app.matchers import LoadedMatchers
from semcorr.app.page import html, viewer, widgets
from semcorr.app.page.colours import legend
from semcorr.app.page.match_layout import MatchWidgets
from semcorr.app.page.widgets import Updates
from semcorr.app.server.sessions import Session
from semcorr.app.workspace import Workspace, contents

Change = Callable[[Workspace], Workspace]

_new_token = itertools.count(1).__next__


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """The entries that the lists of points and layers of a page stand at; None for the first one."""

    point: str | None = None
    layer: str | None = None

    @property
    def index(self) -> int | None:
        """The point, counted from 0; None for all."""
        return widgets.point_index(self.point)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """A question before a step.

    Attributes:
        text: The question.
        yes: The label of the button that confirms the step.
    """

    text: str
    yes: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pending:
    """A step that waits for its confirmation.

    Attributes:
        token: The number of the question.
        name: The step's name.
        change: The step.
    """

    token: int
    name: str
    change: Change


def show(
    ui: MatchWidgets, matchers: LoadedMatchers, session: Session, page: str | None, selection: Selection
) -> Updates:
    """Show everything that depends on the workspace; from now on the page is not behind."""
    work = session.work
    session.shows(page or "")
    points, layers = widgets.point_choices(work.labels), viewer.layer_choices(work)
    index = selection.index if selection.index is not None and selection.index < len(work.points) else None
    point = points[0] if index is None else points[index + 1]
    layer = selection.layer if selection.layer in layers else layers[0]
    return {
        ui.source: source_view(session, point),
        ui.targets: targets_view(session, point, layer),
        ui.names: ", ".join(work.names),
        ui.point: gr.Dropdown(choices=points, value=point),
        ui.layer: gr.Dropdown(choices=layers, value=layer),
        ui.legend: _legend(work),
        ui.undo: gr.Button(interactive=session.history.undoable is not None),
        ui.redo: gr.Button(interactive=session.history.redoable is not None),
        ui.accept: gr.Button(interactive=bool(work.matches)),
        ui.discard: gr.Button(interactive=bool(work.decisions)),
        ui.export: gr.Button(interactive=bool(work.matches or work.decisions)),
        ui.files: "",
        ui.table: html.table(work),
        ui.keeper: keeper_value(session),
        **(_methods(ui, matchers, session) if session.lists(page or "") else {}),
    }


def _methods(ui: MatchWidgets, matchers: LoadedMatchers, session: Session) -> Updates:
    """The lists of methods and presets, and the model that they run on."""
    example = session.work.example
    spec = matchers.usual(example=example)
    method, preset = session.methods.get(example, (spec.method, spec.preset))
    return {
        ui.method: gr.Dropdown(choices=matchers.methods(example=example), value=method),
        ui.preset: gr.Dropdown(choices=matchers.presets(method), value=preset),
        ui.model: html.find_step(spec),
    }


def keeper_value(session: Session, **more: object) -> dict[str, object]:
    """What the browser has to know: whether leaving loses something, and whether there is anything to come back to."""
    return {"unsaved": session.unsaved, "holds": not session.empty, **more}


def ask(session: Session, question: Question, name: str, change: Change) -> dict[str, object]:
    """Have the browser ask a question; the step waits for the answer."""
    session.pending = Pending(token=_new_token(), name=name, change=change)
    return keeper_value(session, question={**dataclasses.asdict(question), "token": session.pending.token})


def source_view(session: Session, point: str | None) -> viewer.View:
    """The source, with the selected point marked."""
    index = widgets.point_index(point)
    return viewer.source_view(session.files, session.work, active=-1 if index is None else index)


def targets_view(session: Session, point: str | None, layer: str | None) -> viewer.View:
    """The targets, with the selected point's heat map."""
    index = widgets.point_index(point)
    active = -1 if index is None else index
    return viewer.targets_view(session.files, session.work, point=index, layer=layer or viewer.FUSED, active=active)


def left_to_find(work: Workspace) -> str:
    """How many points *Find* would locate, in a sentence; empty before the first run, or where nothing is left."""
    if not work.matches:
        return ""
    moved = len({cell[1] for cell in work.matches if cell not in work.decisions and work.outdated(cell)})
    kinds = (
        (work.incomplete, "is not found in every target yet", "are not found in every target yet"),
        (moved, "was moved after it was found", "were moved after they were found"),
    )
    counts = [f"{count} {f'point {one}' if count == 1 else f'points {many}'}" for count, one, many in kinds if count]
    return f"{', '.join(counts)}: press Find." if counts else ""


def question_before_loss(work: Workspace, start: str, yes: str) -> Question | None:
    """The question before a whole workspace is lost; None where it holds nothing."""
    lost = contents(work)
    return Question(text=f"{start} {lost}. Undo brings them back.", yes=yes) if lost else None


def _legend(work: Workspace) -> str:
    if not work.matches:
        return ""
    calibrations = {match.prediction.matches.calibration for match in work.matches.values()}
    labels = dict.fromkeys(match.label for match in work.matches.values())
    # The numbers of different calibrations do not mean the same: the legend claims none of them.
    return legend(calibrations.pop() if len(calibrations) == 1 else None, "; ".join(labels))
