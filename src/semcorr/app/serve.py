"""Start the page: Gradio, kept to this machine, behind the guard."""

import dataclasses
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from semcorr.app.limits import Limits
from semcorr.app.matchers import LoadedMatchers
from semcorr.app.server.address import Address, free_port
from semcorr.app.server.jobs import JobQueue
from semcorr.app.server.served_files import ServedFiles
from semcorr.app.server.sessions import Sessions
from semcorr.app.state import AppState
from semcorr.matchers.spec import MatcherSpec


def serve(
    spec: MatcherSpec,
    limits: Limits,
    runs: Path,
    address: Address,
    on_ready: Callable[[str, int], None],
    load: Callable[[LoadedMatchers], None] = LoadedMatchers.start,
) -> None:
    """Serve the page until Ctrl-C; its temporary folder is removed at the end, however it ends.

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
    port = free_port(address)
    matchers = LoadedMatchers(spec)
    load(matchers)  # an error shows now, not to the first visitor
    folder = Path(tempfile.mkdtemp(prefix="semcorr-app-"))
    keep_to_this_machine(folder)
    files = ServedFiles()
    state = AppState(
        matchers=matchers,
        limits=limits,
        folder=folder,
        runs=runs,
        files=files,
        sessions=Sessions(files, limits),
        queue=JobQueue(limits.waiting),
    )
    try:
        _launch(state, dataclasses.replace(address, port=port), on_ready)
    finally:
        state.queue.close()
        shutil.rmtree(folder, ignore_errors=True)


def _launch(state: AppState, address: Address, on_ready: Callable[[str, int], None]) -> None:
    # Gradio, and Starlette with it, is an extra, and reads its environment on import: only now is that set.
    from starlette.middleware import Middleware

    from semcorr.app.page.page import appearance, build
    from semcorr.app.server.guard import Guard

    guard = Middleware(
        Guard, files=state.files, limits=state.limits, host=address.host, folder=state.folder, names=address.names
    )
    page = build(state)
    page.queue(default_concurrency_limit=None, max_size=None)
    page.launch(
        server_name=address.host,
        server_port=address.port,
        app_kwargs={"middleware": [guard], "docs_url": None, "redoc_url": None},
        max_file_size=state.limits.bytes,
        prevent_thread_lock=True,
        quiet=True,
        max_threads=200,  # each page that waits for a job occupies one
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
        **appearance(),
    )
    on_ready(address.host, address.port)
    stop = threading.Event()
    # SIGTERM is how a service manager ends it; Ctrl-C raises KeyboardInterrupt by itself.
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        while not stop.wait(0.5):
            pass
    finally:
        signal.signal(signal.SIGTERM, before)
        page.close(verbose=False)


def keep_to_this_machine(folder: Path) -> None:
    """Set Gradio's environment before it is imported: no statistics, no update check, one folder for files."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]  # they can share paths or make the address public
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
