"""A transfer from a file of annotations into files, as the command does it: stored as it goes, and continued."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from semcorr.errors import TransferError
from semcorr.imaging.image_files import unread_messages_below
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.formats import find_format
from semcorr.keypoints.predictions import TransferRecord, calibration_of
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.progress import Progress
from semcorr.storage.record_store import Shard
from semcorr.transfer import export, review_page
from semcorr.transfer.journal import Journal
from semcorr.transfer.plan import plan_transfer
from semcorr.transfer.run import TransferJob, predict
from semcorr.transfer.targets import Target, select_targets
from semcorr.transfer.transferrer import Transferrer

_FAILURES_LISTED = 20


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

    def check(self, sources: Sequence[Path], annotations: Annotations) -> None:
        """Refuse to write over what is read, and over what exists, before anything slow begins.

        Args:
            sources: The files that are read.
            annotations: What they hold.

        Raises:
            TransferError: A file cannot be written to.
        """
        further = [
            one for name, path in self.paths.items() for one in find_format(name).further_files(path, annotations)
        ]
        files = [*self.paths.values(), *further, *([self.review] if self.review else [])]
        export.check_outputs(files, sources, work_folder=self.work_folder, replace=self.replace)


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
        self.notes: list[str] = []
        self._note = note
        self.annotations = read_annotations(job.annotations, job.images)
        self.plan = plan_transfer(self.annotations, job.settings)
        self._add_notes([*self.plan.notes, *unread_messages_below(targets or ([job.images] if job.images else []))])
        selection = select_targets(
            self.annotations,
            tuple(self.plan.supports),
            images=job.images,
            paths=targets,
            redo_below=job.settings.redo_below,
        )
        self._add_notes(selection.notes)
        self.targets = selection.targets
        output.check([*self.annotations.sources, *(target.path for target in self.targets)], self.annotations)

    def _add_notes(self, notes: Sequence[str]) -> None:
        self.notes += notes
        for text in notes:
            self._note(text)

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
        # Other processes may run where another method or precision would be chosen.
        shard, job = shard or Shard(), replace(self.job, matcher=self.job.matcher.as_loaded(matcher))
        transferrer = Transferrer(matcher, self.annotations, job.settings, folder=job.supports, plan=self.plan)
        self._add_notes(transferrer.notes)
        journal, targets = Journal(self.output.work_folder, transferrer.identity(), shard), shard.of(self.targets)
        with journal.open():
            left = [target for target in targets if not journal.done(target)]
            before, failed = len(targets) - len(left), {}
            for record in predict(
                transferrer, left, job=job, workers=workers, ray=ray, before=before, progress=progress
            ):
                journal.add(record)
                if record.error is not None:
                    failed[record.file] = record.error
            report = self._report(journal, targets, before, failed)
            if shard.count > 1:
                return report
            if len(failed) == len(targets):
                lines = "\n".join(report.failure_lines())
                raise TransferError(
                    f"{lines}\nPoints were predicted in none of {len(failed)} images, and nothing is written. The "
                    "messages above say why."
                )
            confidence = calibration_of(journal.records(targets))
            info = {
                "method": job.matcher.method,
                **transferrer.identity(),
                "supports": dict(transferrer.supports_of),
                "sources": self._sources(),
            }
            files = self._write(journal, {**info, "confidence": confidence}, report.failed, progress)
        journal.remove()
        return replace(report, files=tuple(files), confidence=confidence)

    def _sources(self) -> dict[str, list[dict[str, object]]]:
        """By category, the image and the annotation's id of each support; ids of other formats are not COCO's."""
        has_ids = bool(self.annotations.document)
        return {
            category: [
                {"image": one.image.file, "annotation": one.instance.id if has_ids else None} for one in supports
            ]
            for category, supports in self.plan.supports.items()
        }

    def _report(
        self, journal: Journal, targets: Sequence[Target], before: int, failed: Mapping[str, str]
    ) -> TransferReport:
        warnings: dict[str, tuple[str, ...]] = {}
        doubtful: dict[str, tuple[str, ...]] = {}
        for record in journal.records(targets):
            if record.warnings:
                warnings[record.file] = record.warnings
            if record.doubtful:
                doubtful[record.file] = record.doubtful
        return TransferReport(
            targets=len(targets),
            predicted=len(targets) - len(failed) - len(doubtful),
            before=before,
            failed={**self.plan.unreadable, **dict(sorted(failed.items()))},
            warnings=warnings,
            doubtful=doubtful,
            notes=tuple(self.notes),
        )

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
