"""``semcorr app``: the page for the browser."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.extras import check_app_extra
from semcorr.cli.options import MatcherOptions, Repeated
from semcorr.cli.targets import chosen
from semcorr.matchers.registry import DEFAULT_METHOD
from semcorr.matchers.spec import LOADING_OPTIONS

if TYPE_CHECKING:
    from semcorr.app.matchers import LoadedMatchers


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AppOptions(MatcherOptions):
    """The matcher of the page when it opens.

    Attributes:
        method: The method that is selected when the page opens, "auto" as for semcorr match; the page offers the others
            of its model as well.
    """

    method: str = DEFAULT_METHOD


_OPTIONS = AppOptions()
_RUNS = Path("runs")


def app_page(
    *,
    port: int = 7860,
    host: str = "127.0.0.1",
    name: Repeated = (),
    runs: Path = _RUNS,
    works: Path | None = None,
    max_megabytes: float = 60.0,
    max_megapixels: float = 200.0,
    keep_hours: float = 720.0,
    options: AppOptions = _OPTIONS,
) -> int:
    """Open a page in the browser: click points, see matches and heat maps, correct wrong ones, export.

    It is for this machine alone unless --host says otherwise. A --model that is not on this machine is downloaded
    before the page opens; after that it needs no network. Ctrl-C ends it.

    Args:
        port: Where the page listens; 0 takes any port that is free.
        host: The address it listens at; 0.0.0.0 lets everyone in who can reach this machine: there is no password.
        name: A further host name of the page, such as that of a proxy before it; repeat for more.
        runs: Folder whose runs (of `semcorr eval`) the page may show.
        works: Folder that keeps what visitors do, so that it is there after a restart. [default: in your data folder]
        max_megabytes: Larger files are refused.
        max_megapixels: Images with more pixels are refused before they are decoded; those of more than 25 are scaled
            down.
        keep_hours: How long a work is kept after its last use.
        options: The matcher.
    """
    check_app_extra()
    from semcorr.app.limits import Limits
    from semcorr.app.serve import serve
    from semcorr.app.server.address import Address

    loading = {name: value for name, value in options.loading().items() if name in LOADING_OPTIONS}
    spec = dataclasses.replace(chosen(options), options={**loading, **options.overrides()})
    limits = Limits(megabytes=max_megabytes, megapixels=max_megapixels, hours=keep_hours)
    serve(spec, limits, runs, works, Address(host=host, port=port, names=tuple(name)), _announce, _load)
    return 0


def _load(matchers: "LoadedMatchers") -> None:
    with console.TerminalProgress() as progress:
        progress.busy("load")
        matchers.start(progress)


def _announce(host: str, port: int) -> None:
    name = "localhost" if host in ("127.0.0.1", "::1") else host
    console.say(f"The page is at http://{name}:{port} (Ctrl-C ends it).")
    if name == host and host != "localhost":
        console.note("Everyone who can reach this machine can use the page: it has no password.")
