"""The page of corrections as two commands open it: its options, and what they print."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.options import Repeated

if TYPE_CHECKING:
    from semcorr.review.again import PredictAgain
    from semcorr.review.review import Review


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What the page of corrections writes, and where it listens.

    Attributes:
        output: The file that the page's button Write makes. [default: NAME.corrected beside the file under review]
        write: Write it now, with all corrections so far, and open no page.
        port: Where the page listens; 0 takes any port that is free.
        host: The address it listens at; 0.0.0.0 lets in who can reach this machine and has the printed address.
        name: A further host name of the page, such as that of a proxy before it; repeat for more.
    """

    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None
    write: Annotated[bool, Parameter(negative="")] = False
    port: int = 7861
    host: str = "127.0.0.1"
    name: Repeated = ()


def write_or_serve(
    opened: "Review", options: PageOptions, *, command: str, again: "Callable[[], PredictAgain] | None" = None
) -> None:
    """Write the corrections so far, or serve the page until Ctrl-C.

    Args:
        opened: The review, open.
        options: Which of both, and where.
        command: The command that serves, for messages.
        again: Makes what predicts doubtful objects again; None: the page does not.
    """
    if options.write:
        for path in opened.write():
            console.say(f"Written: {path}")
        return
    from semcorr.app.server.address import Address
    from semcorr.review.serve import serve

    address = Address(host=options.host, port=options.port, names=tuple(options.name))
    serve(opened, again() if again else None, address, _announce, command=command)


def _announce(host: str, port: int, key: str) -> None:
    name = "localhost" if host in ("127.0.0.1", "::1") else host
    console.say(f"The page is at http://{name}:{port}/?key={key} (Ctrl-C ends it).")
