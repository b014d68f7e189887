"""``semcorr transfer``: the key-points of a few annotated images, predicted in all the others."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.many_images import expanded, stoppable
from semcorr.cli.options import Json, MatcherOptions, Output, Repeated, parse_shard
from semcorr.cli.suggest import suggest_images
from semcorr.cli.targets import chosen, load
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    from semcorr.transfer.file_transfer import TransferReport
    from semcorr.transfer.plan import TransferSettings


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """How points are carried over.

    Attributes:
        support: Annotated objects of each category that points are taken from, at most.
        margin: Room around a box, on every side, as a fraction of its longer side.
        min_confidence: From which confidence on a point is marked as visible; others are kept apart.
        category: Only this category; repeat for more.
        rescale: Scale coordinates where an image's size is not the one that the annotations declare.
        redo_below: Predict objects with a score below it again, and keep the others.
        fuse: What several annotated objects become: vote, a query each, whose heat maps are fused in every target; or
            optimize, one query optimized over all of them (methods prompt and attention-dift).
    """

    support: int = 5
    margin: float = 0.2
    min_confidence: float = 0.5
    category: Repeated = ()
    rescale: Annotated[bool, Parameter(negative="")] = False
    redo_below: float | None = None
    fuse: Literal["optimize", "vote"] = "vote"

    def settings(self) -> "TransferSettings":
        """Return the same as settings of the transfer.

        Raises:
            SettingsError: A value that does not fit.
        """
        from semcorr.transfer.plan import TransferSettings

        if not 0 <= self.min_confidence <= 1:
            raise SettingsError(f"Expected --min-confidence from 0 to 1, got {self.min_confidence}.")
        return TransferSettings(
            support=self.support,
            margin=self.margin,
            categories=self.category,
            rescale=self.rescale,
            redo_below=self.redo_below,
            fuse=self.fuse,
        )


_MATCHER = MatcherOptions()
_OPTIONS = TransferOptions()


def transfer(
    annotations: Path,
    /,
    *targets: str,
    images: Path | None = None,
    output: Output | None = None,
    formats: Annotated[tuple[str, ...], Parameter(name="--format", negative="")] = ("coco",),
    review: Path | None = None,
    shard: str = "1/1",
    workers: int = 1,
    ray: str | None = None,
    replace: Annotated[bool, Parameter(negative="")] = False,
    suggest: int | None = None,
    json: Json = False,
    how: TransferOptions = _OPTIONS,
    options: MatcherOptions = _MATCHER,
) -> int:
    """Predict the key-points of the annotated images in ANNOTATIONS in all others.

    ANNOTATIONS is a COCO key-points file, a Label Studio export, CVAT for images (.xml), a DeepLabCut project (its
    folder, or a CollectedData_*.csv), a data set of dlib's (.xml) or of YOLO-pose (its folder), SLEAP's labels (.slp),
    labelme's files, or a table (.csv: image, name, x, y, category).
    Targets are the files, folders or patterns named; without any, the annotations' own images without points, or else
    every other image of --images. Where the annotations have a box without points, the points are predicted in it.

    Predicted objects in ANNOTATIONS are never carried over, and are kept; --redo-below predicts uncertain ones again.

    Finished images are stored in a folder beside the output: stopped in whatever way, the same command continues.

    With --suggest N nothing is predicted or written: it names the N images whose annotation would help most.
    ANNOTATIONS may have no annotated image then, or be a folder of images alone.

    Args:
        annotations: The file of annotations, or a project's folder. It is never written to.
        targets: Images to predict the points in: files, folders, or patterns such as 'new/*.jpg'.
        images: Folder of the images that ANNOTATIONS names.
        output: The file to write; required, except with --suggest.
        formats: What the output is: coco, label-studio, cvat, deeplabcut, dlib, yolo-pose, sleap or csv. Repeat for
            more: further ones are beside it.
        review: Also write this page (.html): all targets with their points, the least certain first.
        shard: i/n: do only the i-th of n shards of the targets, here or on another machine, and write nothing yet.
            When all shards are done, the same command without --shard writes the output.
        workers: Processes, each with a model of its own.
        ray: Work on a Ray cluster: HOST:PORT of its head node, "auto" for the one on this machine, or "local".
        replace: Write the output even if there is a file of that name.
        suggest: Name this many images to annotate next, the most useful first, and write nothing.
        json: Print one JSON document instead of lines.
        how: How points are carried over.
        options: What to match with.
    """
    from semcorr.transfer.file_transfer import FileTransfer, TransferOutput
    from semcorr.transfer.run import TransferJob

    settings, part = how.settings(), parse_shard(shard)
    if suggest is not None:
        _check_suggest(output=output, review=review, shard=shard, workers=workers, ray=ray)
        return suggest_images(annotations, list(expanded(targets)), images, suggest, settings, options, json=json)
    if output is None:
        raise SettingsError("Expected a file to write, got none. Name it with -o, such as -o predicted.json.")
    if workers < 1:
        raise SettingsError(f"Expected at least 1 of --workers, got {workers}.")
    to = TransferOutput(path=output, formats=formats, review=review, min_confidence=how.min_confidence, replace=replace)
    job = TransferJob(matcher=options.spec(), annotations=annotations, images=images, settings=settings)
    work = FileTransfer(job, to, targets=list(expanded(targets)), note=_print_note)
    matcher = load(chosen(options))
    with stoppable(output.with_name(f"{output.name}.work")), console.TerminalProgress() as progress:
        report = work.run(matcher, shard=part, workers=workers, ray=ray, progress=progress)
    _print_report(report, json=json)
    if part.count > 1:
        console.note(f"When all {part.count} shards are done, the same command without --shard writes {output}.")
    return 1 if report.failed else 0


def _check_suggest(*, output: Path | None, review: Path | None, shard: str, workers: int, ray: str | None) -> None:
    given = {"--output": output, "--review": review, "--ray": ray}
    names = [name for name, value in given.items() if value is not None]
    names += ["--shard"] * (shard != "1/1") + ["--workers"] * (workers != 1)
    if names:
        raise SettingsError(f"--suggest predicts and writes nothing: leave out {' and '.join(names)}.")


def _print_note(note: str) -> None:
    console.note(f"{note[:1].upper()}{note[1:].rstrip('.')}.")


def _print_report(report: "TransferReport", *, json: bool) -> None:
    if report.confidence is not None:
        console.note(f"Confidence: {report.confidence}.")
    for line in report.failure_lines():
        console.plain_error(line)
    if report.warnings:
        file, (first, *_) = next(iter(report.warnings.items()))
        console.note(f"{len(report.warnings)} of {report.targets} images with warnings, the first: {file}: {first}.")
    if report.doubtful:
        file, categories = next(iter(report.doubtful.items()))
        console.note(
            f"{len(report.doubtful)} of {report.targets} images are doubtful, and no object is written for them: they "
            f"may show {' or '.join(categories)}. The first: {file}. Name such images with their --category, or "
            "annotate a box in each."
        )
    if json:
        console.show_json(
            {
                "files": report.files,
                "targets": report.targets,
                "predicted": report.predicted,
                **({} if report.confidence is None else {"confidence": report.confidence}),
                "broken": [{"image": file, "error": error} for file, error in report.failed.items()],
                "notes": report.notes,
                "doubtful": [{"image": file, "categories": names} for file, names in report.doubtful.items()],
                "warnings": [{"image": file, "warnings": texts} for file, texts in report.warnings.items()],
            }
        )
        return
    before = f" ({report.before} of them before)" if report.before else ""
    console.say(f"Points predicted in {report.predicted} of {report.targets} images{before}.")
    for path in report.files:
        console.say(f"Written: {path}")
