"""The address that a page is served at."""

import socket
from dataclasses import dataclass

from semcorr.errors import SettingsError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the page is served.

    Attributes:
        host: The address to listen at.
        port: The port; 0 stands for any free one.
        names: Names to answer to besides the address and the machine's own name, such as a proxy's.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    names: tuple[str, ...] = ()

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK


def free_port(address: Address) -> int:
    """The port, after checking that it can be bound.

    Raises:
        SettingsError: It cannot.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"The page cannot be served at {address.host}:{address.port}: {error}. Choose another --port (0 takes any "
            "that is free), or another --host."
        ) from error
