"""``semcorr transfer``: the key-points of a few annotated pictures, found in all the others."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.options import Json, MatcherOptions, Output, Repeated, parse_shard
from semcorr.cli.targets import load_matcher
from semcorr.errors import SettingsError, TransferError

if TYPE_CHECKING:
    from semcorr.keypoints import Annotations
    from semcorr.transfer.journal import Journal
    from semcorr.transfer.plan import Plan, TransferSettings
    from semcorr.transfer.run import Outcome
    from semcorr.transfer.targets import Target

_BROKEN_SHOWN = 20


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """How points are carried over.

    Attributes:
        support: Annotated things of each category that points are taken from, at most.
        margin: Room around a box, on every side, as a part of its longer side.
        min_confidence: From where on a point is marked as visible; others are kept apart.
        category: Only this category; repeat for more.
        rescale: Scale coordinates where an image's size is not the one that the annotations declare.
        redo_below: Look again for predicted objects with a score below it, and leave others as they are.
    """

    support: int = 5
    margin: float = 0.2
    min_confidence: float = 0.5
    category: Repeated = ()
    rescale: Annotated[bool, Parameter(negative="")] = False
    redo_below: float | None = None

    def settings(self) -> "TransferSettings":
        """The same as settings of the transfer.

        Raises:
            SettingsError: A value that cannot be.
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
        )


_MATCHER = MatcherOptions()
_OPTIONS = TransferOptions()


def transfer(
    annotations: Path,
    /,
    *targets: str,
    images: Path | None = None,
    output: Output,
    formats: Annotated[tuple[str, ...], Parameter(name="--format", negative="")] = ("coco",),
    review: Path | None = None,
    shard: str = "1/1",
    workers: int = 1,
    ray: str | None = None,
    replace: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
    how: TransferOptions = _OPTIONS,
    options: MatcherOptions = _MATCHER,
) -> int:
    """Find the key-points of the annotated pictures in ANNOTATIONS in all others.

    ANNOTATIONS is a COCO key-points file, a Label Studio export, CVAT for images (.xml), or a table (.csv: image, name,
    x, y, category).
    Targets are the files, folders or patterns named; without any, the annotations' own pictures without points, or else
    every other picture of --images. Where the annotations have a box without points, the points are looked for there.

    Predicted objects in ANNOTATIONS are never carried over, and are kept; --redo-below looks again for uncertain ones.

    What is found is written down as it goes, in a folder beside the output: stopped in whatever way, the same command
    goes on.

    Args:
        annotations: The file of annotations. It is never written to.
        targets: Pictures to find the points in: files, folders, or patterns such as 'new/*.jpg'.
        images: Folder of the pictures that ANNOTATIONS names.
        output: The file to write.
        formats: What the output is: coco, label-studio, cvat or csv. Repeat for more: further ones lie beside it.
        review: Also write this page (.html): all targets with their points, the least certain first.
        shard: i/n: find the points of the i-th of n parts of the targets only, here or on another machine, and write
            nothing yet. When all parts are done, the same command without --shard writes the output.
        workers: Processes, each with a model of its own.
        ray: Work on a Ray cluster: HOST:PORT of its head node, "auto" for the one on this machine, or "local".
        replace: Write the output even if there is a file of that name.
        json: Print one JSON document instead of lines.
        how: How points are carried over.
        options: What to match with.
    """
    from semcorr.imaging.image_files import unread_messages_below
    from semcorr.keypoints import read_annotations
    from semcorr.keypoints.predictions import calibration_of
    from semcorr.transfer.export import paths_of
    from semcorr.transfer.journal import Journal
    from semcorr.transfer.plan import plan_transfer
    from semcorr.transfer.run import TransferJob, run
    from semcorr.transfer.targets import select_targets
    from semcorr.transfer.transferrer import Transferrer

    settings = how.settings()
    if workers < 1:
        raise SettingsError(f"Expected at least 1 of --workers, got {workers}.")
    paths, part = paths_of(output, formats), parse_shard(shard)
    known = read_annotations(annotations, images)
    plan, looked_in = plan_transfer(known, settings), list(_expanded(targets))
    notes = [*plan.notes, *unread_messages_below(looked_in or ([images] if images else []))]
    # At once: what is left out may be why there is no target.
    _print_notes(notes)
    selection = select_targets(known, tuple(plan.supports), images=images, paths=looked_in, redo_below=how.redo_below)
    _print_notes(selection.notes)
    notes, places = [*notes, *selection.notes], selection.targets
    folder = output.with_name(f"{output.name}.work")
    _check_outputs(
        [*paths.values(), *([review] if review else [])], annotations, places, resumed=folder, replace=replace
    )
    job = TransferJob(
        matcher=options.spec(),
        annotations=annotations,
        images=images,
        settings=settings,
        supports=folder / "supports",
    )
    work = Transferrer(load_matcher(options), known, settings, folder=job.supports, plan=plan)
    journal, own = Journal(folder, work.identity(), part), part.of(places)
    with journal.open():
        with _stoppable(output), console.TerminalProgress() as progress:
            outcome = run(work, own, journal, job=job, workers=workers, ray=ray, progress=progress)
        if part.count > 1:
            _tell([], outcome, own, journal, plan, notes, json=json)
            console.note(f"When all {part.count} parts are done, the same command without --shard writes {output}.")
            return _status(outcome, plan)
        _check_found(outcome, plan)
        info = {"method": options.method, **work.identity(), "supports": dict(work.supports_of)}
        confidence = calibration_of(journal.records(places))
        files = _write(paths, known, journal, places, info={**info, "confidence": confidence}, how=how)
        if review is not None:
            files.append(_write_review(review, known, journal, places, outcome, plan, how=how))
    journal.remove()
    console.note(f"Confidence: {confidence}.")
    _tell(files, outcome, places, journal, plan, notes, json=json, confidence=confidence)
    return _status(outcome, plan)


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        console.note(f"{note[:1].upper()}{note[1:].rstrip('.')}.")


def _expanded(targets: Sequence[str]) -> Iterator[Path]:
    """Patterns that the shell left as they are."""
    for target in targets:
        if Path(target).exists() or not glob.has_magic(target):
            yield Path(target)
            continue
        found = sorted(glob.glob(target, recursive=True))  # noqa: PTH207  # a pattern may begin anywhere
        if not found:
            raise TransferError(f"Expected pictures for the pattern {target!r}, got none. Check it, or name a folder.")
        yield from map(Path, found)


def _check_outputs(
    outputs: Sequence[Path], annotations: Path, targets: Sequence["Target"], *, resumed: Path, replace: bool
) -> None:
    """Refuse to write over what is read, and over what is there, before anything slow begins."""
    read = {annotations.resolve(), *(target.path.resolve() for target in targets)}
    for path in outputs:
        if path.resolve() in read:
            raise TransferError(f"{str(path)!r} is read from and cannot be written to. Choose another name.")
        if path.is_dir():
            raise TransferError(f"Expected a file to write, got the folder {str(path)!r}.")
        if path.exists() and not replace and not resumed.exists():
            raise TransferError(f"{str(path)!r} exists. Choose another name, or write over it with --replace.")


def _check_found(outcome: "Outcome", plan: "Plan") -> None:
    """Refuse to write an output without anything new in it.

    Raises:
        TransferError: No target could be done.
    """
    if not outcome.found + outcome.before:
        _list_broken(_broken(outcome, plan))
        raise TransferError(
            f"Points were found in none of {len(outcome.broken)} images, and nothing is written. The messages above "
            "say why."
        )


def _broken(outcome: "Outcome", plan: "Plan") -> dict[str, str]:
    """Targets that could not be done and annotated images that could not be read, with messages."""
    return {**plan.unreadable, **dict(outcome.broken)}


def _status(outcome: "Outcome", plan: "Plan") -> int:
    return 1 if _broken(outcome, plan) else 0


@contextmanager
def _stoppable(output: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What was found is kept: the same command continues ({output}.work).") from None


def _write(
    paths: Mapping[str, Path],
    known: "Annotations",
    journal: "Journal",
    targets: Sequence["Target"],
    *,
    info: Mapping[str, Any],
    how: TransferOptions,
) -> list[Path]:
    from semcorr.transfer.export import write

    files = []
    for name, path in paths.items():
        files += write(
            name, path, known, lambda: journal.records(targets), min_confidence=how.min_confidence, info=info
        )
    return files


def _write_review(
    path: Path,
    known: "Annotations",
    journal: "Journal",
    targets: Sequence["Target"],
    outcome: "Outcome",
    plan: "Plan",
    *,
    how: TransferOptions,
) -> Path:
    from semcorr.transfer.review_page import write

    with console.TerminalProgress() as progress:
        return write(
            path,
            known,
            lambda: journal.records(targets),
            supports=plan.supports,
            min_confidence=how.min_confidence,
            broken=tuple(_broken(outcome, plan).items()),
            total=len(targets),
            progress=progress,
        )


def _list_broken(broken: Mapping[str, str]) -> None:
    for file, error in list(broken.items())[:_BROKEN_SHOWN]:
        console.plain_error(f"{file}: {error}")
    if len(broken) > _BROKEN_SHOWN:
        console.plain_error(f"... and {len(broken) - _BROKEN_SHOWN} more that could not be read.")


def _tell(
    files: Sequence[Path],
    outcome: "Outcome",
    targets: Sequence["Target"],
    journal: "Journal",
    plan: "Plan",
    notes: Sequence[str],
    *,
    json: bool,
    confidence: str | None = None,
) -> None:
    broken, remarks, doubtful = _broken(outcome, plan), journal.warnings(targets), journal.doubtful(targets)
    found = outcome.found + outcome.before - len(doubtful)
    _list_broken(broken)
    if remarks:
        file, (first, *_) = next(iter(remarks.items()))
        console.note(f"{len(remarks)} of {len(targets)} pictures with remarks, the first: {file}: {first}.")
    if doubtful:
        file, categories = next(iter(doubtful.items()))
        console.note(
            f"{len(doubtful)} of {len(targets)} images are doubtful, and no object is written for them: whether they "
            f"show {' or '.join(categories)} cannot be told. The first: {file}. Name such images with their "
            "--category, or annotate a box in each."
        )
    if json:
        console.show_json(
            {
                "files": [str(path) for path in files],
                "targets": len(targets),
                "found": found,
                **({} if confidence is None else {"confidence": confidence}),
                "broken": [{"image": file, "error": error} for file, error in broken.items()],
                "notes": list(notes),
                "doubtful": [{"image": file, "categories": list(names)} for file, names in doubtful.items()],
                "remarks": [{"image": file, "remarks": list(told)} for file, told in remarks.items()],
            }
        )
        return
    before = f" ({outcome.before} of them before)" if outcome.before else ""
    console.say(f"Points found in {found} of {len(targets)} pictures{before}.")
    for path in files:
        console.say(f"Written: {path}")
