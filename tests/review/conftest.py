"""The review as a server: in a thread of the tests, and as the command in a process."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import START
from review.files import Client, write_coco
from server_threads import serving_app


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "data")


@pytest.fixture
def client(predictions: Path) -> Iterator[Client]:
    """A client of the server behind its guard, in a thread."""
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    from semcorr.app.server.address import Address, free_port
    from semcorr.app.server.http_guard import HttpGuard
    from semcorr.review.again import PredictAgain
    from semcorr.review.review import Review
    from semcorr.review.server import access, build
    from semcorr.transfer.plan import TransferSettings

    def load() -> Any:
        raise AssertionError("no model is needed here")

    with Review(predictions).open() as review:
        again = PredictAgain(review, load, TransferSettings(), 0.5)
        port = free_port(Address(port=0))
        app = HttpGuard(build(review, again, "the-key"), access("the-key"), "127.0.0.1")
        with serving_app(app, port):
            yield Client(f"127.0.0.1:{port}", "the-key")


class Command:
    """``semcorr review`` as a process."""

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self.process, self.address = process, address
        self.host, self.key = re.fullmatch(r"http://(.+)/\?key=(.+)", address).groups()  # type: ignore[union-attr]

    @property
    def client(self) -> Client:
        return Client(self.host, self.key)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start() -> Iterator[Callable[..., Command]]:
    """Start the command on a free port; it ends with the test."""
    with ExitStack() as started:

        def run(*arguments: object) -> Command:
            process = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", START, "review", *map(str, arguments), "--port", "0"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
                )
            )
            started.callback(process.kill)
            assert process.stdout is not None
            output = ""
            for line in process.stdout:
                output += line
                if address := re.search(r"http://localhost:\d+/\?key=\S+", line):
                    threading.Thread(target=process.stdout.read, daemon=True).start()
                    return Command(process, address[0].replace("localhost", "127.0.0.1"))
            raise AssertionError(f"the page did not start: {output}")

        yield run
