"""The page as a process, and a recorder of the connections of a process."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Page:
    """The page as a process: its address, and its temporary folder."""

    url: str
    process: "subprocess.Popen[str]"
    folder: Path


# Loaded into a process as ``sitecustomize``: it records and refuses every connection and name lookup that would leave
# this machine.
SITECUSTOMIZE = """
import os, sys
_AT_HOME = ("127.", "::1", "localhost", "0.0.0.0")

def _hook(event, arguments):
    if event not in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        return
    address = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
    host = address[0] if isinstance(address, tuple) else address
    host = host.decode() if isinstance(host, bytes) else host
    if host is None or str(host).startswith(_AT_HOME) or str(host).startswith("/"):
        return
    with open(os.environ["SEMCORR_TEST_OUTGOING"], "a") as file:
        file.write(f"{event} {host}\\n")
    raise OSError(f"not from here: {host}")

sys.addaudithook(_hook)
"""
