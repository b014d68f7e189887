"""``semcorr match``: points of one image in others."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.arrays import check_file
from semcorr.cli.figures import FigureNames, FigureOptions, MatchFigures
from semcorr.cli.options import Json, MatcherOptions, Output, Points, require_points
from semcorr.cli.targets import TargetRun, checked_source, chosen, load, locate_here, readable_targets

_DEFAULT_OPTIONS = MatcherOptions()
_DEFAULT_OUTPUT = Path("output")


def match(
    source: str,
    /,
    *targets: str,
    points: Points = None,
    layers: Annotated[bool, Parameter(negative="")] = False,
    figure: Annotated[bool, Parameter(negative="")] = False,
    output: Output = _DEFAULT_OUTPUT,
    arrays: Path | None = None,
    pairs: Path | None = None,
    json: Json = False,
    options: MatcherOptions = _DEFAULT_OPTIONS,
) -> int:
    """Find points of SOURCE in every TARGET; print where they are and write a figure for each.

    Args:
        source: The image that the points are in.
        targets: The images to find them in.
        points: X Y in pixels of SOURCE from its top-left corner; repeat for more points.
        layers: For each target, write a figure of every layer's heat maps as well; runs the network once more.
        figure: Write one figure of all targets with their heat maps as well.
        output: Folder for the figures.
        arrays: Write points, confidence and heat maps of all targets to this .npz file, for numpy.load; with --layers
            also every layer's.
        pairs: Write the points of all targets to this .json file, as transformers' key-point matching pipeline does.
        json: Print one JSON document instead of tables.
        options: What to match with.
    """
    requested = FigureOptions(layers=layers, all_targets=figure)
    check_file(arrays, "--arrays", "out.npz")
    check_file(pairs, "--pairs", "out.json")
    given = require_points(points)
    image = checked_source(source, given)
    readable, broken = readable_targets(targets)
    spec = chosen(options)
    requested.check(spec)
    matcher = load(spec)
    with console.TerminalProgress() as progress:
        query = matcher.describe(image, given, progress=progress)
    names = FigureNames(output, source)
    figures = MatchFigures(options=requested, matcher=matcher, query=query, source=image, names=names)
    run = TargetRun(query=query, source=image, names=names, json=json, figures=figures, arrays=arrays, pairs=pairs)
    return run.over(readable, locate_here(matcher, query, readable), broken)
