"""``semcorr dense``: a grid of points of one image in others, saved as a flow and drawn."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.figures import FigureNames
from semcorr.cli.options import FeatureOptions, Json, Output
from semcorr.cli.targets import chosen, load, readable_targets
from semcorr.errors import SemcorrError

if TYPE_CHECKING:
    from semcorr.imaging.flow import Flow
    from semcorr.imaging.image import Image
    from semcorr.matchers.base import Matcher

_DEFAULT_OUTPUT = Path("output")
_DEFAULT_OPTIONS = FeatureOptions()
_WHITE = 128


def dense(
    source: str,
    /,
    *targets: str,
    step: int | None = None,
    mask: str | None = None,
    flo: Annotated[bool, Parameter(negative="")] = False,
    output: Output = _DEFAULT_OUTPUT,
    json: Json = False,
    options: FeatureOptions = _DEFAULT_OPTIONS,
) -> int:
    """Find a grid of points all over SOURCE in every TARGET.

    Writes a flow for each target (an .npz file), a figure of it in colours, and the target warped into SOURCE's frame.
    Methods on features are made for this; prompt optimizes an embedding for every point of the grid.

    Args:
        source: The image that the grid lies on.
        targets: The images to find its points in.
        step: Distance of the grid's points in pixels of SOURCE. [default: 64 points along the longer side]
        mask: An image of SOURCE's size; only points where it is white are searched for.
        flo: Write the flow as a .flo file as well (Middlebury), with a vector for each pixel.
        output: Folder for flows and figures.
        json: Print one JSON document instead of lines.
        options: What to match with.
    """
    from semcorr.imaging.image import load_image

    image = load_image(source)
    inside = None if mask is None else load_image(mask).pixels.mean(axis=2) >= _WHITE
    _check_grid(image, step, inside)
    readable, broken = readable_targets(targets)
    matcher, names, done = load(chosen(options, "grid")), FigureNames(output, source), []
    for target in readable:
        flow = _flow(matcher, image, load_image(target), step, inside)
        files = _write(flow, load_image(target), names(target), flo=flo)
        done.append({"target": target, "points": int(flow.known.sum()), "step": flow.step, "files": files})
        if not json:
            confidence = float(flow.confidence[flow.known].mean())
            console.say(f"{target}: {int(flow.known.sum())} points, mean confidence {confidence:.2f}")
            console.say("\n".join(files) + "\n")
    if json:
        failed = [{"target": target, "error": message} for target, message in broken.items()]
        console.show_json({"method": matcher.method, "targets": done, "broken": failed})
    return 1 if broken else 0


def _check_grid(image: "Image", step: int | None, mask: np.ndarray | None) -> None:
    """Check that the grid has points before gigabytes are loaded."""
    from semcorr.imaging.flow import grid_points
    from semcorr.matchers.dense import step_of

    grid_points(image.size, step_of(image.size, step), mask)


def _flow(matcher: "Matcher", source: "Image", target: "Image", step: int | None, mask: np.ndarray | None) -> "Flow":
    from semcorr.matchers.dense import dense_flow

    with console.TerminalProgress() as progress:
        return dense_flow(matcher, source, target, step=step, mask=mask, progress=progress)


def _write(flow: "Flow", target: "Image", base: Path, *, flo: bool) -> list[str]:
    from semcorr.imaging.image import save_image
    from semcorr.visualization.flow import colour_wheel, warp

    files = [base.with_suffix(".npz"), *([base.with_suffix(".flo")] if flo else [])]
    try:
        for path in files:
            (flow.dense() if path.suffix == ".flo" else flow).save(path)
    except OSError as error:
        raise SemcorrError(
            f"{str(files[0])!r} cannot be written: {error.strerror or error}. Choose another -o."
        ) from error
    figures = {
        base.with_name(f"{base.stem}-flow.png"): colour_wheel(flow, legend=True),
        base.with_name(f"{base.stem}-warped.png"): warp(target, flow),
    }
    for path, figure in figures.items():
        save_image(figure, path)
    return [str(path) for path in (*files, *figures)]
