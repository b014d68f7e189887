"""The tab *Words*: which part of a picture each word of a prompt attends to (the paper's Figure 2)."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from semcorr.app.page import examples, html, viewer, widgets
from semcorr.app.server.jobs import Job
from semcorr.app.server.limits import check_letters, read_upload, sweep
from semcorr.app.server.sessions import Session
from semcorr.app.state import AppState
from semcorr.errors import ImageError, SemcorrError
from semcorr.matchers.prompt.word_attention import WordMaps, word_maps
from semcorr.visualization.heatmap_grids import draw_word_maps

Updates = dict[Any, Any]
_EMPTY = "Send a picture or press an example, type what it shows, and press Show."


@dataclass(frozen=True, kw_only=True)
class _Widgets:
    """The tab's components."""

    upload: gr.UploadButton
    source: gr.Button
    examples: dict[str, gr.Button]
    prompt: gr.Textbox
    show: gr.Button
    cancel: gr.Button
    status: gr.HTML
    picture: gr.HTML
    words: gr.HTML
    files: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """All that any function changes."""
        return [self.prompt, self.show, self.cancel, self.status, self.picture, self.words, self.files]


def build(state: AppState) -> None:
    """Lay the tab out and wire it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=340):
            gr.HTML(html.step(1, "Picture", "yours, or one of the four examples"), padding=False)
            with gr.Row(elem_classes="sc-line"):
                upload = gr.UploadButton(
                    "Upload picture",
                    file_types=widgets.IMAGE_TYPES,
                    size="sm",
                    variant="primary",
                    elem_id="words-upload",
                    min_width=120,
                )
                source = gr.Button("The source of Match", size="sm", elem_id="words-source", min_width=120)
            with gr.Row(elem_classes="sc-line"):
                buttons = {
                    name: gr.Button(name, size="sm", elem_id=f"words-example-{name}", min_width=44)
                    for name in examples.CATEGORIES
                }
            picture = widgets.viewer("words-picture", viewer.view([], empty=_EMPTY))
            gr.HTML(html.step(2, "Prompt", "what the picture shows; each word gets a map"), padding=False)
            prompt = gr.Textbox(
                show_label=False, placeholder="a rabbit with pink nose and gray tail", elem_id="prompt", lines=2
            )
            with gr.Row(elem_classes="sc-line"):
                show = gr.Button("Show", variant="primary", elem_id="words-show", min_width=90)
                cancel = gr.Button("Cancel", variant="stop", elem_id="words-cancel", interactive=False, min_width=70)
            status = gr.HTML("", elem_id="words-status", padding=False)
            widgets.opacity()
        with gr.Column(scale=8, min_width=420):
            gr.HTML(html.step(3, "Where each word looks", "dark: not at all, bright: most"), padding=False)
            words = widgets.viewer(
                "words", viewer.view([], empty="Here every word gets the picture with its heat map.")
            )
            files = gr.HTML("", elem_id="words-files", padding=False)
    on = _Widgets(
        upload=upload, source=source, examples=buttons, prompt=prompt, show=show, cancel=cancel, status=status,
        picture=picture, words=words, files=files,
    )  # fmt: skip
    _wire(state, on)


class _Handlers:
    """What the tab's buttons do, each for the session that asks."""

    def __init__(self, state: AppState, on: _Widgets) -> None:
        self._state, self._on = state, on

    def _taken(self, session: Session) -> Updates:
        image = session.words_image
        shown = [] if image is None else [viewer.panel(session.files, image, title=image.name)]
        return {self._on.picture: viewer.view(shown, empty=_EMPTY), self._on.status: ""}

    def upload(self, path: str, request: gr.Request) -> Updates:
        session = self._state.sessions.of(request.session_hash)
        sweep(self._state.folder)
        try:
            self._state.sessions.check_room(session)
            session.words_image = read_upload(path, Path(path).name, self._state.folder, self._state.limits)
        except SemcorrError as error:
            return {self._on.status: html.bad(str(error))}
        return self._taken(session)

    def source(self, request: gr.Request) -> Updates:
        session = self._state.sessions.of(request.session_hash)
        if session.work.source is None:
            return {self._on.status: html.bad("There is no source on the tab Match yet. Send a picture here.")}
        session.words_image = session.work.source
        return self._taken(session)

    def example(self, category: str) -> Callable[[gr.Request], Updates]:
        def load(request: gr.Request) -> Updates:
            session = self._state.sessions.of(request.session_hash)
            session.words_image, caption = examples.words_example(category)
            return {**self._taken(session), self._on.prompt: caption}

        return load

    def cancel(self, request: gr.Request) -> None:
        self._state.sessions.of(request.session_hash).cancel()

    def show(self, prompt: str, request: gr.Request) -> Iterator[Updates]:
        """Put the work into the queue, and show the words' maps when it is done."""
        session, on = self._state.sessions.of(request.session_hash), self._on
        image = session.words_image

        def work(job: Job) -> WordMaps:
            if image is None:
                raise ImageError("First send a picture, or press an example.")
            return word_maps(self._state.matchers.network(), image, prompt, progress=job)

        try:
            check_letters(prompt, self._state.limits)
            job = session.start(self._state.queue, work)
        except SemcorrError as error:
            yield {on.status: html.bad(str(error))}
            return
        yield {on.show: gr.Button(interactive=False), on.cancel: gr.Button(interactive=True)}
        for status in widgets.follow(self._state, job):
            if not job.finished:
                yield {on.status: html.live(status)}
        status = job.status()
        buttons = {on.show: gr.Button(interactive=True), on.cancel: gr.Button(interactive=False)}
        if status.state != "done":
            told = html.note("Cancelled.") if status.state == "cancelled" else html.bad(status.error)
            yield {**buttons, on.status: told}
            return
        yield {**buttons, on.status: "", **self._found(session, image, job.result)}

    def _found(self, session: Session, image: Any, maps: WordMaps) -> Updates:
        different = list(dict.fromkeys(word.casefold() for word in maps.words))
        shown = [viewer.panel(session.files, image, title=word, heat=maps.heatmap(word)) for word in different]
        stream = io.BytesIO()
        draw_word_maps(maps, image).save(stream, format="PNG")
        link = {"words.png": session.files.put(stream.getvalue(), "image/png", "words.png")}
        columns = 2 if len(shown) < 5 else 3 if len(shown) < 10 else 4
        return {
            self._on.words: viewer.view(shown, empty="", columns=columns, height=300),
            self._on.files: html.links(link),
        }


def _wire(state: AppState, on: _Widgets) -> None:
    do = _Handlers(state, on)
    quick: dict[str, Any] = {"outputs": on.outputs, "show_progress": "hidden", "api_visibility": "private"}
    on.upload.upload(do.upload, on.upload, **quick)
    on.source.click(do.source, None, **quick)
    for category, button in on.examples.items():
        button.click(do.example(category), None, **quick)
    on.show.click(do.show, on.prompt, **quick)
    on.prompt.submit(do.show, on.prompt, **quick)
    on.cancel.click(do.cancel, None, None, show_progress="hidden", api_visibility="private")
