"""Serve the page of a review, behind the guard, until Ctrl-C."""

import secrets
import socket
from collections.abc import Callable

from semcorr.app.server.address import Address, free_port
from semcorr.review.again import PredictAgain
from semcorr.review.review import Review


def serve(review: Review, again: PredictAgain, address: Address, on_ready: Callable[[str, int, str], None]) -> None:
    """Serve a review that is open.

    Args:
        review: The review.
        again: What predicts doubtful objects again.
        address: Where to listen.
        on_ready: Called with host, port and key when the page answers.

    Raises:
        SettingsError: The address is taken, or does not belong to this machine.
    """
    import uvicorn  # an extra

    from semcorr.app.server.http_guard import HttpGuard
    from semcorr.review.server import access, build

    port, key = free_port(address), secrets.token_urlsafe(24)
    guarded = HttpGuard(build(review, again, key), access(key), address.host, address.names)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_ready(address.host, port, key)

    config = uvicorn.Config(
        guarded,
        host=address.host,
        port=port,
        log_level="error",
        access_log=False,
        ws="none",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    try:
        Server(config).run()
    finally:
        again.stop()
