"""What the tabs share: components, a session's handlers, and the progress of a job."""

import importlib.resources
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from semcorr.app.limits import read_upload, sweep
from semcorr.app.page import html
from semcorr.app.server.jobs import Job, Status
from semcorr.app.server.sessions import Session
from semcorr.app.state import AppState
from semcorr.errors import SemcorrError
from semcorr.imaging.image import Image
from semcorr.imaging.image_files import image_suffixes

Updates = dict[Any, Any]
"""What a handler returns: components, and their new values."""

_INTERVAL = 0.35
"""Seconds between two updates of a job's progress."""

_TEMPLATE = '<div class="sc-viewer"></div>'
ALL_POINTS = "all points"
IMAGE_TYPES = ["image", *sorted(image_suffixes())]
"""What the file dialog offers: a browser does not know the suffixes of all image formats."""

_OPACITY = "(value) => { document.querySelector('.gradio-container').style.setProperty('--heat-opacity', value); }"


def viewer(elem_id: str, value: dict[str, Any]) -> gr.HTML:
    """A viewer of images with points; ``viewer.js`` says which events it has."""
    return gr.HTML(value=value, html_template=_TEMPLATE, js_on_load=_script("viewer"), elem_id=elem_id, padding=False)


def keeper() -> gr.HTML:
    """The invisible component that keeps the session's key in the browser and asks questions; see ``keep.js``."""
    return gr.HTML(value={}, html_template="<div></div>", js_on_load=_script("keep"), elem_id="keeper", padding=False)


def _script(name: str) -> str:
    return importlib.resources.files("semcorr.app.page").joinpath(f"{name}.js").read_text("utf-8")


def opacity() -> gr.Slider:
    """A slider for the opacity of the heat maps of all tabs; it works in the browser alone."""
    slider = gr.Slider(0, 1, value=0.75, step=0.05, label="Opacity", min_width=140)
    slider.input(None, slider, None, js=_OPACITY, queue=False)
    return slider


def point_choices(names: tuple[str, ...]) -> list[str]:
    """The entries of a list of points: all points, then each point's number and name."""
    labels = [f"{number} {name}" if name != str(number) else name for number, name in enumerate(names, start=1)]
    return [ALL_POINTS, *labels]


def point_index(choice: str | None) -> int | None:
    """The index of the point of a list's entry, from 0; None for all points."""
    number = (choice or "").partition(" ")[0]
    return int(number) - 1 if number.isdigit() else None


@dataclass(frozen=True, kw_only=True)
class JobWidgets:
    """The components of a tab that start and cancel a job, and show its progress."""

    start: gr.Button
    cancel: gr.Button
    status: gr.HTML


class Handlers:
    """The base of each tab's handlers: functions of the page that act on the session of the page that calls them."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def _session(self, request: gr.Request) -> Session:
        return self._state.sessions.of(request.session_hash)

    def cancel(self, request: gr.Request) -> None:
        """Cancel the user's job."""
        self._session(request).cancel()

    def _read_upload(self, path: str, session: Session) -> Image:
        """Read an uploaded image.

        Raises:
            SemcorrError: There is no memory left for it, or it is refused.
        """
        sweep(self._state.folder)
        self._state.sessions.check_room(session)
        return read_upload(path, Path(path).name, self._state.folder, self._state.limits)

    def _follow(
        self, job: Job, ui: JobWidgets, extra: Callable[[Status], Updates] = lambda _: {}
    ) -> Generator[Updates, None, Status]:
        """Show a job's progress until it ends.

        Args:
            job: The job.
            ui: Where to show it.
            extra: Further updates for a status.

        Returns:
            The job's last status.
        """
        yield {
            ui.start: gr.Button(interactive=False),
            ui.cancel: gr.Button(interactive=True),
            ui.status: html.note("…"),
        }
        while not job.wait(_INTERVAL):
            status = job.status(self._state.queue.ahead(job))
            yield {ui.status: html.live(status), **extra(status)}
        return job.status()


def ended(ui: JobWidgets, status: Status, done: str = "", cancelled: str = "Cancelled.") -> Updates:
    """The buttons after a job, and a message about how it ended."""
    messages = {"done": html.note(done) if done else "", "cancelled": html.note(cancelled)}
    return {
        ui.start: gr.Button(interactive=True),
        ui.cancel: gr.Button(interactive=False),
        ui.status: messages.get(status.state) if status.state in messages else html.bad(status.error),
    }


def wire_cancel(button: gr.Button, handlers: Handlers) -> None:
    """Wire a button that cancels the user's job."""
    button.click(handlers.cancel, None, None, show_progress="hidden", api_visibility="private")


def event_options(outputs: list[Any]) -> dict[str, Any]:
    """The options of every event of the page: updates of any output, no spinner, not callable by name.

    Args:
        outputs: The components that the handlers of a tab update.
    """
    return {"outputs": outputs, "show_progress": "hidden", "api_visibility": "private"}


def refused(status: gr.HTML, error: SemcorrError) -> Updates:
    """Show an error."""
    return {status: html.bad(str(error))}
