"""The answers about the tab *Words*: the heat map of each word of a prompt (the paper's Figure 2)."""

import io
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.routing import Route

from semcorr.app.colours import heat_image
from semcorr.app.examples import words_example
from semcorr.app.images import read_upload, to_original
from semcorr.app.limits import check_letters
from semcorr.app.matchers import images_of, model_of, without_words
from semcorr.app.server.jobs import Job
from semcorr.app.server.session import Session
from semcorr.app.state import AppState
from semcorr.app.view import image_view, job_view
from semcorr.app.workspace import Point
from semcorr.errors import ImageError
from semcorr.imaging.image import Image, png
from semcorr.matchers.prompt.word_attention import WordMaps, word_maps
from semcorr.matchers.registry import find_method
from semcorr.matchers.spec import MatcherSpec
from semcorr.models.names import PHOTO_MODEL
from semcorr.visualization.heatmap_grids import draw_word_maps


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Nothing(_Request):
    pass


class _Name(_Request):
    name: str = "image"


class _Example(_Request):
    category: str


class _Prompt(_Request):
    prompt: str


@dataclass(frozen=True, kw_only=True)
class _ShownWord:
    """A word as the page shows it: its heat map as PNG, and where that peaks, in pixels of the original image."""

    word: str
    heat: bytes
    peak: Point


@dataclass(frozen=True, kw_only=True)
class _ShownWords:
    """The words of a prompt, each once, and a figure of all as PNG."""

    words: tuple[_ShownWord, ...]
    figure: bytes


def routes(state: AppState) -> list[Route]:
    """All routes about words."""
    answers = _Answers(state)
    return [
        state.work_route("/api/words", answers.words, anyone=True),
        state.work_route("/api/words/image", answers.image, upload=True),
        state.work_route("/api/words/source", answers.source, post=True),
        state.work_route("/api/words/example", answers.example, post=True),
        state.work_route("/api/words/start", answers.start, post=True),
    ]


class _Answers:
    """The answers to requests."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def words(self, session: Session, _: Request, __: bytes) -> Any:
        """What is shown."""
        return self._view(session)

    def image(self, session: Session, request: Request, body: bytes) -> Any:
        """Take the image that was sent."""
        asked = _Name.model_validate(dict(request.query_params))
        self._state.sessions.check_room(session)
        session.set_words(read_upload(body, asked.name, self._state.limits), example=False)
        return self._view(session)

    def source(self, session: Session, _: Request, body: bytes) -> Any:
        """Take the source of the tab *Match*."""
        _Nothing.model_validate_json(body)
        with session.lock:
            if session.work.source is None:
                raise ImageError("There is no source on the tab Match yet. Send an image here.")
            session.set_words(session.work.source, example=session.work.example)
        return self._view(session)

    def example(self, session: Session, _: Request, body: bytes) -> Any:
        """Take an example's drawing and its caption."""
        image, caption = words_example(_Example.model_validate_json(body).category)
        session.set_words(image, example=True, prompt=caption)
        return self._view(session)

    def start(self, session: Session, _: Request, body: bytes) -> Any:
        """Begin to make the words' heat maps."""
        prompt = _Prompt.model_validate_json(body).prompt
        check_letters(prompt, self._state.limits)
        with session.lock:
            image, example = session.words_image, session.words_example
            if image is None:
                raise ImageError("First send an image, or press an example.")

            def work(job: Job) -> _ShownWords:
                model = self._state.matchers.network(example=example)
                shown = _show(word_maps(model, image, prompt, progress=job), image)
                # Here and not when the page asks for it: the page may have been closed.
                with session.lock:
                    if session.words_image is image:
                        session.words_maps = shown
                return shown

            def message(shown: _ShownWords) -> str:
                if session.words_maps is not shown:
                    return "Another image was chosen meanwhile."
                return f"Done: {len(shown.words)} words." if len(shown.words) > 1 else "Done."

            session.start(self._state.queue, "words", work, message)
            session.set_words(image, example=example, prompt=prompt)
            return {"job": job_view(session, self._state.queue)}

    def _view(self, session: Session) -> dict[str, Any]:
        with session.lock:
            image, shown = session.words_image, session.words_maps
            spec = self._state.matchers.usual(example=session.words_example)
            return {
                "image": None if image is None else image_view(session.files, image),
                "prompt": session.words_prompt,
                "words": [] if shown is None else [_word_view(session, word) for word in shown.words],
                "file": None
                if shown is None
                else {
                    "name": "words.png",
                    "address": session.files.add(shown.figure, "image/png", "words.png"),
                },
                "model": model_of(spec),
                "images": images_of(spec),
                "warning": _warning(spec),
            }


def _show(maps: WordMaps, image: Image) -> _ShownWords:
    stream = io.BytesIO()
    draw_word_maps(maps, image).save(stream, format="PNG")
    words = dict.fromkeys(word.casefold() for word in maps.words)
    return _ShownWords(
        words=tuple(
            _ShownWord(word=word, heat=png(heat_image(maps.heatmap(word))), peak=to_original(image, maps.peak(word)))
            for word in words
        ),
        figure=stream.getvalue(),
    )


def _word_view(session: Session, shown: _ShownWord) -> dict[str, Any]:
    return {"word": shown.word, "heat": session.files.add(shown.heat, "image/png"), "peak": shown.peak}


def _warning(spec: MatcherSpec) -> str:
    """What to do where the images' model has no words; empty where it has some, or only loading it would tell."""
    method = find_method(spec.method)
    return "" if method is None or method.default_model == PHOTO_MODEL else without_words(spec)
