"""``semcorr toy``: draw the toy world as data sets."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from semcorr.cli import console
from semcorr.cli.options import Repeated

toy_app = App(name="toy", help="Draw the toy world as a data set.")


@toy_app.command
def render(output: Path, /, *, images: int = 20, size: int = 256) -> int:
    """Write drawings with exact key-points as a data set in SPair-71k's layout.

    The splits trn, val and test share no drawing. All ordered pairs within a category are annotated.

    Args:
        output: A new folder.
        images: Number of drawings of each of the four categories, in each of the three splits.
        size: Side of the drawings in pixels.
    """
    from semcorr.toy.spair_layout import write_spair

    with console.TerminalProgress() as progress:
        pairs = write_spair(output, images=images, size=size, progress=progress)
    console.say(f"{output}: " + ", ".join(f"{count} {split} pairs" for split, count in pairs.items()))
    return 0


@toy_app.command
def coco(
    output: Path,
    /,
    *,
    category: Repeated = (),
    support: int = 5,
    targets: int = 200,
    size: int = 256,
    split: Literal["train", "val", "test"] = "test",
    boxes: Annotated[bool, Parameter(negative="")] = False,
    masks: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write drawings with COCO key-points: a few that are annotated, and others to transfer the points to.

    `semcorr transfer` reads annotations.json; truth.json holds the points of the others, for `semcorr eval`.

    Args:
        output: A new folder.
        category: Only this category; repeat for more.
        support: Number of annotated drawings of each category.
        targets: Number of other drawings of each category.
        size: Side of the drawings in pixels.
        split: Which drawings; no two splits share one.
        boxes: Annotate the boxes of the others as well.
        masks: Write the parts of all drawings as label maps, for `semcorr segment`.
    """
    from semcorr.toy.coco import write_coco

    with console.TerminalProgress() as progress:
        world = write_coco(
            output,
            categories=category,
            support=support,
            targets=targets,
            size=size,
            split=split,
            boxes=boxes,
            masks=masks,
            progress=progress,
        )
    result = output / "found.json"
    console.say(f"Written: {world.annotations}, {world.truth}, and images in {world.images}")
    console.say(f"Try: semcorr transfer {world.annotations} --images {world.images} --model toy -o {result}")
    console.say(f"     semcorr score {result} {world.truth}")
    return 0
