"""The page's server in a thread of the tests, and a visitor for each test."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.serving import Client, Visitor
from semcorr.app.limits import Limits
from semcorr.app.matchers import LoadedMatchers
from semcorr.app.serve import guarded
from semcorr.app.server.address import Address, free_port
from semcorr.matchers.spec import MatcherSpec
from server_threads import serving_app

SHORT = {"steps": 3, "locate_crops": 4, "dift_samples": 1}
"""Settings of a short run."""


@dataclass(frozen=True)
class Served:
    """A server: where it answers, its folders, and what is behind it."""

    host: str
    works: Path
    state: Any

    def visitor(self) -> Visitor:
        """Somebody with a work of their own."""
        return Visitor(self.host, Client(self.host).ask("/api/new", {})[1]["key"])


@contextlib.contextmanager
def served(spec: MatcherSpec, works: Path, runs: Path) -> Iterator[Served]:
    """Serve a page that opens with a matcher, with low limits."""
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    from semcorr.app.server.kept_works import KeptWorks
    from semcorr.app.server.served_files import ServedFiles
    from semcorr.app.server.sessions import Sessions
    from semcorr.app.state import AppState

    files, limits = ServedFiles(), Limits(targets=3, points=4, letters=40, held_megapixels=0.01)
    state = AppState(
        matchers=LoadedMatchers(spec),
        limits=limits,
        runs=runs,
        files=files,
        sessions=Sessions(files, limits, KeptWorks(works)),
    )
    address = Address(port=free_port(Address(port=0)))
    try:
        with serving_app(guarded(state, address), address.port):
            yield Served(f"127.0.0.1:{address.port}", works, state)
    finally:
        state.queue.close()


@pytest.fixture(scope="session")
def server(page_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page of drawings."""
    # Tests add runs to a folder of their own.
    runs = tmp_path_factory.mktemp("page-runs")
    shutil.copytree(page_runs, runs, dirs_exist_ok=True)
    spec = MatcherSpec(method="attention-dift", model="toy", options=SHORT)
    with served(spec, tmp_path_factory.mktemp("works"), runs) as made:
        yield made


@pytest.fixture
def visitor(server: Served) -> Visitor:
    """Somebody with a work of their own."""
    return server.visitor()
