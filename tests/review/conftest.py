"""The review as a server: in a thread of the tests, and as the command in a process."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.browsing import OPTIONS, open_slowly
from cli.conftest import START
from review.files import Client, write_coco, write_faulty_faces
from server_threads import relay, serving_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

    from semcorr.review.again import PredictAgain
    from semcorr.review.review import Review


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "data")


@pytest.fixture
def client(predictions: Path) -> Iterator[Client]:
    """A client of the server behind its guard, in a thread."""
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    from semcorr.review.again import PredictAgain
    from semcorr.review.review import Review
    from semcorr.transfer.plan import TransferSettings

    def load() -> Any:
        raise AssertionError("no model is needed here")

    with Review(predictions).open() as review:
        again = PredictAgain(review, load, TransferSettings(), 0.5)
        with client_of(review, again) as one:
            yield one


@pytest.fixture
def check_client(faulty: Path) -> Iterator[Client]:
    """The same of a server of what a check lists."""
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    from semcorr.keypoints.check import check_annotations
    from semcorr.review.review import Review

    findings = check_annotations(faulty).findings
    with Review(faulty, findings=findings).open() as review, client_of(review, None) as one:
        yield one


@contextmanager
def client_of(review: "Review", again: "PredictAgain | None") -> Iterator[Client]:
    """Serve a review that is open."""
    from semcorr.app.server.address import Address, free_port
    from semcorr.app.server.http_guard import HttpGuard
    from semcorr.review.server import access, build

    port = free_port(Address(port=0))
    app = HttpGuard(build(review, again, "the-key"), access("the-key"), "127.0.0.1")
    with serving_app(app, port):
        yield Client(f"127.0.0.1:{port}", "the-key")


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faulty_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture
def faulty(faces: Path, tmp_path: Path) -> Path:
    """Annotated drawings of which five have a fault."""
    return Path(shutil.copytree(faces.parent, tmp_path / "world")) / faces.name


class Command:
    """``semcorr review``, or another command with its page, as a process."""

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

        def run(*arguments: object, command: str = "review") -> Command:
            process = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", START, command, *map(str, arguments), "--port", "0"],
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
                    relay(process.stdout)
                    return Command(process, address[0].replace("localhost", "127.0.0.1"))
            raise AssertionError(f"the page did not start: {output}")

        yield run


@pytest.fixture
def open_tab(browser: "Browser", command: Any) -> Iterator[Callable[..., "Tab"]]:
    """Open the page as a new user; errors, dialogs and requests to another server fail the test."""
    wrong: list[str] = []
    contexts = []

    def start(**options: Any) -> "Tab":
        context = browser.new_context(**{**OPTIONS, **options})
        contexts.append(context)
        tab = open_slowly(context)
        tab.set_default_timeout(60_000)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("dialog", lambda dialog: wrong.append(dialog.message))
        tab.on("request", lambda request: None if command.host in request.url else wrong.append(request.url))
        tab.goto(command.address)
        tab.wait_for_selector(".card[aria-current]")
        return tab

    yield start
    for context in contexts:
        context.close()
    assert wrong == []
