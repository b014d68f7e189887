"""``semcorr review``: the page on which predicted key-points are accepted, corrected and rejected."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.extras import check_app_extra
from semcorr.cli.options import MatcherOptions
from semcorr.cli.review_page import PageOptions, write_or_serve
from semcorr.cli.targets import chosen
from semcorr.errors import SettingsError
from semcorr.matchers.registry import AUTO, methods

if TYPE_CHECKING:
    from semcorr.matchers.base import Matcher
    from semcorr.review.again import PredictAgain
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
_PAGE = PageOptions()


def review(
    predicted: Path,
    /,
    *,
    images: Path | None = None,
    replace: Annotated[bool, Parameter(negative="")] = False,
    support: int = 20,
    min_confidence: float = 0.5,
    page: PageOptions = _PAGE,
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
        replace: Write the output even if there is a file of that name which the review did not write.
        support: Annotated and accepted objects of each category that points are taken from, at most.
        min_confidence: From which confidence on a point that is predicted again is marked as visible.
        page: What the page writes, and where it listens.
        options: What doubtful objects are predicted again with.
    """
    if not page.write:
        check_app_extra()
    if not 0 <= min_confidence <= 1:
        raise SettingsError(f"Expected --min-confidence from 0 to 1, got {min_confidence}.")
    from semcorr.review.review import Review

    with Review(predicted, images=images, output=page.output, replace=replace).open() as opened:
        for note in opened.annotations.notes:
            console.note(f"{note[:1].upper()}{note[1:].rstrip('.')}.")

        def again() -> "PredictAgain":
            from semcorr.review.again import PredictAgain
            from semcorr.transfer.plan import TransferSettings

            return PredictAgain(
                opened, lambda: _load(opened, options), TransferSettings(support=support), min_confidence
            )

        write_or_serve(opened, page, command="semcorr review", again=again)
    return 0


def _load(opened: "Review", options: ReviewOptions) -> "Matcher":
    """The method, when it is needed first."""
    method, made_with = opened.info.get("method"), opened.info.get("matcher")
    model = made_with.get("model_id") if isinstance(made_with, dict) else None
    if options.method == AUTO and not options.model and method in methods() and isinstance(model, str):
        options = replace(options, method=str(method), model=model)
    return chosen(options).load()
