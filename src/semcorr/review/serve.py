"""Serve the page of a review, behind the guard, until Ctrl-C."""

import dataclasses
import secrets
from collections.abc import Callable

from semcorr.app.server.address import Address, free_port
from semcorr.review.again import PredictAgain
from semcorr.review.review import Review


def serve(
    review: Review,
    again: PredictAgain | None,
    address: Address,
    on_ready: Callable[[str, int, str], None],
    *,
    command: str,
) -> None:
    """Serve a review that is open.

    Args:
        review: The review.
        again: What predicts doubtful objects again; None: the page does not offer it.
        address: Where to listen.
        on_ready: Called with host, port and key when the page answers.
        command: The command that serves, for messages.

    Raises:
        SettingsError: The address is taken, or does not belong to this machine.
    """
    # Starlette is an extra.
    from semcorr.app.server.http_guard import HttpGuard
    from semcorr.app.server.run import run
    from semcorr.review.server import access, build

    address, key = dataclasses.replace(address, port=free_port(address)), secrets.token_urlsafe(24)
    guarded = HttpGuard(build(review, again, key), access(key, command), address.host, address.names)
    try:
        run(guarded, address, lambda: on_ready(address.host, address.port, key))
    finally:
        if again is not None:
            again.stop()
