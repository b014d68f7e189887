"""Start the page: Gradio, told to keep to this machine, behind the guard."""

import dataclasses
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from semcorr.app.matchers import Choice, Models
from semcorr.app.server.guard import Guard
from semcorr.app.server.jobs import JobQueue
from semcorr.app.server.limits import Limits
from semcorr.app.server.served_files import ServedFiles
from semcorr.app.server.sessions import Sessions
from semcorr.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the page is served; a ``port`` of 0 stands for any that is free.

    ``names`` are what it may be called besides its address and the machine's own name, such as a proxy's.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class AppState:
    """All that the page's functions share.

    Attributes:
        models: loads matchers.
        limits: what is refused.
        folder: the page's own temporary folder, where files that are sent lie until they are read.
        runs: the folder whose runs may be looked at.
        shelf: pictures and files for the browser.
        sessions: the open pages.
        queue: the heavy work of all.
    """

    models: Models
    limits: Limits
    folder: Path
    runs: Path
    shelf: ServedFiles
    sessions: Sessions
    queue: JobQueue = field(default_factory=JobQueue)


def serve(
    choice: Choice,
    limits: Limits,
    runs: Path,
    address: Address,
    told: Callable[[str, int], None],
    loading: Callable[[Models], None] = Models.start,
) -> None:
    """Serve the page until Ctrl-C; its temporary folder is removed at the end, whatever ends it.

    Args:
        choice: model and method.
        limits: what is refused.
        runs: the folder whose runs may be looked at.
        address: where to listen.
        told: called with host and port when the page answers.
        loading: loads what the page opens with, and may show how far it is.

    Raises:
        SettingsError: the address is taken, or not this machine's.
        SemcorrError: the model cannot be loaded.
    """
    port = _free(address)
    models = Models(choice)
    loading(models)  # what cannot work is told now, not to the first visitor
    folder = Path(tempfile.mkdtemp(prefix="semcorr-app-"))
    keep_to_this_machine(folder)
    shelf = ServedFiles()
    desk = AppState(
        models=models,
        limits=limits,
        folder=folder,
        runs=runs,
        shelf=shelf,
        sessions=Sessions(shelf, limits),
        queue=JobQueue(limits.waiting),
    )
    try:
        _launch(desk, dataclasses.replace(address, port=port), told)
    finally:
        desk.queue.close()
        shutil.rmtree(folder, ignore_errors=True)


def _launch(desk: AppState, address: Address, told: Callable[[str, int], None]) -> None:
    from starlette.middleware import Middleware  # here: they come with Gradio

    from semcorr.app.page.page import build, look

    page = build(desk)
    page.queue(default_concurrency_limit=None, max_size=None)
    page.launch(
        server_name=address.host,
        server_port=address.port,
        app_kwargs={
            "middleware": [
                Middleware(
                    Guard,
                    shelf=desk.shelf,
                    limits=desk.limits,
                    host=address.host,
                    folder=desk.folder,
                    names=address.names,
                )
            ],
            "docs_url": None,
            "redoc_url": None,
        },
        max_file_size=desk.limits.bytes,
        prevent_thread_lock=True,
        quiet=True,
        max_threads=200,  # whoever waits for a job takes one
        share=False,
        inbrowser=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        show_error=True,
        allowed_paths=[],
        strict_cors=True,
        **look(),
    )
    told(address.host, address.port)
    stop = threading.Event()
    # A service manager's way to end it; Ctrl-C comes as an exception of its own.
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        while not stop.wait(0.5):
            pass
    finally:
        signal.signal(signal.SIGTERM, before)
        page.close(verbose=False)


def keep_to_this_machine(folder: Path) -> None:
    """Before Gradio is imported, which reads these: no statistics, no look for newer versions, files in one place."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]  # paths to serve, a public address: nothing of this is left to chance
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def _free(address: Address) -> int:
    """The port, after trying whether it can be had.

    Raises:
        SettingsError: it cannot.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((address.host, address.port))
            return int(tried.getsockname()[1])
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"The page cannot be served at {address.host}:{address.port}: {error}. Choose another --port (0 takes any "
            "that is free), or another --host."
        ) from error
