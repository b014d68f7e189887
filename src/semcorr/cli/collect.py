"""``semcorr collect``: map images of one kind to one canonical grid."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.options import FeatureOptions, Json, Output, parse_settings
from semcorr.cli.targets import chosen, load, readable_targets
from semcorr.models.names import COLLECTION
from semcorr.progress import duration

if TYPE_CHECKING:
    from semcorr.matchers.collection.collect import CollectionSummary

_DEFAULT_OPTIONS = FeatureOptions()
_DEFAULT_OUTPUT = Path(COLLECTION)


def collect(
    *images: str,
    output: Output = _DEFAULT_OUTPUT,
    masks: Path | None = None,
    train: Annotated[list[str] | None, Parameter(name="--train", negative="")] = None,
    json: Json = False,
    options: FeatureOptions = _DEFAULT_OPTIONS,
) -> int:
    """Map IMAGES of one kind to one canonical grid, through which any two of them are matched then.

    A small network is trained on these images alone, from mutual nearest neighbours of a method's features (ASIC).
    Match with --model FOLDER. Ctrl-C stops; the same command continues. FOLDER/canonical.png shows the grid on every
    image.

    Args:
        images: Files, at least three.
        output: Folder of the collection.
        masks: Folder with a mask for each image, of its size and name: white where the object is. [default: where
            mutual neighbours are]
        train: NAME=VALUE, repeated: changes a setting of the training, for instance --train steps=600.
        json: Print one JSON document instead of lines.
        options: The features.
    """
    from semcorr.imaging.image import save_image
    from semcorr.matchers.collection.collect import collect as train_collection
    from semcorr.matchers.collection.collection import Collection
    from semcorr.matchers.collection.settings import CollectionSettings
    from semcorr.settings import override
    from semcorr.visualization.collections import canonical_figure

    settings = override(CollectionSettings(), **parse_settings(train or ()))
    readable, broken = readable_targets(images)
    spec, began = chosen(options, "grid"), time.monotonic()
    matcher = load(spec)
    try:
        with console.TerminalProgress() as progress:
            summary = train_collection(matcher, spec, readable, output, settings, masks=masks, progress=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("The same command continues the training.") from None
    figure = save_image(canonical_figure(Collection.from_pretrained(output)), output / "canonical.png")
    if json:
        failed = [{"image": image, "error": message} for image, message in broken.items()]
        seconds = round(time.monotonic() - began, 1)
        console.show_json({**summary.to_dict(), "seconds": seconds, "figure": str(figure), "broken": failed})
    else:
        _say(summary, time.monotonic() - began, figure)
    return 1 if broken else 0


def _say(summary: "CollectionSummary", seconds: float, figure: Path) -> None:
    after = f", after {summary.continued} steps that were done before" if summary.continued else ""
    losses = ", ".join(f"{name} {value:.3g}" for name, value in summary.losses.items())
    console.say(
        f"{summary.folder}: {summary.images} images, {summary.matches} pseudo-correspondences, in {duration(seconds)}"
        f"{after}"
    )
    console.say(f"Losses at the end: {losses}")
    console.say(f"Figure: {figure}")
    console.say(f"Try: semcorr match SOURCE TARGET -p X Y --model {summary.folder}")
