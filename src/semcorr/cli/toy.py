"""``semcorr toy``: draw the toy world and train the bundled model on it."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from semcorr.cli import console
from semcorr.cli.options import Repeated, parse_settings
from semcorr.errors import SettingsError, suggest

if TYPE_CHECKING:
    from semcorr.toy.training_run import Recipe

toy_app = App(name="toy", help="Draw the toy world, and train the bundled model on it.")


@toy_app.command
def render(output: Path, /, *, images: int = 20, size: int = 256) -> int:
    """Write drawings with exact key-points as a data set in SPair-71k's layout.

    Splits trn, val and test never share a drawing. All ordered pairs within a category are annotated.

    Args:
        output: A new folder.
        images: Pictures of each of the four categories in each of the three splits.
        size: Side of the pictures in pixels.
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
) -> int:
    """Write drawings as COCO key-points: a few annotated ones, and others to carry the points over to.

    annotations.json is what `semcorr transfer` takes; truth.json holds the others' points, for `semcorr eval`.

    Args:
        output: A new folder.
        category: Only this category; repeat for more.
        support: Annotated pictures of each category.
        targets: Others of each.
        size: Side of the pictures in pixels.
        split: Which drawings; splits share none.
        boxes: Annotate the others' boxes, too.
    """
    from semcorr.toy.coco import write_coco

    with console.TerminalProgress() as progress:
        made = write_coco(
            output,
            categories=category,
            support=support,
            targets=targets,
            size=size,
            split=split,
            boxes=boxes,
            progress=progress,
        )
    found = output / "found.json"
    console.say(f"Written: {made.annotations}, {made.truth}, and pictures in {made.images}")
    console.say(f"Try: semcorr transfer {made.annotations} --images {made.images} --model toy -o {found}")
    console.say(f"     semcorr eval {found} --truth {made.truth}")
    return 0


@toy_app.command
def train(output: Path, /, *, changes: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None) -> int:
    """Train the bundled model from nothing; the same command continues with a run that was stopped.

    The bundled model's semcorr.json says how long each stage took on two cores.

    Args:
        output: Folder of the run; the finished model is its sub-folder "model".
        changes: Changes to the recipe as name=value, such as unet_steps=100.
    """
    from semcorr.toy.training_run import train

    recipe = _recipe(parse_settings(changes or ()))
    with console.TerminalProgress() as progress:
        folder = train(output, recipe, progress=progress)
    console.say(f"Model: {folder}   Try: semcorr demo --model {folder}")
    return 0


def _recipe(changes: Mapping[str, object]) -> "Recipe":
    """The shipped recipe with some numbers changed."""
    from semcorr.toy.training_run import Recipe

    known = {field.name for field in fields(Recipe)}
    for name, value in changes.items():
        if name not in known:
            there = ", ".join(sorted(known))
            raise SettingsError(f"Unknown recipe setting {name!r}.{suggest(name, known)} There are: {there}.")
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise SettingsError(f"Recipe setting {name!r}: expected a number from 0, got {value!r}.")
    return replace(Recipe(), **changes)  # type: ignore[arg-type]  # checked above
