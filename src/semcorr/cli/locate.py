"""``semcorr locate``: the points of a saved query in further images."""

from pathlib import Path

from semcorr.cli import console
from semcorr.cli.arrays import check_file
from semcorr.cli.figures import FigureNames
from semcorr.cli.options import Device, DType, Json, Offload, Output, Quantize, memory_options
from semcorr.cli.targets import TargetRun, load, locate_here, locate_remotely, readable_targets
from semcorr.errors import QueryError, SettingsError
from semcorr.matchers.spec import MatcherSpec

_OUTPUT = Path("output")


def locate(
    query: Path,
    /,
    *targets: str,
    source: str | None = None,
    model: str | None = None,
    method: str | None = None,
    output: Output | None = None,
    arrays: Path | None = None,
    pairs: Path | None = None,
    json: Json = False,
    dtype: DType = "auto",
    device: Device = "auto",
    offload: Offload = False,
    quantize: Quantize = None,
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
        method: The query's method as MODULE:CLASS, if it is not installed under the name that the query has.
        output: Folder for the figures. [default: output]
        arrays: Write points, confidence and heat maps of all targets to this .npz file, for numpy.load.
        pairs: Write the points of all targets to this .json file, as transformers' key-point matching pipeline does.
        json: Print one JSON document instead of tables.
        dtype: Precision of the network; auto takes the fastest, as for semcorr match.
        device: Where it runs; auto takes a GPU if there is one.
        offload: Less memory of the device and more time, as for semcorr match.
        quantize: Weights in fewer bits, as for semcorr match.
        calibration: File that `semcorr calibrate` wrote for the query's method, model and settings, or "none".
        latents_cache: Folder that keeps encoded crops for later runs on the same images; results stay the same.
        workers: Number of processes, each with its own copy of the model.
        ray: Run on a Ray cluster: HOST:PORT of its head node, "auto" for the one on this machine, or "local".
    """
    from semcorr.imaging.image import load_image
    from semcorr.matchers.results import Query

    if workers < 1:
        raise SettingsError(f"Expected at least 1 of --workers, got {workers}.")

    check_file(arrays, "--arrays", "out.npz")
    check_file(pairs, "--pairs", "out.json")
    saved = Query.load(query)
    image = None if source is None else load_image(source)
    if image is not None and image.sha256 != saved.image_sha256:
        raise QueryError(
            f"{str(query)!r} was made from another image than {source!r}. Name the image it was made from."
        )
    if image is None and output is not None:
        console.note(f"No figures are written to {output}: --source IMAGE, the image that was described, adds them.")
    readable, broken = readable_targets(targets)
    spec = MatcherSpec(
        method=method or saved.method,
        model=model or saved.model_id,
        options={
            "revision": None if model else saved.model_revision,
            "dtype": dtype,
            "device": device,
            "calibration": calibration,
            **memory_options(offload=offload, quantize=quantize),
            **({} if latents_cache is None else {"latents_cache": latents_cache}),
            **saved.settings,
        },
    )
    console.note(f"Matching with {spec.method} (the settings of {query}) on {spec.model}.")
    if workers > 1 or ray is not None:
        located = locate_remotely(spec, saved, readable, workers=workers, ray=ray)
    else:
        located = locate_here(load(spec), saved, readable)
    run = TargetRun(
        query=saved,
        source=image,
        names=FigureNames(output or _OUTPUT, source or ""),
        json=json,
        arrays=arrays,
        pairs=pairs,
    )
    return run.over(readable, located, broken)
