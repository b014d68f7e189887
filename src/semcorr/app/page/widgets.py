"""Pieces of the page that its tabs share: the viewer, the opacity slider, and waiting for a job."""

import importlib.resources
from collections.abc import Iterator
from typing import Any

import gradio as gr

from semcorr.app.server.jobs import Job, Status
from semcorr.app.state import AppState
from semcorr.imaging.image_files import image_suffixes

_EVERY = 0.35
"""Seconds between two looks at a job."""

_TEMPLATE = '<div class="sc-viewer"></div>'
ALL_POINTS = "all points"
IMAGE_TYPES = ["image", *sorted(image_suffixes())]
"""What a browser offers to send: it does not know all endings of images."""

_OPACITY = "(value) => { document.querySelector('.gradio-container').style.setProperty('--heat-opacity', value); }"


def viewer(elem_id: str, value: dict[str, Any]) -> gr.HTML:
    """A place for pictures with points; see ``viewer.js`` for what it tells."""
    script = importlib.resources.files("semcorr.app.page").joinpath("viewer.js").read_text("utf-8")
    return gr.HTML(value=value, html_template=_TEMPLATE, js_on_load=script, elem_id=elem_id, padding=False)


def keeper() -> gr.HTML:
    """What the browser keeps of the page and asks, without a look of its own; see ``keep.js``."""
    script = importlib.resources.files("semcorr.app.page").joinpath("keep.js").read_text("utf-8")
    return gr.HTML(value={}, html_template="<div></div>", js_on_load=script, elem_id="keeper", padding=False)


def opacity() -> gr.Slider:
    """A slider that works in the browser alone, on all tabs' heat maps."""
    slider = gr.Slider(0, 1, value=0.75, step=0.05, label="Opacity", min_width=140)
    slider.input(None, slider, None, js=_OPACITY, queue=False)
    return slider


def follow(state: AppState, job: Job) -> Iterator[Status]:
    """A job's status now and again until it is finished, the last one included."""
    while not job.wait(_EVERY):
        yield job.status(state.queue.ahead(job))
    yield job.status()


def point_choices(names: tuple[str, ...]) -> list[str]:
    """All points, and each: number and name."""
    labels = [f"{number} {name}" if name != str(number) else name for number, name in enumerate(names, start=1)]
    return [ALL_POINTS, *labels]


def point_index(choice: str | None) -> int | None:
    """Which point a choice stands for, from 0; None for all."""
    number = (choice or "").partition(" ")[0]
    return int(number) - 1 if number.isdigit() else None
