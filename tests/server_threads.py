"""Servers in a thread of the tests, on free ports of this machine."""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any

from deadline import DEADLINE
from semcorr.app.server.address import Address


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer requests with a handler; the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, _running(server.serve_forever, server.shutdown):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def serving_app(app: Any, port: int) -> Iterator[None]:
    """Serve an application as the page's commands do, from when it answers."""
    import uvicorn  # an extra

    from semcorr.app.server.run import configuration

    server = uvicorn.Server(configuration(app, Address(port=port)))

    def stop() -> None:
        server.should_exit = True

    with _running(server.run, stop):
        while not server.started:
            time.sleep(0.01)
        yield


@contextmanager
def _running(run: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(DEADLINE)
        frame = sys._current_frames().get(thread.ident or 0)
        assert not thread.is_alive(), "".join(traceback.format_stack(frame))


def relay(output: IO[str]) -> None:
    """Print what a server's process prints from now on, beside a test that fails: a full pipe would stop it."""
    assert sys.__stderr__ is not None
    threading.Thread(target=sys.__stderr__.writelines, args=(output,), daemon=True).start()
