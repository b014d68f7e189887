"""A small stand-in of the hub's interface: listings, metadata and files of repositories in a folder."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

GATED = "big/gated"


class HubStandIn:
    """Serves ``root/owner/name/...`` on a local port as long as the ``with`` block lasts.

    ``requests`` collects "METHOD path" of all that is asked for. Of a file whose path ends in ``stall`` only the first
    half is sent, until the block ends.
    """

    def __init__(self, root: Path, stall: str | None = None) -> None:
        self.root = root
        self.stall = stall
        self._ended = threading.Event()
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def commit(self, repository: str) -> str:
        return hashlib.sha1(repository.encode(), usedforsecurity=False).hexdigest()

    def files_asked_for(self, method: str = "GET") -> list[str]:
        """The files that were downloaded, as paths in their repository."""
        marked = [
            request.split("/resolve/")[1]
            for request in self.requests
            if request.startswith(f"{method} ") and "/resolve/" in request
        ]
        return [path.split("/", 1)[1] for path in marked]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(body=True)

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def log_message(self, *_: object) -> None:
                pass

            def _answer(self, body: bool) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.requests.append(f"{self.command} {path}")
                parts = path.strip("/").split("/")
                if parts[:2] == ["api", "models"]:
                    self._listing("/".join(parts[2:4]), parts[5] if parts[4:5] == ["revision"] else "main")
                elif len(parts) > 4 and parts[2] == "resolve":
                    self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body)
                else:
                    self._send(404, b"")

            def _known(self, repository: str, revision: str) -> bool:
                if repository == GATED:
                    self._send(403, b"", {"X-Error-Code": "GatedRepo"})
                elif not (hub.root / repository).is_dir():
                    self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
                elif revision not in ("main", hub.commit(repository)):
                    self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
                else:
                    return True
                return False

            def _listing(self, repository: str, revision: str) -> None:
                if not self._known(repository, revision):
                    return
                folder = hub.root / repository
                files = [
                    {"rfilename": file.relative_to(folder).as_posix(), "size": file.stat().st_size}
                    for file in sorted(folder.rglob("*"))
                    if file.is_file()
                ]
                listing = {"id": repository, "sha": hub.commit(repository), "siblings": files}
                self._send(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})

            def _file(self, repository: str, revision: str, name: str, body: bool) -> None:
                if not self._known(repository, revision):
                    return
                commit = {"X-Repo-Commit": hub.commit(repository)}
                file = hub.root / repository / name
                if not file.is_file():
                    self._send(404, b"", {"X-Error-Code": "EntryNotFound", **commit})
                    return
                content = file.read_bytes()
                tag = hashlib.sha256(content).hexdigest()
                self._send(200, content, {"ETag": f'"{tag}"', **commit}, body=body)

            def _send(
                self, status: int, content: bytes, headers: dict[str, str] | None = None, body: bool = True
            ) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                if not body or self.command != "GET":
                    return
                if hub.stall is not None and self.path.endswith(hub.stall):
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    hub._ended.wait()
                    return
                self.wfile.write(content)

        return Handler
