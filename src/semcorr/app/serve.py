"""Start the page for two images, behind its guard."""

import dataclasses
import threading
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image

from semcorr.app.limits import Limits
from semcorr.app.matchers import LoadedMatchers
from semcorr.app.server.address import Address, free_port
from semcorr.matchers.spec import MatcherSpec

if TYPE_CHECKING:
    from semcorr.app.server.page_guard import PageGuard
    from semcorr.app.server.sessions import Sessions
    from semcorr.app.state import AppState

_SWEEP = 3600.0


def serve(
    spec: MatcherSpec,
    limits: Limits,
    runs: Path,
    works: Path | None,
    address: Address,
    on_ready: Callable[[str, int], None],
    load: Callable[[LoadedMatchers], None] = LoadedMatchers.start,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        spec: What the page opens with.
        limits: What is refused.
        runs: The folder whose runs the page may show.
        works: The folder of works; None for the user's own.
        address: Where to listen.
        on_ready: Called with host and port when the page answers.
        load: Loads what the page opens with, and may show the progress.

    Raises:
        SettingsError: The address is taken, or does not belong to this machine; or works cannot be kept.
        SemcorrError: The model cannot be loaded.
    """
    # Starlette is an extra.
    from semcorr.app.server.kept_works import KeptWorks
    from semcorr.app.server.run import run
    from semcorr.app.server.served_files import ServedFiles
    from semcorr.app.server.sessions import Sessions
    from semcorr.app.state import AppState

    address = dataclasses.replace(address, port=free_port(address))
    kept_works = KeptWorks(works or works_folder())
    kept_works.prepare()
    # Pillow's own limit is lower: it would refuse what is accepted here.
    PIL.Image.MAX_IMAGE_PIXELS = max(PIL.Image.MAX_IMAGE_PIXELS or 0, int(limits.megapixels * 1e6))
    matchers = LoadedMatchers(spec)
    load(matchers)  # an error shows now, not to the first visitor
    files = ServedFiles()
    sessions = Sessions(files, limits, kept_works)
    kept = _how_kept(works or works_folder(), limits, address)
    state = AppState(matchers=matchers, limits=limits, runs=runs, files=files, sessions=sessions, kept=kept)
    stop = threading.Event()
    sweeper = threading.Thread(target=_sweep, args=(sessions, stop), name="semcorr-app-sweep", daemon=True)
    sweeper.start()
    try:
        run(guarded(state, address), address, lambda: on_ready(address.host, address.port))
    finally:
        stop.set()
        state.queue.close()


def works_folder() -> Path:
    """The user's own folder of works."""
    import platformdirs  # an extra

    return platformdirs.user_data_path("semcorr") / "works"


def _how_kept(folder: Path, limits: Limits, address: Address) -> str:
    """Where and how long works are kept; the server's paths concern nobody on another machine."""
    where = f"in the folder {folder}" if address.local else "on the machine that serves this page"
    days = limits.hours / 24
    time = f"{days:.0f} days" if days >= 2 else f"{limits.hours:g} hours"
    return f"Works are kept {where} for {time} after their last use, or until you delete them."


def _sweep(sessions: "Sessions", stop: threading.Event) -> None:
    """Delete works that are not kept any longer, at once and every hour."""
    sessions.sweep()
    while not stop.wait(_SWEEP):
        sessions.sweep()


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
