"""Serve a page until Ctrl-C."""

import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from semcorr.app.server.address import Address
from semcorr.app.server.http_guard import Asgi

if TYPE_CHECKING:
    import uvicorn


def run(application: Asgi, address: Address, on_ready: Callable[[], None]) -> None:
    """Serve an application, which must be behind a guard, until Ctrl-C or SIGTERM.

    Args:
        application: What answers.
        address: Where to listen; the port is one that is free.
        on_ready: Called when the page answers.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        SystemExit: SIGTERM, with status 0: it is how a service manager ends it.
    """
    import uvicorn  # an extra

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_ready()

    # uvicorn ends in order, and then passes the signal on to this.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        Server(configuration(application, address)).run()
    finally:
        signal.signal(signal.SIGTERM, before)


def configuration(application: Asgi, address: Address) -> "uvicorn.Config":
    """How uvicorn serves an application; requests that are in progress when it ends have two seconds."""
    import uvicorn  # an extra

    return uvicorn.Config(
        application,
        host=address.host,
        port=address.port,
        log_level="error",
        access_log=False,
        ws="none",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
