"""``semcorr match``, ``describe`` and ``locate``: points of one image in others."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.figures import FigureNames, FigureOptions, MatchFigures
from semcorr.cli.options import Device, DType, Json, MatcherOptions, Output, Points, require_points
from semcorr.cli.targets import (
    TargetRun,
    checked_source,
    load,
    load_matcher,
    locate_here,
    locate_remotely,
    readable_targets,
)
from semcorr.errors import QueryError, SemcorrError, SettingsError
from semcorr.matchers.spec import MatcherSpec

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
        json: Print one JSON document instead of tables.
        options: What to match with.
    """
    requested = FigureOptions(layers=layers, all_targets=figure)
    given = require_points(points)
    requested.check(options)
    image = checked_source(source, given)
    readable, broken = readable_targets(targets)
    matcher = load_matcher(options)
    with console.TerminalProgress() as progress:
        query = matcher.describe(image, given, progress=progress)
    names = FigureNames(output, source)
    figures = MatchFigures(options=requested, matcher=matcher, query=query, source=image, names=names)
    run = TargetRun(query=query, source=image, names=names, json=json, figures=figures)
    return run.over(readable, locate_here(matcher, query, readable), broken)


def describe(
    image: str,
    /,
    *,
    points: Points = None,
    output: Output,
    options: MatcherOptions = _DEFAULT_OPTIONS,
) -> int:
    """Describe points of IMAGE once and save them; `semcorr locate` finds them in any number of images.

    Args:
        image: The image that the points are in.
        points: X Y in pixels of IMAGE from its top-left corner; repeat for more points.
        output: The file to write, ending in .safetensors.
        options: What to match with.
    """
    given = require_points(points)
    if output.suffix != ".safetensors":
        raise SettingsError(f"Expected a file name that ends in .safetensors after -o, got {str(output)!r}.")
    source = checked_source(image, given)
    matcher = load_matcher(options)
    with console.TerminalProgress() as progress:
        query = matcher.describe(source, given, progress=progress)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        query.save(output)
    except OSError as error:
        raise SemcorrError(
            f"{str(output)!r} cannot be written: {error.strerror or error}. Choose another -o."
        ) from error
    console.say(f"Saved {len(query.points)} points of {image}. Find them with: semcorr locate {output} TARGET")
    return 0


def locate(
    query: Path,
    /,
    *targets: str,
    source: str | None = None,
    model: str | None = None,
    output: Output = _DEFAULT_OUTPUT,
    json: Json = False,
    dtype: DType = "float32",
    device: Device = "auto",
    calibration: str | None = None,
    latents_cache: Path | None = None,
    workers: int = 1,
    ray: str | None = None,
) -> int:
    """Find the points that `semcorr describe` saved in QUERY in every TARGET.

    Args:
        query: The file that `semcorr describe` wrote; it knows its model and settings.
        targets: The images to find the points in.
        source: The image that was described; with it, a figure is written for each target.
        model: The query's model, if it has moved: hub id, folder or file.
        output: Folder for the figures.
        json: Print one JSON document instead of tables.
        dtype: Precision of the network.
        device: Where it runs; auto takes a GPU if there is one.
        calibration: File that `semcorr calibrate` wrote for the query's method, model and settings, or "none".
        latents_cache: Folder that keeps encoded crops for later runs on the same images; results stay the same.
        workers: Number of processes, each with its own copy of the model.
        ray: Run on a Ray cluster: HOST:PORT of its head node, "auto" for the one on this machine, or "local".
    """
    from semcorr.imaging.image import load_image
    from semcorr.matchers.results import Query

    if workers < 1:
        raise SettingsError(f"Expected at least 1 of --workers, got {workers}.")

    saved = Query.load(query)
    image = None if source is None else load_image(source)
    if image is not None and image.sha256 != saved.image_sha256:
        raise QueryError(
            f"{str(query)!r} was made from another image than {source!r}. Name the image it was made from."
        )
    readable, broken = readable_targets(targets)
    spec = MatcherSpec(
        method=saved.method,
        model=model or saved.model_id,
        options={
            "revision": None if model else saved.model_revision,
            "dtype": dtype,
            "device": device,
            "calibration": calibration,
            **({} if latents_cache is None else {"latents_cache": latents_cache}),
            **saved.settings,
        },
    )
    console.note(f"Matching with {saved.method} (the settings of {query}) on {spec.model}.")
    if workers > 1 or ray is not None:
        located = locate_remotely(spec, query, readable, workers=workers, ray=ray)
    else:
        located = locate_here(load(spec), saved, readable)
    run = TargetRun(query=saved, source=image, names=FigureNames(output, source or ""), json=json)
    return run.over(readable, located, broken)
