"""The tab *Words*: the heat map of each word of a prompt (the paper's Figure 2)."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from semcorr.app.limits import check_letters
from semcorr.app.page import examples, html, viewer, widgets
from semcorr.app.page.widgets import Updates
from semcorr.app.server.jobs import Job
from semcorr.app.server.sessions import Session
from semcorr.app.state import AppState
from semcorr.errors import ImageError, SemcorrError
from semcorr.matchers.prompt.word_attention import WordMaps, word_maps
from semcorr.visualization.heatmap_grids import draw_word_maps

_EMPTY = "Send an image or press an example, type what it shows, and press Show."


@dataclass(frozen=True, kw_only=True)
class _Widgets(widgets.JobWidgets):
    """The tab's components."""

    upload: gr.UploadButton
    source: gr.Button
    examples: dict[str, gr.Button]
    prompt: gr.Textbox
    image: gr.HTML
    words: gr.HTML
    files: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """The components that handlers update."""
        return [self.prompt, self.start, self.cancel, self.status, self.image, self.words, self.files]


def build(state: AppState) -> None:
    """Lay the tab out and wire it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=340):
            made = {**_image(), **_prompt()}
        with gr.Column(scale=8, min_width=420):
            gr.HTML(html.step(3, "Where each word attends", "dark: not at all, bright: most"), padding=False)
            hint = "Here each word gets the image with its heat map."
            made["words"] = widgets.viewer("words", viewer.view([], empty=hint))
            made["files"] = gr.HTML("", elem_id="words-files", padding=False)
    _wire(state, _Widgets(**made))


def _image() -> dict[str, Any]:
    made: dict[str, Any] = {}
    gr.HTML(html.step(1, "Image", "yours, or one of the four examples"), padding=False)
    with gr.Row(elem_classes="sc-line"):
        made["upload"] = gr.UploadButton(
            "Upload image",
            file_types=widgets.IMAGE_TYPES,
            size="sm",
            variant="primary",
            elem_id="words-upload",
            min_width=120,
        )
        made["source"] = gr.Button("The source of Match", size="sm", elem_id="words-source", min_width=120)
    with gr.Row(elem_classes="sc-line"):
        made["examples"] = {
            name: gr.Button(name, size="sm", elem_id=f"words-example-{name}", min_width=44)
            for name in examples.CATEGORIES
        }
    made["image"] = widgets.viewer("words-image", viewer.view([], empty=_EMPTY))
    return made


def _prompt() -> dict[str, Any]:
    made: dict[str, Any] = {}
    gr.HTML(html.step(2, "Prompt", "what the image shows; each word gets a heat map"), padding=False)
    made["prompt"] = gr.Textbox(
        show_label=False, placeholder="a rabbit with pink nose and gray tail", elem_id="prompt", lines=2
    )
    with gr.Row(elem_classes="sc-line"):
        made["start"] = gr.Button("Show", variant="primary", elem_id="words-show", min_width=90)
        made["cancel"] = gr.Button("Cancel", variant="stop", elem_id="words-cancel", interactive=False, min_width=70)
    made["status"] = gr.HTML("", elem_id="words-status", padding=False)
    widgets.opacity()
    return made


class _Handlers(widgets.Handlers):
    """The handlers of the tab's buttons."""

    def __init__(self, state: AppState, ui: _Widgets) -> None:
        super().__init__(state)
        self._ui = ui

    def _show_image(self, session: Session) -> Updates:
        image = session.words_image
        panels = [] if image is None else [viewer.panel(session.files, image, title=image.name)]
        return {self._ui.image: viewer.view(panels, empty=_EMPTY), self._ui.status: ""}

    def upload(self, path: str, request: gr.Request) -> Updates:
        session = self._session(request)
        try:
            session.words_image, session.words_example = self._read_upload(path, session), False
        except SemcorrError as error:
            return widgets.refused(self._ui.status, error)
        return self._show_image(session)

    def source(self, request: gr.Request) -> Updates:
        session = self._session(request)
        if session.work.source is None:
            return {self._ui.status: html.bad("There is no source on the tab Match yet. Send an image here.")}
        session.words_image, session.words_example = session.work.source, session.work.example
        return self._show_image(session)

    def example(self, category: str) -> Callable[[gr.Request], Updates]:
        def load(request: gr.Request) -> Updates:
            session = self._session(request)
            session.words_image, caption = examples.words_example(category)
            session.words_example = True
            return {**self._show_image(session), self._ui.prompt: caption}

        return load

    def show(self, prompt: str, request: gr.Request) -> Iterator[Updates]:
        """Add the work to the queue, and show the words' heat maps when it is done."""
        session, ui = self._session(request), self._ui
        image, example = session.words_image, session.words_example

        def work(job: Job) -> WordMaps:
            if image is None:
                raise ImageError("First send an image, or press an example.")
            return word_maps(self._state.matchers.network(example=example), image, prompt, progress=job)

        try:
            check_letters(prompt, self._state.limits)
            job = session.start(self._state.queue, work)
        except SemcorrError as error:
            yield widgets.refused(ui.status, error)
            return
        status = yield from self._follow(job, ui)
        updates = widgets.ended(ui, status)
        if status.state == "done":
            updates |= self._show_maps(session, image, job.result)
        yield updates

    def _show_maps(self, session: Session, image: Any, maps: WordMaps) -> Updates:
        words = list(dict.fromkeys(word.casefold() for word in maps.words))
        panels = [viewer.panel(session.files, image, title=word, heat=maps.heatmap(word)) for word in words]
        stream = io.BytesIO()
        draw_word_maps(maps, image).save(stream, format="PNG")
        link = {"words.png": session.files.add(stream.getvalue(), "image/png", "words.png")}
        columns = 2 if len(panels) < 5 else 3 if len(panels) < 10 else 4
        return {
            self._ui.words: viewer.view(panels, empty="", columns=columns, height=300),
            self._ui.files: html.links(link),
        }


def _wire(state: AppState, ui: _Widgets) -> None:
    handlers = _Handlers(state, ui)
    options = widgets.event_options(ui.outputs)
    ui.upload.upload(handlers.upload, ui.upload, **options)
    ui.source.click(handlers.source, None, **options)
    for category, button in ui.examples.items():
        button.click(handlers.example(category), None, **options)
    ui.start.click(handlers.show, ui.prompt, **options)
    ui.prompt.submit(handlers.show, ui.prompt, **options)
    widgets.wire_cancel(ui.cancel, handlers)
