"""``semcorr review``: the page on which predicted key-points are accepted, corrected and rejected."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.extras import check_app_extra
from semcorr.cli.options import MatcherOptions, Repeated
from semcorr.cli.targets import chosen
from semcorr.errors import SettingsError
from semcorr.matchers.registry import AUTO, methods

if TYPE_CHECKING:
    from semcorr.matchers.base import Matcher
    from semcorr.review.review import Review


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReviewOptions(MatcherOptions):
    """What doubtful objects are predicted again with.

    Attributes:
        method: "auto": the method and the model that the file was made with, if it says so, else as for semcorr
            transfer.
    """


_OPTIONS = ReviewOptions()


def review(
    predicted: Path,
    /,
    *,
    images: Path | None = None,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    write: Annotated[bool, Parameter(negative="")] = False,
    replace: Annotated[bool, Parameter(negative="")] = False,
    port: int = 7861,
    host: str = "127.0.0.1",
    name: Repeated = (),
    support: int = 20,
    min_confidence: float = 0.5,
    options: ReviewOptions = _OPTIONS,
) -> int:
    """Open a page on which the key-points that were predicted in PREDICTED are accepted, corrected or rejected.

    PREDICTED is what `semcorr transfer` wrote, in any format; it is never written to. Every change is on the disk, in
    the folder PREDICTED.review, before the page shows it as saved: the same command continues. Corrected files are in
    the format of PREDICTED.

    The page is for this machine alone unless --host says otherwise, and for browsers that open the address that is
    printed. Ctrl-C ends it.

    Args:
        predicted: The file of predictions.
        images: Folder of the images that it names.
        output: The file that the page's button Write makes. [default: NAME.corrected beside PREDICTED]
        write: Write it now, with all corrections so far, and open no page.
        replace: Write the output even if there is a file of that name which the review did not write.
        port: Where the page listens; 0 takes any port that is free.
        host: The address it listens at; 0.0.0.0 lets in who can reach this machine and has the printed address.
        name: A further host name of the page, such as that of a proxy before it; repeat for more.
        support: Annotated and accepted objects of each category that points are taken from, at most.
        min_confidence: From which confidence on a point that is predicted again is marked as visible.
        options: What doubtful objects are predicted again with.
    """
    if not write:
        check_app_extra()
    if not 0 <= min_confidence <= 1:
        raise SettingsError(f"Expected --min-confidence from 0 to 1, got {min_confidence}.")
    from semcorr.review.review import Review

    with Review(predicted, images=images, output=output, replace=replace).open() as opened:
        for note in opened.annotations.notes:
            console.note(f"{note[:1].upper()}{note[1:].rstrip('.')}.")
        if write:
            for path in opened.write():
                console.say(f"Written: {path}")
            return 0
        from semcorr.app.server.address import Address
        from semcorr.review.again import PredictAgain
        from semcorr.review.serve import serve
        from semcorr.transfer.plan import TransferSettings

        again = PredictAgain(opened, lambda: _load(opened, options), TransferSettings(support=support), min_confidence)
        serve(opened, again, Address(host=host, port=port, names=tuple(name)), _announce)
    return 0


def _load(opened: "Review", options: ReviewOptions) -> "Matcher":
    """The method, when it is needed first."""
    method, made_with = opened.info.get("method"), opened.info.get("matcher")
    model = made_with.get("model_id") if isinstance(made_with, dict) else None
    if options.method == AUTO and not options.model and method in methods() and isinstance(model, str):
        options = replace(options, method=str(method), model=model)
    return chosen(options).load()


def _announce(host: str, port: int, key: str) -> None:
    name = "localhost" if host in ("127.0.0.1", "::1") else host
    console.say(f"The page is at http://{name}:{port}/?key={key} (Ctrl-C ends it).")
