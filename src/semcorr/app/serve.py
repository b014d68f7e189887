"""Start the page for two images, behind its guard."""

import dataclasses
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from semcorr.app.limits import Limits
from semcorr.app.matchers import LoadedMatchers
from semcorr.app.server.address import Address, free_port
from semcorr.matchers.spec import MatcherSpec

if TYPE_CHECKING:
    from semcorr.app.server.page_guard import PageGuard
    from semcorr.app.state import AppState


def serve(
    spec: MatcherSpec,
    limits: Limits,
    runs: Path,
    address: Address,
    on_ready: Callable[[str, int], None],
    load: Callable[[LoadedMatchers], None] = LoadedMatchers.start,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        spec: What the page opens with.
        limits: What is refused.
        runs: The folder whose runs the page may show.
        address: Where to listen.
        on_ready: Called with host and port when the page answers.
        load: Loads what the page opens with, and may show the progress.

    Raises:
        SettingsError: The address is taken, or does not belong to this machine.
        SemcorrError: The model cannot be loaded.
    """
    # Starlette is an extra.
    from semcorr.app.server.run import run
    from semcorr.app.server.served_files import ServedFiles
    from semcorr.app.server.sessions import Sessions
    from semcorr.app.state import AppState

    address = dataclasses.replace(address, port=free_port(address))
    matchers = LoadedMatchers(spec)
    load(matchers)  # an error shows now, not to the first visitor
    files = ServedFiles()
    state = AppState(matchers=matchers, limits=limits, runs=runs, files=files, sessions=Sessions(files, limits))
    try:
        run(guarded(state, address), address, lambda: on_ready(address.host, address.port))
    finally:
        state.queue.close()


def guarded(state: "AppState", address: Address) -> "PageGuard":
    """The page behind its guard."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    from semcorr.app import runs_routes, words_routes, work_routes
    from semcorr.app.server.assets import Assets
    from semcorr.app.server.page_guard import PageGuard, access_to

    assets = Assets(resources.files("semcorr.app") / "page")
    routes = [
        Route("/", lambda _: assets.index()),
        Route("/favicon.ico", lambda _: Response(status_code=204)),
        assets.route(),
        state.files.route(),
        *work_routes.routes(state),
        *words_routes.routes(state),
        *runs_routes.routes(state),
    ]
    access = access_to(routes, "semcorr app")
    return PageGuard(Starlette(routes=routes), access, state.limits, address.host, address.names)
