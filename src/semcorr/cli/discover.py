"""``semcorr discover``: key-points that images of one kind have in common, without labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.diffusion_model import load_diffusion_model
from semcorr.cli.many_images import expanded, stoppable
from semcorr.cli.options import Device, DType, Json, Offload, Output, Quantize, parse_settings
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    from semcorr.transfer.discover import DiscoveryReport


def discover(
    *images: str,
    output: Output,
    count: Annotated[int, Parameter(name=("--count", "-n"))] = 10,
    most: int = 200,
    tokens: Path | None = None,
    keep: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    category: str = "object",
    review: Path | None = None,
    figure: Path | None = None,
    min_confidence: float = 0.5,
    model: Annotated[str, Parameter(show_default=False)] = "",
    revision: str | None = None,
    dtype: DType = "auto",
    device: Device = "auto",
    offload: Offload = False,
    quantize: Quantize = None,
    set: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,  # noqa: A002  # as other commands
    replace: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> int:
    """Find key-points that IMAGES of one kind have in common, without any label.

    They are called point-1, point-2 and so on. Look at them (--review), then name those worth keeping: with --tokens
    and --keep nothing is optimized again.

    What is done is stored in a folder beside the output: stopped in whatever way, the same command continues.

    Args:
        images: Files, folders, or patterns such as 'photos/*.jpg', each of one object of the same kind.
        output: The file to write, COCO key-points of predicted objects (.json). The tokens are written beside it
            (.safetensors).
        count: How many key-points.
        most: On how many of the images they are discovered, at most; they are found in all.
        tokens: Do not discover: find the key-points of this .safetensors file.
        keep: NUMBER=NAME, with --tokens: keep this key-point, under this name. Repeat for more.
        category: What the objects are called.
        review: Also write this page (.html): all images with their points, the least certain first.
        figure: Also draw the first 24 images with their points into this file (.png).
        min_confidence: From which confidence on a point is marked as visible.
        model: Hub id, diffusers folder, or "toy" for the bundled model of drawings; it needs a text encoder.
            [default: CompVis/stable-diffusion-v1-4; with --tokens, theirs]
        revision: Branch, tag or commit of a hub id.
        dtype: Precision of the network; auto takes the fastest, as for semcorr match.
        device: Where it runs; auto takes a GPU if there is one.
        offload: Less memory of the device and more time, as for semcorr match.
        quantize: Weights in fewer bits, as for semcorr match.
        set: NAME=VALUE, repeated: changes one setting, for instance --set steps=800.
        replace: Write the output even if there is a file of that name.
        json: Print one JSON document instead of lines.
    """
    from semcorr.matchers.prompt.discovery import KeypointTokens
    from semcorr.transfer.discover import DiscoveryOutput, FileDiscovery
    from semcorr.transfer.targets import files_in

    if not 0 <= min_confidence <= 1:
        raise SettingsError(f"Expected --min-confidence from 0 to 1, got {min_confidence}.")
    if most < 1:
        raise SettingsError(f"Expected at least 1 of --most, got {most}.")
    if keep and tokens is None:
        raise SettingsError("--keep names key-points of a file: add --tokens FILE.safetensors.")
    settings = parse_settings(set or ())
    if tokens is not None and settings:
        raise SettingsError("--tokens brings its own settings: leave out --set.")
    known = None if tokens is None else KeypointTokens.load(tokens)
    if known is not None and keep:
        known = known.keep(parse_names(keep))
    to = DiscoveryOutput(
        path=output, review=review, figure=figure, category=category, min_confidence=min_confidence, replace=replace
    )
    work = FileDiscovery(list(files_in(list(expanded(images)))), to)
    for file, error in work.failed.items():
        console.plain_error(f"{file}: {error}")
    if known is not None and not model:
        model, revision = known.model.model_id, known.model.model_revision
    network = load_diffusion_model(model, revision, dtype, device, offload=offload, quantize=quantize)
    with stoppable(to.work_folder), console.TerminalProgress() as progress:
        if known is None:
            report = work.discover(network, count, most=most, progress=progress, **settings)
        else:
            report = work.locate(network, known, progress=progress)
    _print_report(report, json=json)
    return 1 if report.failed else 0


def parse_names(assignments: Sequence[str]) -> dict[int, str]:
    """Turn ``NUMBER=NAME`` texts into names by number.

    Raises:
        SettingsError: A text has another form, or a number is given twice.
    """
    names: dict[int, str] = {}
    for assignment in assignments:
        number, _, name = assignment.partition("=")
        if not (number.isdecimal() and name.strip()):
            raise SettingsError(f"Expected --keep NUMBER=NAME, such as --keep 3=beak, got {assignment!r}.")
        if int(number) in names:
            raise SettingsError(f"--keep has key-point {number} twice. Give each once.")
        names[int(number)] = name.strip()
    return names


def _print_report(report: "DiscoveryReport", *, json: bool) -> None:
    tokens = report.tokens
    for warning in report.warnings:
        console.note(warning)
    if json:
        console.show_json(
            {
                "files": report.files,
                "images": report.images,
                "confidence": report.confidence,
                "warnings": report.warnings,
                "broken": [{"image": file, "error": error} for file, error in report.failed.items()],
                "keypoints": [
                    {"name": name, "deviation": deviation}
                    for name, deviation in zip(tokens.names, tokens.deviations.tolist(), strict=True)
                ],
            }
        )
        return
    console.say("How far each moves against the image in views of it, in % of the image's side:")
    for name, deviation in zip(tokens.names, tokens.deviations, strict=True):
        console.say(f"  {name}: {100 * deviation:.1f}")
    console.say(f"Points found in {report.images} images.")
    for path in report.files:
        console.say(f"Written: {path}")
