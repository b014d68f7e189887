"""The answers about a work: its state, steps, images, *Find*, heat maps, export, deletion."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.routing import Route

from semcorr.app import changes, examples, export
from semcorr.app.export_regions import count_targets_left_out
from semcorr.app.find import check_ready, find
from semcorr.app.find_regions import check_regions_ready, find_regions
from semcorr.app.heat import FUSED, heat_in
from semcorr.app.images import read_upload
from semcorr.app.matchers import images_of, label_of, model_of
from semcorr.app.region_changes import merge_regions
from semcorr.app.region_steps import REGION_STEPS
from semcorr.app.region_view import regions_to_find, targets_without
from semcorr.app.server.jobs import Job
from semcorr.app.server.session import Session
from semcorr.app.state import AppState
from semcorr.app.steps import STEPS, Ask, Step, plain, question_before_loss
from semcorr.app.view import heat_response, job_view, left_to_find, summarize_warnings
from semcorr.app.workspace import Workspace, contents
from semcorr.errors import ImageError
from semcorr.imaging.image_files import image_suffixes
from semcorr.matchers.base import Matcher
from semcorr.progress import Progress

WELCOME = "New here? Choose a source and a target and click a point, or press an example; then press Find."


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Example(_Request):
    base: int = Field(ge=0)
    sure: bool = False
    category: str


class _Base(_Request):
    base: int = Field(ge=0)


class _Find(_Request):
    base: int = Field(ge=0)
    method: str
    preset: str | None = None
    what: Literal["points", "regions"] = "points"


class _Sure(_Request):
    sure: bool = False


class _Upload(_Request):
    base: int = Field(ge=0)
    sure: bool = False
    name: str = "image"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What *Find* finds: how it is checked, done, added to the work, and spoken of."""

    check: Callable[[Workspace, str], object]
    find: Callable[[Matcher, Workspace, str, Progress], Any]
    merge: Callable[[Workspace, Any], tuple[Workspace, int]]
    left: Callable[[Workspace], str]
    said: Callable[[Any], str]
    step: str
    dropped: str


_KINDS = {
    "points": _Kind(
        check=check_ready,
        find=find,
        merge=changes.merge,
        left=left_to_find,
        said=lambda _: "Switch the heat map on to see why.",
        step="matches found",
        dropped="matches were for points",
    ),
    "regions": _Kind(
        check=check_regions_ready,
        find=find_regions,
        merge=merge_regions,
        left=regions_to_find,
        said=targets_without,
        step="regions found",
        dropped="results were for regions",
    ),
}


def routes(state: AppState) -> list[Route]:
    """All routes about a work."""
    answers = _Answers(state)
    steps = [
        state.work_route(f"/api/work/{name}", partial(answers.step, kind), post=True)
        for name, kind in {**STEPS, **REGION_STEPS}.items()
    ]
    return [
        state.route("/api/about", answers.about),
        state.route("/api/new", answers.new, post=True),
        state.work_route("/api/work", answers.work, anyone=True),
        *steps,
        state.work_route("/api/work/example", answers.example, post=True),
        state.work_route("/api/work/undo", partial(answers.go, back=True), post=True),
        state.work_route("/api/work/redo", partial(answers.go, back=False), post=True),
        state.work_route("/api/work/source", answers.source, upload=True),
        state.work_route("/api/work/target", answers.target, upload=True),
        state.work_route("/api/work/heat", answers.heat),
        state.work_route("/api/work/export", answers.export, post=True),
        state.work_route("/api/work/delete", answers.delete, post=True),
        state.work_route("/api/find", answers.find, post=True),
        state.work_route("/api/job", answers.job),
        state.work_route("/api/cancel", answers.cancel, post=True),
    ]


class _Answers:
    """The answers to requests."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def about(self, _: Request, __: bytes) -> Any:
        matchers, limits = self._state.matchers, self._state.limits
        names = ("megabytes", "megapixels", "targets", "points", "regions", "corners", "letters")
        return {
            "examples": list(examples.CATEGORIES),
            "limits": {name: getattr(limits, name) for name in names},
            "suffixes": sorted(image_suffixes()),
            "model": model_of(matchers.spec),
            "images": images_of(matchers.spec),
            "example_model": model_of(matchers.examples),
            "example_images": images_of(matchers.examples),
            "welcome": WELCOME,
            "kept": self._state.kept,
        }

    def new(self, _: Request, __: bytes) -> Any:
        return {"key": self._state.sessions.new()}

    # --- the work, and steps ---

    def work(self, session: Session, request: Request, _: bytes) -> Any:
        """The work, or its revision alone where the page has seen that."""
        with session.lock:
            if request.query_params.get("since") == str(session.revision):
                return {"revision": session.revision}
            return self._state.view(session)

    def step(self, kind: type[Step], session: Session, _: Request, body: bytes) -> Any:
        """Take one of the steps of the table."""
        step = kind.model_validate_json(body)
        with session.lock:
            session.check_base(step.base)
            changed = step.change(session.work, self._state.limits)
            if not step.sure and (question := step.question(session.work)):
                return plain(question)
            return self._take(session, step.said, changed)

    def _take(self, session: Session, name: str, changed: Workspace) -> Any:
        before = session.work
        session.do(name, changed)
        other = changed.source is not before.source or len(changed.targets) > len(before.targets)
        return self._shown(session, other_images=other)

    def _shown(self, session: Session, *, other_images: bool) -> Any:
        said = [self._model_note(session.work) if other_images else "", left_to_find(session.work)]
        return {**self._state.view(session), "message": " ".join(filter(None, said))}

    def _model_note(self, work: Workspace) -> str:
        """What the images will be matched on, in a sentence."""
        spec = self._state.matchers.usual(example=work.example)
        return f"These images are matched on {model_of(spec)}, a model for {images_of(spec)}."

    def go(self, session: Session, _: Request, body: bytes, *, back: bool) -> Any:
        """Undo or redo a step."""
        asked = _Base.model_validate_json(body)
        with session.lock:
            session.check_base(asked.base, exact=True)
            name = session.go(back=back)
            message = f"{'Undone' if back else 'Done again'}: {name}. {left_to_find(session.work)}".strip()
            if name is None:
                message = f"There is nothing to {'undo' if back else 'redo'}."
            return {**self._state.view(session), "message": message}

    def example(self, session: Session, _: Request, body: bytes) -> Any:
        """Load an example; an unchanged example before it is no loss."""
        asked = _Example.model_validate_json(body)
        example = examples.example(asked.category)
        with session.lock:
            session.check_base(asked.base)
            question = question_before_loss(session.work, "The example replaces your", "Load the example")
            if question and not asked.sure and session.work is not session.example:
                return plain(question)
            session.do_example(example)
            return self._shown(session, other_images=True)

    # --- images ---

    def source(self, session: Session, request: Request, body: bytes) -> Any:
        """Replace the source by the image that was sent."""

        def ask(work: Workspace) -> Any:
            return question_before_loss(work, "Another source removes your", "Replace the source")

        return self._uploaded(session, request, body, ask)

    def target(self, session: Session, request: Request, body: bytes) -> Any:
        """Add the image that was sent to the targets."""
        return self._uploaded(session, request, body, None)

    def _uploaded(self, session: Session, request: Request, body: bytes, ask: Ask | None) -> Any:
        limits, asked = self._state.limits, _Upload.model_validate(dict(request.query_params))
        with session.lock:
            session.check_base(asked.base)
            if ask is not None and not asked.sure and (question := ask(session.work)):
                return plain(question)
        if ask is None and len(session.work.targets) >= limits.targets:  # before anything is decoded
            raise ImageError(f"Expected at most {limits.targets} targets, got one more. Remove one first.")
        self._state.sessions.check_room(session)
        image = read_upload(body, asked.name, limits)
        with session.lock:
            session.check_base(asked.base)
            if ask is not None:
                return self._take(session, "source replaced", changes.replace_source(session.work, image))
            return self._take(session, "target added", changes.add_targets(session.work, [image], limits))

    # --- matches ---

    def find(self, session: Session, _: Request, body: bytes) -> Any:
        """Begin to find what is missing."""
        asked, matchers = _Find.model_validate_json(body), self._state.matchers
        with session.lock:
            session.check_base(asked.base)
            start = session.work
            spec = matchers.offered(asked.method, asked.preset, example=start.example)
            label = label_of(spec)
            kind = _KINDS[asked.what]
            if asked.what == "regions":
                matchers.check_finds_regions(spec.method, example=start.example)
            kind.check(start, label)
            self._state.sessions.check_room(session)

            def work(job: Job) -> tuple[Any, int]:
                result = kind.find(matchers.get(spec), start, label, job)
                # Here and not when the page asks for it: the page may have been closed.
                with session.lock:
                    merged, dropped = kind.merge(session.work, result)
                    session.do(kind.step, merged, by_person=False)
                return result, dropped

            session.start(self._state.queue, "find", work, partial(self._done_message, session, kind))
            session.methods[start.example] = (spec.method, spec.preset)
            return {"job": job_view(session, self._state.queue)}

    def _done_message(self, session: Session, kind: "_Kind", outcome: tuple[Any, int]) -> str:
        """The message after a run that succeeded."""
        result, dropped = outcome
        images = images_of(self._state.matchers.usual(example=result.start.example))
        sentences = [f"Done with {result.label} (for {images}).", kind.said(result)]
        if dropped:
            sentences.append(f"{dropped} {kind.dropped} or targets that changed meanwhile, and were dropped.")
        sentences += [kind.left(session.work), summarize_warnings(result.warnings)]
        return " ".join(filter(None, sentences))

    def job(self, session: Session, _: Request, __: bytes) -> Any:
        return {"job": job_view(session, self._state.queue)}

    def cancel(self, session: Session, _: Request, __: bytes) -> Any:
        session.cancel()
        return {"job": job_view(session, self._state.queue)}

    def heat(self, session: Session, request: Request, _: bytes) -> Any:
        """The heat map of a target."""
        asked = request.query_params
        target, point = _id(asked.get("target", "")), _id(asked.get("point", ""))
        if target is None or (point is None and asked.get("point") != "all"):
            return heat_response(None)
        return heat_response(heat_in(session.work, target, point, asked.get("layer", FUSED)))

    def export(self, session: Session, _: Request, __: bytes) -> Any:
        with session.lock:
            work = session.work
            files = export.export(work)
            addresses = [
                {"name": name, "address": session.files.add(files[name], export.media_type(name), name)}
                for name in export.in_order(list(files))
            ]
            messages = []
            if left := export.count_left_out(work):
                messages.append(
                    f"{left} of the targets' points are not in the files: they are not found yet, or the point was "
                    "moved."
                )
            if left := count_targets_left_out(work):
                messages.append(
                    f"The regions of {left} target{'s' * (left > 1)} are not in the files: they are not found yet, or "
                    "were painted anew."
                )
            return {"files": addresses, "message": " ".join(messages)}

    def delete(self, session: Session, _: Request, body: bytes) -> Any:
        """Forget the work, in memory and on the disk."""
        if not _Sure.model_validate_json(body).sure:
            lost = contents(session.work)
            text = f"This deletes this work{f' with its {lost}' if lost else ''} for good, on this server as well."
            return {"question": {"text": text, "yes": "Delete the work"}}
        self._state.sessions.delete(session)
        return {}


def _id(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
