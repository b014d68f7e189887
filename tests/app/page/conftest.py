"""The page, built once, and a visitor for each test."""

import asyncio
import contextlib
import gc
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.page.visitor import SHORT, Visitor
from semcorr.app.limits import Limits
from semcorr.app.matchers import LoadedMatchers
from semcorr.app.serve import keep_to_this_machine
from semcorr.app.server.served_files import ServedFiles
from semcorr.app.server.sessions import Sessions
from semcorr.app.state import AppState
from semcorr.matchers.spec import MatcherSpec


@contextlib.contextmanager
def no_loops_left() -> Iterator[None]:
    """Collect the event loops that Gradio leaves open on import, which would be warnings in a later test."""
    with warnings.catch_warnings(), contextlib.closing(asyncio.new_event_loop()) as loop:
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.set_event_loop(loop)  # else Gradio makes one that stays until another is set
        yield
        asyncio.set_event_loop(None)
        gc.collect()


@contextlib.contextmanager
def made_state(spec: MatcherSpec, folder: Path, runs: Path) -> Iterator[AppState]:
    """The state of a page that opens with a matcher."""
    with no_loops_left():
        pytest.importorskip("gradio", reason='Gradio is not installed: pip install "semcorr[app]"')
    files, limits = ServedFiles(), Limits(targets=3, points=4, letters=40)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "HF_HUB_DISABLE_TELEMETRY"):
            patch.setenv(name, os.environ.get(name, ""))  # restored at the end
        keep_to_this_machine(folder)
        made = AppState(
            matchers=LoadedMatchers(spec),
            limits=limits,
            folder=folder,
            runs=runs,
            files=files,
            sessions=Sessions(files, limits),
        )
        yield made
        made.queue.close()


@pytest.fixture(scope="session")
def state(page_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppState]:
    # Tests add runs to a folder of their own.
    runs = tmp_path_factory.mktemp("page-runs")
    shutil.copytree(page_runs, runs, dirs_exist_ok=True)
    spec = MatcherSpec(method="attention-dift", model="toy", options=SHORT)
    with made_state(spec, tmp_path_factory.mktemp("page"), runs) as made:
        yield made


def built_page(state: AppState) -> Any:
    """The page of a state."""
    with no_loops_left():
        from gradio.context import LocalContext

        from semcorr.app.page.page import build

        LocalContext.in_event_listener.set(False)  # as it is until a visitor triggers something
        return build(state)


@pytest.fixture(scope="session")
def page(state: AppState) -> Any:
    return built_page(state)


@pytest.fixture
def visitor(page: Any, state: AppState, request: pytest.FixtureRequest) -> Visitor:
    return Visitor(page, state, request.node.name, {})
