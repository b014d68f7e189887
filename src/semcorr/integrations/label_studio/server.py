"""The protocol of Label Studio's machine learning backends, over HTTP."""

import base64
import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from semcorr.app.server.address import Address
from semcorr.app.server.http_guard import Access, HttpGuard, refused
from semcorr.errors import DatasetError, SemcorrError, ServerError
from semcorr.integrations.label_studio.backend import Backend

MAX_BYTES = 100_000_000
"""Bytes of a request: it holds the annotations of hundreds of tasks."""

_ACCESS = Access(
    read=re.compile(r"/|/health|/versions|/is_training"),
    write=re.compile(r"/setup|/predict|/train|/webhook"),
    policy="default-src 'none'; frame-ancestors 'none'",
    command="semcorr label-studio",
)


def guarded(backend: Backend, address: Address, *, password: str = "", note: Callable[[str], None]) -> HttpGuard:
    """The server's application behind its guard.

    Args:
        backend: What answers.
        address: Where the server listens.
        password: What Label Studio must show (Basic Auth, with any user name); empty for nothing.
        note: Called with the reason of every refusal, which Label Studio does not show.
    """
    return _Guard(_Server(backend, password, note).application(), _ACCESS, address.host, address.names)


class _Guard(HttpGuard):
    def _exceeds(self, path: str, length: int) -> Response | None:  # noqa: ARG002
        return refused("The request is too large.", 413) if length > MAX_BYTES else None


class _Server:
    """The answers to requests."""

    def __init__(self, backend: Backend, password: str, note: Callable[[str], None]) -> None:
        self._backend, self._password, self._note = backend, password, note

    def application(self) -> Starlette:
        """All routes, as ``label_studio_ml`` has them."""
        return Starlette(
            routes=[
                Route("/", self._answered(self._health)),
                Route("/health", self._answered(self._health)),
                Route("/is_training", self._answered(lambda _: {"is_training": False})),
                Route("/versions", self._answered(lambda _: {"versions": []})),
                Route("/setup", self._answered(self._setup), methods=["POST"]),
                Route("/predict", self._answered(self._predict), methods=["POST"]),
                Route("/train", self._answered(self._train, 201), methods=["POST"]),
                Route("/webhook", self._answered(self._webhook, 201), methods=["POST"]),
            ]
        )

    def _health(self, _: Any) -> Any:
        return {"status": "UP", "model_class": "semcorr"}

    def _setup(self, content: Any) -> Any:
        configuration = _text(content, "schema")
        return {"model_version": self._backend.setup(_project(content.get("project")), configuration)}

    def _predict(self, content: Any) -> Any:
        configuration = _text(content, "label_config")
        params = content.get("params")
        context = params.get("context") if isinstance(params, dict) else None
        results, version = self._backend.predict(
            _project(content.get("project")), configuration, content, context if isinstance(context, dict) else None
        )
        return {"results": results, "model_version": version}

    def _train(self, content: Any) -> Any:
        self._backend.train(_project(content.get("project")), _text(content, "label_config"))
        return {"status": "started"}

    def _webhook(self, content: Any) -> Any:
        """Only *Start training* reads annotations again: else every annotation would make predictions old."""
        project = content.get("project")
        if content.get("action") != "START_TRAINING" or not isinstance(project, dict):
            return {"status": "ignored"}
        self._backend.train(_project(project.get("id")), _text(project, "label_config"))
        return {"status": "started"}

    def _answered(self, handle: Callable[[Any], Any], status: int = 200) -> Callable[[Request], Any]:
        """A route's function: JSON of what ``handle`` makes of the request's JSON in a thread."""

        async def answer(request: Request) -> Response:
            if self._password and not _shows(self._password, request.headers.get("authorization", "")):
                response = refused("Expected the password.", 401)
                response.headers["www-authenticate"] = 'Basic realm="semcorr"'
                return response
            try:
                content = _object(await request.body()) if request.method == "POST" else {}
                return _json(await run_in_threadpool(handle, content), status)
            except SemcorrError as error:
                self._note(f"{request.url.path} is refused: {error}")
                return _json({"error": str(error)}, 503 if isinstance(error, ServerError) else 400)

        return answer


def _json(content: Any, status: int) -> Response:
    """JSON in ASCII, because texts of a request may hold half of a character.

    Raises:
        DatasetError: A number of the request, which is in the answer again, is NaN or infinite.
    """
    try:
        text = json.dumps(content, allow_nan=False)
    except ValueError as error:
        raise DatasetError("Expected finite numbers in the request, got NaN or infinity.") from error
    return Response(text, status, media_type="application/json")


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"Expected JSON, got something else: {error}.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"Expected a JSON object, got {content!r:.60}.")
    return content


def _text(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str):
        raise DatasetError(f"Expected the labelling configuration in {key!r}, got {value!r:.60}.")
    return value


def _project(value: Any) -> int:
    """The number of a project, from 3 or "3.1795730744"."""
    number = str(value).partition(".")[0]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 16 else 0


def _shows(password: str, authorization: str) -> bool:
    scheme, _, value = authorization.partition(" ")
    try:
        shown = base64.b64decode(value, validate=True).partition(b":")[2]
    except ValueError:
        return False
    return scheme.lower() == "basic" and secrets.compare_digest(shown, password.encode())
