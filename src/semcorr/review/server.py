"""What the page asks the server, over HTTP: JSON below ``/api``, images, and the page's own files."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import resources
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from semcorr.app.server.answers import Handle, answered
from semcorr.app.server.assets import Assets
from semcorr.app.server.http_guard import Access, cookie_name
from semcorr.errors import ImageError, ReviewError, RunError, SemcorrError
from semcorr.keypoints.base import MISSING, AnnotatedImage, Category, Instance
from semcorr.keypoints.check import Finding
from semcorr.keypoints.sides import mirrored
from semcorr.review.again import PredictAgain
from semcorr.review.objects import ReviewObject, State
from semcorr.review.review import Review, StaleChangeError
from semcorr.review.thumbnails import SIDES, Thumbnails

_MOST_OBJECTS, _MOST_CHANGES = 100, 1000

POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy: the browser loads nothing that is not from this server."""

_READ = re.compile(
    r"/|/favicon\.ico|/assets/[a-z]+\.(?:css|js)|/api/(?:about|list|objects|sources|changes|again|image/[0-9a-f]+/[0-9]{1,9}/[0-9]{1,5})"
)
_WRITE = re.compile(r"/api/(?:objects|write|again|again/undo|again/stop)")


class _ChangeRequest(BaseModel):
    """An object's state from now on, and the revision of the object that it was made on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    base: int = Field(ge=0)
    state: State


_CHANGES = TypeAdapter(Annotated[list[_ChangeRequest], Field(min_length=1, max_length=_MOST_CHANGES)])


class _AgainRequest(BaseModel):
    """The score below which objects are predicted again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    below: float = Field(ge=0, le=1)


def access(key: str, command: str = "semcorr review") -> Access:
    """What the guard passes on to :func:`build`'s application, for a browser that has the key.

    Args:
        key: The key.
        command: The command that serves, for messages.
    """
    return Access(read=_READ, write=_WRITE, policy=POLICY, command=command, key=key)


def build(review: Review, again: PredictAgain | None, key: str) -> Starlette:
    """The application; it must be behind :class:`semcorr.app.server.http_guard.HttpGuard` with :func:`access`.

    Args:
        review: The review.
        again: What predicts doubtful objects again, or None.
        key: The key of :func:`access`.
    """
    return _Server(review, again, key).application()


class _Server:
    """The answers to requests."""

    def __init__(self, review: Review, again: PredictAgain | None, key: str) -> None:
        self._review, self._again, self._key, self._thumbnails = review, again, key, Thumbnails()
        # Zoom and gestures are those of the app's page.
        viewport = resources.files("semcorr.app") / "page" / "viewport.js"
        self._assets = Assets(resources.files("semcorr.review") / "page", viewport)

    def application(self) -> Starlette:
        """All routes."""
        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/favicon.ico", lambda _: Response(status_code=204)),
                self._assets.route(),
                Route("/api/about", _answered(self._about)),
                Route("/api/list", _answered(self._list)),
                Route("/api/objects", _answered(self._objects), methods=["GET"]),
                Route("/api/objects", _answered(self._change), methods=["POST"]),
                Route("/api/sources", _answered(self._sources)),
                Route("/api/changes", _answered(self._changes)),
                Route("/api/write", _answered(self._write), methods=["POST"]),
                *([] if self._again is None else _again_routes(self._again)),
                Route("/api/image/{content}/{number:int}/{side:int}", _answered(self._image)),
            ]
        )

    async def _page(self, request: Request) -> Response:
        if "key" in request.query_params:
            # The key goes out of the address, and so out of the history, into a cookie that scripts cannot read.
            response = Response(status_code=303, headers={"location": "/"})
            name = cookie_name(request.headers["host"])
            response.set_cookie(name, self._key, httponly=True, samesite="strict")
            return response
        return self._assets.index()

    def _about(self, _: Request, __: bytes) -> Any:
        review = self._review
        used = {one.state.category for one in review.objects}
        return {
            "file": review.annotations.path.name,
            "check": review.is_check,
            "again": self._again is not None,
            "output": str(review.output),
            "content": review.content[:16],
            "revision": review.revision,
            "objects": len(review.objects),
            "images": len({one.image for one in review.objects}),
            "counts": review.counts(),
            "notes": review.annotations.notes,
            "categories": [
                {
                    "name": category.name,
                    "keypoints": category.keypoints,
                    "skeleton": category.skeleton,
                    "mirrored": mirrored(category.keypoints),
                    "used": category.name in used,
                }
                for category in review.annotations.categories.values()
                if category.keypoints
            ],
        }

    def _sources(self, request: Request, _: bytes) -> Any:
        number = request.query_params.get("number", "")
        one = self._review.by_number.get(int(number)) if number.isdecimal() and len(number) < 10 else None
        if one is None:
            return Response("There is no such object.", 404)
        names = self._review.annotations.categories[one.state.category].keypoints
        sources = [source for source in self._review.sources_of(one) if source[1].category == one.state.category]
        votes = [one.prediction.votes.get(name, ()) for name in names]
        # Of another category, or of a file that does not say which objects of its images they were.
        known = any(votes) and all(len(own) == len(sources) for own in votes if own)
        return {
            "recorded": self._review.has_sources or one.prediction.sources is not None,
            "sources": [
                {**self._source(*source), "votes": [own[row] if own else None for own in votes] if known else None}
                for row, source in enumerate(sources)
            ],
        }

    def _source(self, image: AnnotatedImage, instance: Instance) -> dict[str, Any]:
        number = self._image_numbers[image.file]
        shown = np.where(instance.visibility[:, None] > MISSING, instance.points, np.nan)
        return {
            "file": image.file,
            "image": number,
            "size": self._review.frame(number),
            "points": [None if np.isnan(x) else [x, y] for x, y in shown.tolist()],
        }

    @cached_property
    def _image_numbers(self) -> Mapping[str, int]:
        return {image.file: number for number, image in enumerate(self._review.annotations.images)}

    def _list(self, request: Request, _: bytes) -> Any:
        asked = request.query_params
        return {
            "numbers": self._review.listed(
                category=asked.get("category", ""),
                decision=asked.get("decision", ""),
                name=asked.get("name", ""),
                order=asked.get("order", "doubtful"),
            ),
            "counts": self._review.counts(),
        }

    def _objects(self, request: Request, _: bytes) -> Any:
        numbers = [
            int(one) for one in request.query_params.get("numbers", "").split(",") if one.isdecimal() and len(one) < 10
        ]
        known = [self._review.by_number[one] for one in numbers[:_MOST_OBJECTS] if one in self._review.by_number]
        return {"objects": [self._object(one) for one in known]}

    def _object(self, one: ReviewObject) -> Any:
        category = self._review.annotations.categories[one.state.category]
        box = one.instance.drawn_box
        return {
            "number": one.number,
            "revision": one.revision,
            "image": one.image,
            "beside": self._review.beside(one),
            "file": self._review.image_of(one).file,
            "size": self._review.frame(one.image),
            "box": box,
            "score": one.prediction.score,
            "annotated": not one.instance.predicted,
            "predicted": [one.prediction.points.get(name) for name in category.keypoints],
            "reasons": [_reason(finding, category) for finding in self._review.reasons.get(one.number, ())],
            "state": one.state.model_dump(),
        }

    def _change(self, _: Request, body: bytes) -> Any:
        asked = _CHANGES.validate_json(body)
        changed = self._review.change({one.number: one.state for one in asked}, {one.number: one.base for one in asked})
        return {"objects": [self._object(one) for one in changed], "counts": self._review.counts()}

    def _changes(self, request: Request, _: bytes) -> Any:
        since = request.query_params.get("since", "")
        revision, changed = self._review.changed_since(int(since) if since.isdecimal() and len(since) < 16 else 0)
        # The page has some objects at most; of very many changes it is to ask again for those.
        few = [self._object(one) for one in changed] if len(changed) <= _MOST_OBJECTS else None
        return {"revision": revision, "objects": few, "counts": self._review.counts()}

    def _write(self, _: Request, __: bytes) -> Any:
        return {"files": [str(path) for path in self._review.write()]}

    def _image(self, request: Request, _: bytes) -> Any:
        path = request.path_params
        number, side = path["number"], path["side"]
        images = self._review.annotations.images
        if path["content"] != self._review.content[:16] or number >= len(images) or side not in SIDES:
            return Response("There is no such image.", 404)
        try:
            jpeg = self._thumbnails.jpeg(images[number].path, side)
        except ImageError as error:
            return Response(str(error), 404)
        return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _again_routes(again: PredictAgain) -> list[Route]:
    """What the page asks of the job that predicts objects again; each is answered with how far it is."""

    def status(_: Request, __: bytes) -> Any:
        return again.status()

    def start(_: Request, body: bytes) -> Any:
        again.start(_AgainRequest.model_validate_json(body).below)
        return again.status()

    def undo(_: Request, __: bytes) -> Any:
        again.undo()
        return again.status()

    def stop(_: Request, __: bytes) -> Any:
        again.stop()
        return again.status()

    return [
        Route("/api/again", _answered(status), methods=["GET"]),
        Route("/api/again", _answered(start), methods=["POST"]),
        Route("/api/again/undo", _answered(undo), methods=["POST"]),
        Route("/api/again/stop", _answered(stop), methods=["POST"]),
    ]


def _reason(finding: Finding, category: Category) -> dict[str, Any]:
    """Why a check lists an object, with the numbers of the key-points that it is about."""
    numbers = {name: number for number, name in enumerate(category.keypoints)}
    return {
        "kind": finding.kind,
        "suspicion": finding.suspicion,
        "reason": finding.reason,
        "points": [numbers[name] for name in finding.keypoints if name in numbers],
        # Of another category that a person gave the object the points have other numbers.
        "exchange": finding.exchange if finding.category == category.name and finding.exchange else None,
    }


def _answered(handle: Handle) -> Callable[[Request], Any]:
    return answered(handle, _refusal)


def _refusal(error: SemcorrError) -> tuple[int, Mapping[str, Any]]:
    """The status of an error, and what the answer says besides its message."""
    if isinstance(error, StaleChangeError):
        return 409, {"number": error.one.number, "revision": error.one.revision}
    if isinstance(error, RunError):
        return 507, {"error": f"Not saved: {error}"}
    return 422 if isinstance(error, ReviewError) else 500, {}
