"""Fixtures of the page's tests: the page as a process, a browser, a run of the benchmark kit made by hand."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

from app.browsing import OPTIONS, PATIENCE, open_slowly
from app.serving import Page
from semcorr.evaluation.runs.folder import append, open_run
from semcorr.evaluation.runs.records import PairRecord
from semcorr.storage.record_store import Shard, new_record_file
from semcorr.toy.scenes import first_scenes
from server_threads import relay

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., Page]]:
    """Start the page as ``python -m semcorr app`` does, on a free port or the given one, with a model or without one.

    Works are kept in a folder of its own or the given one. It ends with the tests.
    """
    with ExitStack() as started:

        def start(*options: object, port: int = 0, model: str | None = "toy", works: Path | None = None) -> Page:
            if works is None:
                works = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="semcorr-test-app-")))
            temporary = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="semcorr-test-app-")))
            named = ["--works", works, *([] if model is None else ["--model", model])]
            environment = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
            process = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "semcorr", "app", "--port", str(port), *map(str, [*named, *options])],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env=environment,
                )
            )
            started.callback(process.kill)
            assert process.stdout is not None
            output = ""
            for line in process.stdout:
                output += line
                if address := re.search(r"http://localhost:\d+", line):
                    relay(process.stdout)
                    return Page(address[0].replace("localhost", "127.0.0.1"), process, works, temporary)
            raise AssertionError(f"the page did not start: {output}")

        yield start


@pytest.fixture(scope="session")
def page(serve: Callable[..., Page], chromium: str) -> Page:
    """The page with the model of drawings; modules share it, every test as a new user."""
    return serve()


@pytest.fixture
def open_tab(browser: "Browser", page: Page) -> Iterator[Callable[..., "Tab"]]:
    """Open the page as a new user, in a browser with the given options; an error of its script, or a request to another
    server, which is blocked, fails the test.
    """
    wrong: list[str] = []
    contexts = []

    def handle(route: Any) -> None:
        if route.request.url.startswith((page.url, "data:", "blob:")):
            route.continue_()
        else:
            wrong.append(route.request.url)
            route.abort()

    def start(**options: Any) -> "Tab":
        context = browser.new_context(**{**OPTIONS, **options})
        context.set_default_timeout(PATIENCE)
        context.route("**/*", handle)
        contexts.append(context)
        tab = open_slowly(context)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.goto(page.url)
        tab.wait_for_selector("body.ready")
        return tab

    yield start
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def page_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of three pairs of drawings: one all right, one partly wrong, one that failed."""
    root, runs = tmp_path_factory.mktemp("drawings"), tmp_path_factory.mktemp("runs")
    settings = {
        "dataset": {"name": "toy", "split": "test", "setting": "", "threshold": "target-box", "root": str(root)},
        "method": {"name": "oracle"},
    }
    open_run(runs / "deep" / "mine", settings, 4)
    file = new_record_file(runs / "deep" / "mine", Shard())
    for index, (category, error) in enumerate([("animal", ""), ("bird", ""), ("bird", "no memory")]):
        append(file, _record(root, index, category, error))
    return runs


def _record(root: Path, index: int, category: str, error: str) -> PairRecord:
    (_, source), (_, target) = first_scenes(category, 2, size=64)
    names = tuple(sorted(source.visible & target.visible))
    for which, scene in (("source", source), ("target", target)):
        PIL.Image.fromarray(scene.image).save(root / f"{index}-{which}.png")
    truth = np.array([target.keypoints[name] for name in names], dtype=np.float64)
    predicted = truth.copy()
    if index == 1:
        predicted[0] = 64 - predicted[0]  # far from where it was
    return PairRecord(
        index=index,
        pair=f"pair-{index}",
        category=category,
        names=names,
        source=f"{index}-source.png",
        target=f"{index}-target.png",
        source_size=(64, 64),
        target_size=(64, 64),
        source_box=tuple(map(float, source.box)),
        target_box=tuple(map(float, target.box)),
        source_points=np.array([source.keypoints[name] for name in names], dtype=np.float64),
        truth=truth,
        predicted=np.zeros((0, 2)) if error else predicted,
        confidence=np.zeros(0) if error else np.linspace(0.1, 0.9, len(names)),
        error=error,
    )
