"""``semcorr convert``: annotations of one tool for another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.options import Json, Repeated
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    from semcorr.keypoints.convert import Conversion


def convert(
    source: Path,
    target: Path,
    /,
    *,
    format: Annotated[str | None, Parameter(name="--format")] = None,  # noqa: A002  # the option's own name
    images: Path | None = None,
    category: Repeated = (),
    validation: float = 0.0,
    margin: float | None = None,
    rescale: Annotated[bool, Parameter(negative="")] = False,
    replace: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> int:
    """Write the annotations in SOURCE in another format, and say what that does not keep.

    SOURCE is in any format that is read; it is never written to. What is written is read again, and counted.

    Args:
        source: The file of annotations, or a project's or data set's folder.
        target: The file to write; for yolo-pose, a folder.
        format: coco, label-studio, cvat, dlib, yolo-pose, deeplabcut, sleap or csv. [default: by the suffix of TARGET]
        images: Folder of the images that SOURCE names.
        category: Only objects of this category; repeat for more.
        validation: The part of the images that yolo-pose holds back for validation, from 0 to below 1.
        margin: Room around the points of an object without a box, as a part of their extent's longer side, where a
            format needs a box. [default: 0.1 for yolo-pose, 0 for coco]
        rescale: Scale coordinates where an image's size is not the one that SOURCE declares.
        replace: Write TARGET even if there is a file of that name.
        json: Print one JSON document instead of lines.
    """
    from semcorr.keypoints.annotation_format import ExportOptions
    from semcorr.keypoints.convert import convert_annotations

    if not 0 <= validation < 1:
        raise SettingsError(f"Expected --validation from 0 to below 1, got {validation}.")
    if margin is not None and not margin >= 0:
        raise SettingsError(f"Expected --margin of 0 or more, got {margin}.")
    done = convert_annotations(
        source,
        target,
        format=format,
        images=images,
        categories=category,
        options=ExportOptions(min_confidence=0.0, margin=margin, validation=validation),
        rescale=rescale,
        replace_existing=replace,
    )
    if json:
        console.show_json(
            {
                "files": [str(path) for path in done.files],
                "from": done.source.name,
                "to": done.target.name,
                "read": done.before,
                "written": done.after,
                "lost": done.lost,
                "notes": done.notes,
            }
        )
        return 0
    _print(done)
    return 0


def _print(done: "Conversion") -> None:
    from semcorr.keypoints.contents import IMAGES, OBJECTS, POINTS

    for note in done.notes:
        console.note(f"{note[:1].upper()}{note[1:].rstrip('.')}.")
    if done.lost:
        listed = ", ".join(f"{count} of {done.before[kind]} {kind}" for kind, count in done.lost.items())
        title = done.target.title
        console.note(f"{title[:1].upper()}{title[1:]} does not keep: {listed}.")
    counted = ", ".join(f"{done.after[kind]} {kind}" for kind in (IMAGES, OBJECTS, POINTS))
    console.say(f"{done.source.title} to {done.target.title}: {counted}.")
    for path in done.files:
        console.say(f"Written: {path}")
