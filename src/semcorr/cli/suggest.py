"""``semcorr transfer --suggest``: which images to annotate next."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from semcorr.cli import console
from semcorr.cli.options import MatcherOptions
from semcorr.cli.targets import chosen, load

if TYPE_CHECKING:
    from semcorr.transfer.plan import TransferSettings
    from semcorr.transfer.suggest import Suggestions


def suggest_images(
    annotations: Path,
    targets: Sequence[Path],
    images: Path | None,
    count: int,
    settings: "TransferSettings",
    options: MatcherOptions,
    *,
    json: bool,
) -> int:
    """Print the images whose annotation would help most.

    Args:
        annotations: A file of annotations, a project's folder, or a folder of images alone.
        targets: Files and folders, in place of the annotations' own images.
        images: Folder of the images.
        count: How many are named.
        settings: Categories, margin and whether coordinates are scaled.
        options: What to describe images with.
        json: Print one JSON document instead of a table.

    Returns:
        The exit status: 0, or 1 if images cannot be read.
    """
    from semcorr.imaging.image_files import unread_messages_below
    from semcorr.keypoints.read import is_image_folder, read_annotations
    from semcorr.transfer import suggest

    known = None
    if is_image_folder(annotations):
        console.note(f"{str(annotations)!r} is taken as a folder of images without annotations.")
        targets, images = [annotations, *targets], images or annotations
    else:
        known = read_annotations(annotations, images)
    for message in unread_messages_below(targets or ([images] if images else [])):
        console.note(message)
    candidates = suggest.candidates_of(known, images=images, paths=targets, categories=settings.categories)
    matcher = load(chosen(options, "grid"))
    with console.TerminalProgress() as progress:
        result = suggest.suggest_images(
            matcher, candidates, count, margin=settings.margin, rescale=settings.rescale, progress=progress
        )
    _print(result, json=json)
    return 1 if result.unreadable else 0


def _print(result: "Suggestions", *, json: bool) -> None:
    for file, message in result.unreadable.items():
        console.plain_error(f"{file}: {message}")
    if json:
        console.show_json(
            {
                "suggested": [
                    {
                        "image": one.image.file,
                        "path": one.image.path,
                        "stands_for": one.stands_for,
                        "score": one.image.score,
                    }
                    for one in result.images
                ],
                "without_annotations": result.considered,
                "annotated": result.annotated,
                "broken": [{"image": file, "error": error} for file, error in result.unreadable.items()],
            }
        )
        return
    scored = any(one.image.score is not None for one in result.images)
    table = Table(title="Annotate next, the most useful first", title_justify="left")
    table.add_column("image")
    table.add_column("stands for images", justify="right")
    if scored:
        table.add_column("score now", justify="right")
    for one in result.images:
        score = [] if not scored else ["–" if one.image.score is None else f"{one.image.score:.2f}"]
        table.add_row(one.image.file, str(one.stands_for), *score)
    console.show(table)
    are = "is" if result.annotated == 1 else "are"
    console.say(f"Of {result.considered} images without annotations; {result.annotated} {are} annotated.")
