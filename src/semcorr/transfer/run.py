"""Transfers as a whole: in memory for Python, and from files into files for the command, in any number of processes."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from semcorr.errors import TransferError
from semcorr.executors import in_this_process, run_units
from semcorr.imaging.image_files import unread_messages_below
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.predictions import TransferRecord, calibration_of
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.registry import DEFAULT_METHOD
from semcorr.matchers.spec import MatcherSpec
from semcorr.progress import Progress
from semcorr.storage.record_store import Shard
from semcorr.transfer import export, review_page
from semcorr.transfer.journal import Journal
from semcorr.transfer.plan import TransferSettings, plan_transfer
from semcorr.transfer.targets import Target, select_targets
from semcorr.transfer.transferrer import Transferrer

_FAILURES_LISTED = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Transferred:
    """The result of :func:`transfer_annotations`.

    Attributes:
        annotations: What points were carried over from.
        records: One for each target, in order; points are in pixels of the image itself.
        unreadable: Annotated images that could not be read, and so were no supports, with error messages.
        notes: What was left out or is doubtful, a sentence each.
    """

    annotations: Annotations
    records: Sequence[TransferRecord]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[TransferRecord]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)


def transfer_annotations(
    annotations: str | os.PathLike[str] | Annotations,
    targets: Sequence[str | os.PathLike[str]] = (),
    *,
    images: str | os.PathLike[str] | None = None,
    method: str = DEFAULT_METHOD,
    model: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    matcher: Matcher | None = None,
    support: int = 5,
    margin: float = 0.2,
    categories: Sequence[str] = (),
    rescale: bool = False,
    redo_below: float | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Transferred:
    """Predict the key-points of annotated images in others.

    Args:
        annotations: A file that :func:`semcorr.read_annotations` takes, or its result.
        targets: Files and folders; by default the annotations' images without points, or else all others of ``images``.
        images: Folder of the images that the annotations name.
        method: As in :func:`semcorr.load_matcher`, whose defaults these are.
        model: As in :func:`semcorr.load_matcher`.
        preset: As in :func:`semcorr.load_matcher`.
        matcher: A loaded method, instead of the three.
        support: As in :class:`semcorr.transfer.plan.TransferSettings`.
        margin: As in :class:`semcorr.transfer.plan.TransferSettings`.
        categories: As in :class:`semcorr.transfer.plan.TransferSettings`.
        rescale: As in :class:`semcorr.transfer.plan.TransferSettings`.
        redo_below: As in :class:`semcorr.transfer.plan.TransferSettings`.
        progress: Called as ``("transfer", targets done, targets in all, image=name)`` and with the stages of describing
            supports; raise from it to stop.
        **options: As in :func:`semcorr.load_matcher`.

    Raises:
        DatasetError: The annotations are missing or broken.
        TransferError: There is nothing to carry over, or no image to carry it to.
        SemcorrError: As :func:`semcorr.load_matcher`.
    """
    folder = None if images is None else Path(images)
    known = annotations if isinstance(annotations, Annotations) else read_annotations(annotations, folder)
    settings = TransferSettings(
        support=support, margin=margin, categories=tuple(categories), rescale=rescale, redo_below=redo_below
    )
    plan = plan_transfer(known, settings)
    paths = [Path(target) for target in targets]
    selection = select_targets(known, tuple(plan.supports), images=folder, paths=paths, redo_below=redo_below)
    used = matcher or load_matcher(method, model, preset, progress=progress, **options)
    transferrer = Transferrer(used, known, settings, plan=plan)
    records = list(predict(transferrer, selection.targets, progress=progress))
    notes = plan.notes + selection.notes
    return Transferred(annotations=known, records=records, unreadable=plan.unreadable, notes=notes)


@dataclass(frozen=True, kw_only=True)
class TransferJob:
    """A transfer from a file, as a worker process starts it (:class:`semcorr.executors.Job`).

    Attributes:
        matcher: What to match with.
        annotations: The file.
        images: Folder of the images that it names.
        settings: How points are carried over.
        supports: Folder in which supports are described already; None for none.
    """

    matcher: MatcherSpec = field(default_factory=MatcherSpec)
    annotations: Path
    images: Path | None = None
    settings: TransferSettings = field(default_factory=TransferSettings)
    supports: Path | None = None

    def transferrer(self) -> Transferrer:
        """Load the method and read the annotations.

        Raises:
            SemcorrError: As :func:`semcorr.load_matcher` and :func:`semcorr.read_annotations`.
        """
        known = read_annotations(self.annotations, self.images)
        return Transferrer(self.matcher.load(), known, self.settings, folder=self.supports)

    def start(self) -> Callable[[Target, Progress | None], Iterator[TransferRecord]]:
        """Load the method and read the annotations, in a worker process."""
        return self.transferrer().do


@dataclass(frozen=True, kw_only=True)
class TransferOutput:
    """The files that a transfer writes.

    Attributes:
        path: The file of the first format; others are beside it (:func:`semcorr.transfer.export.paths_of`).
        formats: What is written.
        review: The review page, or None.
        min_confidence: From which confidence on a point is marked as visible.
        replace: Whether files that exist are written over.

    Raises:
        SettingsError: A format is unknown.
        TransferError: The path has another suffix than its format's.
    """

    path: Path
    formats: tuple[str, ...] = ("coco",)
    review: Path | None = None
    min_confidence: float = 0.5
    replace: bool = False

    def __post_init__(self) -> None:
        export.paths_of(self.path, self.formats)

    @property
    def paths(self) -> dict[str, Path]:
        """The file of each format."""
        return export.paths_of(self.path, self.formats)

    @property
    def work_folder(self) -> Path:
        """Where a transfer under way is stored."""
        return self.path.with_name(f"{self.path.name}.work")

    def check(self, sources: Sequence[Path]) -> None:
        """Refuse to write over what is read, and over what exists, before anything slow begins.

        Raises:
            TransferError: A file cannot be written to.
        """
        read = {path.resolve() for path in sources}
        for path in [*self.paths.values(), *([self.review] if self.review else [])]:
            if path.resolve() in read:
                raise TransferError(f"{str(path)!r} is read from and cannot be written to. Choose another name.")
            if path.is_dir():
                raise TransferError(f"Expected a file to write, got the folder {str(path)!r}.")
            if path.exists() and not self.replace and not self.work_folder.exists():
                raise TransferError(f"{str(path)!r} exists. Choose another name, or write over it with --replace.")


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """How a transfer into files went.

    Attributes:
        targets: How many targets there are, of the shard if one was requested.
        predicted: In how many of them points are predicted.
        before: How many of them were done before this call.
        failed: Targets that failed and annotated images that could not be read, with error messages, by file.
        warnings: The methods' warnings, by target.
        doubtful: The categories between which no choice could be made, by target.
        notes: What was left out or is doubtful, a sentence each.
        files: The files written; none for a shard.
        confidence: Whether the confidence is calibrated, and on what, in words; None for a shard.
    """

    targets: int
    predicted: int
    before: int
    failed: Mapping[str, str]
    warnings: Mapping[str, tuple[str, ...]]
    doubtful: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    files: tuple[Path, ...] = ()
    confidence: str | None = None

    def failure_lines(self) -> list[str]:
        """The first failures, a line each, and how many more there are."""
        lines = [f"{file}: {error}" for file, error in list(self.failed.items())[:_FAILURES_LISTED]]
        more = len(self.failed) - len(lines)
        return [*lines, f"... and {more} more that could not be read."] if more else lines


class FileTransfer:
    """A transfer from a file of annotations into files, which another process may continue at any time.

    Everything that is quick is checked at once: annotations, supports, targets and output.

    Args:
        job: What is transferred.
        output: The files to write. Finished targets are stored in its ``work_folder`` until they are written.
        targets: Files and folders, as in :func:`transfer_annotations`.
        note: Called with each sentence that the user should know, as soon as it is known: the last before an error may
            be its reason.

    Raises:
        DatasetError: The annotations are missing or broken.
        TransferError: There is nothing to carry over, no image to carry it to, or no file to write to.
    """

    def __init__(
        self,
        job: TransferJob,
        output: TransferOutput,
        *,
        targets: Sequence[Path] = (),
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.job, self.output = replace(job, supports=output.work_folder / "supports"), output
        self.annotations = read_annotations(job.annotations, job.images)
        self.plan = plan_transfer(self.annotations, job.settings)
        self.notes: list[str] = []
        folders = [*targets] or ([job.images] if job.images else [])
        for text in [*self.plan.notes, *unread_messages_below(folders)]:
            self.notes.append(text)
            note(text)
        selection = select_targets(
            self.annotations,
            tuple(self.plan.supports),
            images=job.images,
            paths=targets,
            redo_below=job.settings.redo_below,
        )
        for text in selection.notes:
            self.notes.append(text)
            note(text)
        self.targets = selection.targets
        output.check([job.annotations, *(target.path for target in self.targets)])

    def run(
        self,
        matcher: Matcher,
        *,
        shard: Shard | None = None,
        workers: int = 1,
        ray: str | None = None,
        progress: Progress | None = None,
    ) -> TransferReport:
        """Predict the points of all targets that are not done yet, and write the files.

        Args:
            matcher: The job's method, loaded here.
            shard: Do this shard of the targets alone, and write no files.
            workers: Processes, each with a method of its own; they share this one's threads.
            ray: Address of a Ray cluster to work on; see :func:`semcorr.executors.on_ray.on_ray`.
            progress: As in :func:`predict`, and called as ``("review", targets done, targets in all)``; raise from it
                to stop: what is finished is kept, and the same call continues.

        Raises:
            TransferError: A support cannot be used; all targets failed; the work folder is another transfer's.
            RunError: The work folder cannot be written, or is in use; a worker was killed.
        """
        shard = shard or Shard()
        job = self.job
        transferrer = Transferrer(matcher, self.annotations, job.settings, folder=job.supports, plan=self.plan)
        journal, targets = Journal(self.output.work_folder, transferrer.identity(), shard), shard.of(self.targets)
        with journal.open():
            left = [target for target in targets if not journal.done(target)]
            failed: dict[str, str] = {}
            before = len(targets) - len(left)
            for record in predict(
                transferrer, left, job=job, workers=workers, ray=ray, before=before, progress=progress
            ):
                journal.add(record)
                if record.error is not None:
                    failed[record.file] = record.error
            doubtful = journal.doubtful(targets)
            report = TransferReport(
                targets=len(targets),
                predicted=len(targets) - len(failed) - len(doubtful),
                before=before,
                failed={**self.plan.unreadable, **dict(sorted(failed.items()))},
                warnings=journal.warnings(targets),
                doubtful=doubtful,
                notes=tuple(self.notes),
            )
            if shard.count > 1:
                return report
            if len(failed) == len(targets):
                lines = "\n".join(report.failure_lines())
                raise TransferError(
                    f"{lines}\nPoints were predicted in none of {len(failed)} images, and nothing is written. The "
                    "messages above say why."
                )
            confidence = calibration_of(journal.records(targets))
            info = {"method": job.matcher.method, **transferrer.identity(), "supports": dict(transferrer.supports_of)}
            files = self._write(journal, {**info, "confidence": confidence}, report.failed, progress)
        journal.remove()
        return replace(report, files=tuple(files), confidence=confidence)

    def _write(
        self, journal: Journal, info: Mapping[str, Any], failed: Mapping[str, str], progress: Progress | None
    ) -> list[Path]:
        files, confidence = [], self.output.min_confidence

        def records() -> Iterator[TransferRecord]:
            return journal.records(self.targets)

        for name, path in self.output.paths.items():
            files += export.write(name, path, self.annotations, records, min_confidence=confidence, info=info)
        if self.output.review is not None:
            page = review_page.write(
                self.output.review,
                self.annotations,
                records,
                supports=self.plan.supports,
                min_confidence=confidence,
                failed=failed,
                total=len(self.targets),
                progress=progress,
            )
            files.append(page)
        return files


def predict(
    transferrer: Transferrer,
    targets: Sequence[Target],
    *,
    job: TransferJob | None = None,
    workers: int = 1,
    ray: str | None = None,
    before: int = 0,
    progress: Progress | None = None,
) -> Iterator[TransferRecord]:
    """Predict the points of targets; yield records as they are finished, in other processes in whatever order.

    Supports are described first, once, and not in every process.

    Args:
        transferrer: The transfer.
        targets: The targets.
        job: The same transfer, as worker processes start it; without it all is done in this process.
        workers: Processes, each with a method of its own; they share this one's threads.
        ray: Address of a Ray cluster to work on; see :func:`semcorr.executors.on_ray.on_ray`.
        before: How many further targets are done already, for ``progress``.
        progress: Called as ``("transfer", targets done, targets in all, image=name)``, and with the stages of
            describing supports; raise from it to stop.

    Raises:
        TransferError: A support cannot be used, or ``workers`` is less than 1.
        RunError: A worker was killed, or a cluster cannot be reached or is lost.
    """
    if workers < 1:
        raise TransferError(f"Expected at least 1 worker, got {workers}.")
    transferrer.prepare(targets, progress=progress)
    if job is None:
        records = in_this_process(transferrer.do, targets, progress)
    else:
        records = run_units(job, targets, workers=workers, ray=ray, started=transferrer.do, progress=progress)
    for number, record in enumerate(records, start=before + 1):
        yield record
        if progress is not None:
            progress("transfer", number, before + len(targets), image=record.file)
