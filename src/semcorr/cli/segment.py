"""``semcorr segment``: regions of one or a few images in others."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.many_images import expanded, stoppable
from semcorr.cli.options import FeatureOptions, Json, Output, Repeated, parse_shard
from semcorr.cli.targets import chosen, load
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    from semcorr.matchers.base import Matcher
    from semcorr.matchers.regions.settings import RegionSettings
    from semcorr.transfer.region_files import RegionOutput, RegionRecord
    from semcorr.transfer.regions import RegionReport

_DEFAULT_OUTPUT = Path("regions")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RegionOptions:
    """How regions are found.

    Attributes:
        neighbours: On features: labelled cells, for each example, that a cell takes its label from.
        temperature: On features: of the softmax by which they count, in units of the cosine.
        grid: On features: cells along the longer side to which they are resampled.
        steps: By prompt: steps of the optimization.
        lr: By prompt: its learning rate.
        self_attention: By prompt: the part of a cell's label that comes from what the cell attends to; 0 for none.
        spread_loss: By prompt: how much labels after self-attention count in the optimization's loss; 0 for not at all.
        refine: "guided" follows the image's edges; "none" enlarges the scores smoothly.
    """

    neighbours: Annotated[int | None, Parameter(show_default=False)] = None
    temperature: Annotated[float | None, Parameter(show_default=False)] = None
    grid: Annotated[int | None, Parameter(show_default=False)] = None
    steps: Annotated[int | None, Parameter(show_default=False)] = None
    lr: Annotated[float | None, Parameter(show_default=False)] = None
    self_attention: Annotated[float | None, Parameter(show_default=False)] = None
    spread_loss: Annotated[float | None, Parameter(show_default=False)] = None
    refine: Literal["guided", "none"] = "guided"

    def settings(self) -> "RegionSettings":
        """Return the same as settings.

        Raises:
            SettingsError: A value that does not fit.
        """
        from semcorr.matchers.regions.settings import RegionSettings
        from semcorr.settings import override

        given = {name: value for name, value in vars(self).items() if value is not None}
        return override(RegionSettings(), **given)


_HOW = RegionOptions()
_OPTIONS = FeatureOptions()


def segment(
    source: str,
    mask: str,
    /,
    *targets: str,
    example: Annotated[list[tuple[str, str]] | None, Parameter(name=("--example", "-e"), negative="")] = None,
    name: Repeated = (),
    ignore: Annotated[tuple[int, ...], Parameter(negative="")] = (),
    output: Output = _DEFAULT_OUTPUT,
    overlays: bool = True,
    shard: str = "1/1",
    workers: int = 1,
    ray: str | None = None,
    replace: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
    how: RegionOptions = _HOW,
    options: FeatureOptions = _OPTIONS,
) -> int:
    """Find the regions that MASK marks in SOURCE in every TARGET.

    MASK is a PNG of SOURCE's size whose values are labels (indexed or grey; 0 is the background), or a COCO file
    (.json) with polygons or RLE that names SOURCE. Targets are files, folders or patterns.

    Writes into the output folder a label map and an overlay for each target, all regions as COCO RLE (regions.json), a
    figure, and a page of all targets, the least certain first (review.html). Finished targets are stored as they are
    done: stopped in whatever way, the same command continues.

    Needs a method on features, or prompt, which --preset fast makes quick.

    Args:
        source: The image with regions.
        mask: Its mask.
        targets: Images to find the regions in: files, folders, or patterns such as 'new/*.jpg'.
        example: IMAGE MASK: a further image with its mask; repeat for more. A label means the same in all masks.
        name: LABEL=NAME, such as 1=head; repeat for more. All labels need one then.
        ignore: LABEL whose pixels are neither a region nor the background, such as 255 for void; repeat for more.
            Crowds of a COCO file (iscrowd) are ignored without it.
        output: The folder to write: a new or empty one.
        overlays: Draw the regions of every target.
        shard: i/n: do only the i-th of n shards of the targets, here or on another machine. When all shards are done,
            the same command without --shard writes what is for all targets together.
        workers: Processes, each with a model of its own.
        ray: Work on a Ray cluster: HOST:PORT of its head node, "auto" for the one on this machine, or "local".
        replace: Write into a folder that is not empty.
        json: Print one JSON document instead of lines.
        how: How regions are found.
        options: What to match with.
    """
    from semcorr.matchers.regions.examples import named, read_examples
    from semcorr.transfer.region_files import RegionOutput
    from semcorr.transfer.regions import find_regions, select_region_targets

    sources, masks = zip((source, mask), *(example or ()), strict=True)
    settings, part = how.settings(), parse_shard(shard)
    if workers < 1:
        raise SettingsError(f"Expected at least 1 of --workers, got {workers}.")
    examples, names = named(*read_examples(list(sources), list(masks), ignore=ignore), _names(name))
    chosen_targets = select_region_targets(list(expanded(targets)), [Path(one) for one in sources])
    to = RegionOutput(folder=output, overlays=overlays, replace=replace)
    to.check()
    spec = chosen(options, "grid")
    if not spec.capabilities().regions:
        raise SettingsError(
            f"Method {spec.method!r} finds no regions. Use prompt, or a method on features such as --method dift."
        )
    matcher = load(spec)
    with stoppable(to.work_folder), console.TerminalProgress() as progress:
        report = find_regions(
            matcher, examples, names, chosen_targets, to,
            settings=settings, shard=part, workers=workers, ray=ray, progress=progress,
        )  # fmt: skip
    for file, error in report.failed.items():
        console.plain_error(f"{file}: {error}")
    if json:
        console.show_json(_document(matcher, names, report, to))
    else:
        _say(names, report, to)
    if part.count > 1:
        console.note(
            f"When all {part.count} shards are done, the same command without --shard writes {to.file} and the others."
        )
    return 1 if report.failed else 0


def _names(given: tuple[str, ...]) -> dict[int, str]:
    names: dict[int, str] = {}
    for text in given:
        label, equals, name = text.partition("=")
        if not (equals and name and label.isdecimal() and 1 <= int(label) <= 255) or int(label) in names:
            raise SettingsError(
                f"Expected --name LABEL=NAME with a label from 1 to 255, once each, such as 1=head, got {text!r}."
            )
        names[int(label)] = name
    return names


def _document(
    matcher: "Matcher", names: dict[int, str], report: "RegionReport", output: "RegionOutput"
) -> dict[str, object]:
    return {
        "method": matcher.method,
        "names": names,
        "files": report.files,
        "targets": [
            {
                "target": record.file,
                "labels": output.label_map(record.labels),
                "overlay": output.overlay(record.labels) if output.overlays else None,
                "warnings": record.warnings,
                "regions": [
                    {
                        "label": entry["category_id"],
                        "name": names[entry["category_id"]],
                        "pixels": entry["area"],
                        "box": entry["bbox"],
                        "confidence": entry["score"],
                    }
                    for entry in record.entries
                ],
            }
            for record in report.records
            if record.error is None
        ],
        "broken": [{"target": file, "error": error} for file, error in report.failed.items()],
    }


def _say(names: dict[int, str], report: "RegionReport", output: "RegionOutput") -> None:
    good = [record for record in report.records if record.error is None]
    for record in good:
        console.say(f"{record.file}: {_in_words(names, record)}")
    before = f" ({report.before} of them before)" if report.before else ""
    console.say(f"Regions found in {len(good)} of {len(report.records)} images{before}.")
    console.say(f"Written: {output.folder / 'labels'}, {', '.join(map(str, report.files))}")


def _in_words(names: dict[int, str], record: "RegionRecord") -> str:
    scores = {names[entry["category_id"]]: entry["score"] for entry in record.entries}
    return ", ".join(f"{name} {score:.2f}" for name, score in scores.items()) or "none of the regions"
