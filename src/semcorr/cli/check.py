"""``semcorr check``: what a trainer would trip over in annotations."""

import json as json_text
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.extras import check_app_extra
from semcorr.cli.options import MatcherOptions
from semcorr.cli.review_page import PageOptions, write_or_serve
from semcorr.cli.targets import chosen, load
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    from semcorr.keypoints.base import Annotations
    from semcorr.keypoints.check import Finding, Report


_MATCHER = MatcherOptions()
_PAGE = PageOptions()


def check(
    annotations: Path,
    /,
    *,
    images: Path | None = None,
    most: int = 20,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    replace: Annotated[bool, Parameter(negative="")] = False,
    match: Annotated[bool, Parameter(negative="")] = False,
    review: Annotated[bool, Parameter(negative="")] = False,
    page: PageOptions = _PAGE,
    options: MatcherOptions = _MATCHER,
) -> int:
    """List what is suspicious in ANNOTATIONS before something is trained on them, the most suspicious first.

    ANNOTATIONS is in any format that is read, and is never written to. Points outside the image, the same object or
    image twice, declared sizes that are not the images' own, tiny objects, marks that contradict coordinates, and, by
    the geometry of the set alone, left and right exchanged, points in another order, and points that lie far from where
    similar objects have them. With --match a network also predicts each object's points from other annotated objects,
    which takes as long as a transfer to all images.

    With --review the page of `semcorr review` opens on the objects that are listed. What is corrected there is written
    to a new file in the format of ANNOTATIONS, with its ids.

    The exit status is 1 if anything is listed; with --review it is 0.

    Args:
        annotations: The file of annotations, or a project's or data set's folder.
        images: Folder of the images that it names.
        most: How many lines are printed; 0 for all.
        json_file: A file that the whole list is written to, as JSON.
        replace: Write it, and what the page writes, even if there is a file of that name.
        match: Also list points that lie far from where a method predicts them.
        review: Open a page on which the listed objects are corrected, taken out, or accepted as they are.
        page: Of --review: what the page writes, and where it listens.
        options: What --match predicts with.
    """
    from semcorr.keypoints.check import check_annotations
    from semcorr.storage.files import exists, write_atomically

    if page != _PAGE and not review:
        raise SettingsError("Expected --review beside the options of its page, got these alone. Add --review.")
    if review and not page.write:
        check_app_extra()
    if most < 0:
        raise SettingsError(f"Expected --most of 0 or more, got {most}.")
    if json_file is not None and exists(json_file) and not replace:
        raise SettingsError(f"{str(json_file)!r} exists. Choose another name, or write over it with --replace.")
    with console.TerminalProgress() as progress:

        def further(read: "Annotations") -> "Iterable[Finding]":
            from semcorr.transfer.check_matches import match_findings

            return match_findings(read, load(chosen(options)), progress=progress)

        report = check_annotations(annotations, images, further=further if match else None, progress=progress)
    for note in report.notes:
        console.note(f"{note[:1].upper()}{note[1:].rstrip('.')}.")
    _print(report, most or len(report.findings))
    if json_file is not None:
        if json_file.resolve() in {source.resolve() for source in report.sources}:
            raise SettingsError(f"{str(json_file)!r} is read from and cannot be written to. Choose another name.")
        write_atomically(json_file, (json_text.dumps(_document(report), indent=2, allow_nan=False) + "\n").encode())
        console.say(f"Written: {json_file}")
    if review and report.findings:
        return _review(annotations, images, report, page, replace=replace)
    return 1 if report.findings else 0


def _review(annotations: Path, images: Path | None, report: "Report", page: PageOptions, *, replace: bool) -> int:
    """The page on what is listed; the exit status."""
    from semcorr.review.review import Review

    if all(finding.file is None for finding in report.findings):
        console.say("Nothing that is listed is about an object: there is nothing to correct on a page.")
        return 1
    opened = Review(annotations, images=images, output=page.output, replace=replace, findings=report.findings)
    with opened.open():
        write_or_serve(opened, page, command="semcorr check --review")
    return 0


def _document(report: "Report") -> dict[str, object]:
    return {
        "annotations": str(report.path),
        "format": report.format,
        "contents": dict(report.contents),
        "findings": [vars(finding) for finding in report.findings],
        "notes": report.notes,
    }


def _print(report: "Report", most: int) -> None:
    from semcorr.keypoints.contents import IMAGES, OBJECTS, POINTS

    for finding in report.findings[:most]:
        console.say(f"{finding.suspicion:.2f}  {_where(finding)}: {finding.reason}.")
    if len(report.findings) > most:
        console.say(f"and {len(report.findings) - most} more: --most 0 lists all, --json FILE writes all.")
    counted = ", ".join(f"{report.contents[kind]} {kind}" for kind in (IMAGES, OBJECTS, POINTS))
    files = len({finding.file for finding in report.findings} - {None})
    total = f"{len(report.findings)} findings in {files} images" if report.findings else "nothing is suspicious"
    console.say(f"{report.path}: {counted}; {total}.")


def _where(finding: "Finding") -> str:
    """The image and the object, as a person finds them: by its id, or by its number in the image, from 1."""
    if finding.file is None:
        return "all images"
    if finding.position is None:
        return finding.file
    return f"{finding.file}, object {finding.position + 1 if finding.id is None else repr(finding.id)}"
