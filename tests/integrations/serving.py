"""The backend behind its guard in a thread, and what its client asks of Label Studio's own server."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from deadline import DEADLINE
from semcorr.app.server.address import Address, free_port
from semcorr.integrations.label_studio.backend import Backend
from server_threads import answering, serving_app

REQUESTS: dict[str, Any] = json.loads(
    Path(__file__).with_name("label_studio_requests.json").read_text(encoding="utf-8")
)
"""What Label Studio 1.23.2 sent to a backend and exported, without predictions of before and keys."""


class BackendClient:
    """Asks the backend as Label Studio does."""

    def __init__(self, url: str) -> None:
        self.url, self.headers = url, {"content-type": "application/json"}

    def with_password(self, password: str) -> "BackendClient":
        other = BackendClient(self.url)
        shown = base64.b64encode(f"me:{password}".encode()).decode()
        other.headers = {**self.headers, "authorization": f"Basic {shown}"}
        return other

    def ask(self, path: str, content: Any = None, **headers: str) -> tuple[int, Any]:
        body = content if isinstance(content, bytes) or content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.url + path, data=body, headers={**self.headers, **headers})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@contextmanager
def serving(backend: Backend, *, password: str = "") -> Iterator[tuple[BackendClient, list[str]]]:
    """Serve a backend; a client, and the notes so far."""
    from semcorr.integrations.label_studio.server import guarded

    notes: list[str] = []
    port = free_port(Address(port=0))
    app = guarded(backend, Address(port=port), password=password, note=notes.append)
    with serving_app(app, port):
        yield BackendClient(f"http://127.0.0.1:{port}"), notes


REFRESH, ACCESS = "header.refresh.signature", "header.access.signature"


@contextmanager
def label_studio(files: Mapping[str, bytes]) -> Iterator[str]:
    """A server that answers as Label Studio's does: a token for a token, and with that an export and files."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            known = self.path == "/api/token/refresh" and asked == {"refresh": REFRESH}
            self._answer(*((200, json.dumps({"access": ACCESS}).encode()) if known else (401, b"Invalid token.")))

        def do_GET(self) -> None:
            if self.headers["authorization"] != f"Bearer {ACCESS}":
                self._answer(401, b"Authentication credentials were not provided.")
            elif self.path in files:
                self._answer(200, files[self.path])
            else:
                self._answer(404, b"Not found.")

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with answering(Handler) as address:
        yield address
