"""The page as a process, a client of it, and a recorder of the connections of a process."""

import http.client
import json
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Answer = tuple[int, Any]
"""An answer's status, and its JSON or bytes."""


@dataclass(frozen=True)
class Page:
    """The page as a process: its address, the folder of works, and its temporary folder."""

    url: str
    process: "subprocess.Popen[str]"
    works: Path
    temporary: Path

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def visitor(self) -> "Visitor":
        """Somebody with a work of their own."""
        status, answer = Client(self.host).ask("/api/new", {})
        assert status == 200, answer
        return Visitor(self.host, answer["key"])

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait()


class Client:
    """Asks a server, as the page's script does."""

    def __init__(self, host: str) -> None:
        self.host = host

    def ask(self, path: str, body: Any = None, *, method: str = "", **headers: str) -> Answer:
        """Send a GET request, or a POST request with bytes or JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection(self.host, timeout=120)) as connection:
            connection.request(method or ("GET" if body is None else "POST"), path, data, named)
            answer = connection.getresponse()
            read = answer.read()
            return answer.status, json.loads(read) if answer.headers["content-type"] == "application/json" else read


class Visitor(Client):
    """Somebody with a work, and the work as the last answer showed it."""

    def __init__(self, host: str, key: str) -> None:
        super().__init__(host)
        self.key = key
        self.shown: dict[str, Any] = {"revision": 0}

    def ask(self, path: str, body: Any = None, *, method: str = "", **headers: str) -> Answer:
        status, answer = super().ask(path, body, method=method, semcorr_work=self.key, **headers)
        if isinstance(answer, dict) and "points" in answer and "revision" in answer:
            self.shown = answer
        return status, answer

    def reload(self) -> dict[str, Any]:
        """Ask for the work."""
        status, answer = self.ask("/api/work")
        assert status == 200, answer
        return self.shown

    def step(self, name: str, /, **fields: Any) -> Any:
        """Take a step from what was shown; return the answer, which may be a question."""
        status, answer = self.ask(f"/api/work/{name}", {"base": self.shown["revision"], **fields})
        assert status == 200, answer
        return answer

    def refused(self, name: str, /, **fields: Any) -> str:
        """Try to take a step that is refused; return the message."""
        status, answer = self.ask(f"/api/work/{name}", {"base": self.shown["revision"], **fields})
        assert status == 422, answer
        return str(answer["error"])

    def send(self, which: str, name: str, data: bytes, *, sure: bool = False) -> Answer:
        """Send an image as source or target."""
        query = f"name={name}&base={self.shown['revision']}{'&sure=1' if sure else ''}"
        return self.ask(f"/api/work/{which}?{query}", data)

    def find(self, method: str, preset: str | None = None, **fields: str) -> dict[str, Any]:
        """Press Find and wait until the job ends; return it."""
        asked = {"method": method, "preset": preset, "base": self.shown["revision"], **fields}
        status, answer = self.ask("/api/find", asked)
        assert status == 200, answer
        return self.follow()

    def follow(self) -> dict[str, Any]:
        """Wait until the job ends; return it."""
        while True:
            job: dict[str, Any] = self.ask("/api/job")[1]["job"]
            if job["state"] not in ("waiting", "running"):
                self.reload()
                return job
            time.sleep(0.05)


# Loaded into a process as ``sitecustomize``: it records and refuses every connection and name lookup that would leave
# this machine.
SITECUSTOMIZE = """
import os, sys
_AT_HOME = ("127.", "::1", "localhost", "0.0.0.0")

def _hook(event, arguments):
    if event not in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        return
    address = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
    host = address[0] if isinstance(address, tuple) else address
    host = host.decode() if isinstance(host, bytes) else host
    if host is None or str(host).startswith(_AT_HOME) or str(host).startswith("/"):
        return
    with open(os.environ["SEMCORR_TEST_OUTGOING"], "a") as file:
        file.write(f"{event} {host}\\n")
    raise OSError(f"not from here: {host}")

sys.addaudithook(_hook)
"""
