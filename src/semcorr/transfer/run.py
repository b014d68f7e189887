"""A transfer over many targets, in this process or several; in memory for Python."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from semcorr.errors import TransferError
from semcorr.executors import in_this_process, run_units
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.predictions import TransferRecord
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.registry import DEFAULT_METHOD
from semcorr.matchers.spec import MatcherSpec
from semcorr.progress import Progress
from semcorr.transfer.journal import Record
from semcorr.transfer.plan import TransferSettings, plan_transfer
from semcorr.transfer.targets import Target, select_targets
from semcorr.transfer.transferrer import Transferrer

RecordType = TypeVar("RecordType", bound=Record)


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
    fuse: Literal["optimize", "vote"] = "vote",
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
        fuse: As in :class:`semcorr.transfer.plan.TransferSettings`.
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
        support=support,
        margin=margin,
        categories=tuple(categories),
        rescale=rescale,
        redo_below=redo_below,
        fuse=fuse,
    )
    plan = plan_transfer(known, settings)
    paths = [Path(target) for target in targets]
    selection = select_targets(known, tuple(plan.supports), images=folder, paths=paths, redo_below=redo_below)
    used = matcher or load_matcher(method, model, preset, progress=progress, **options)
    transferrer = Transferrer(used, known, settings, plan=plan)
    records = list(predict(transferrer, selection.targets, progress=progress))
    notes = plan.notes + selection.notes + transferrer.notes
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
    yield from counted(records, "transfer", before, before + len(targets), progress)


def counted(
    records: Iterable[RecordType], stage: str, before: int, total: int, progress: Progress | None
) -> Iterator[RecordType]:
    """Yield the records of targets, and report each once it was taken.

    Args:
        records: What :func:`semcorr.executors.run_units` yields.
        stage: What is reported.
        before: How many targets were done before.
        total: How many there are in all.
        progress: Called as ``(stage, targets done, in all, image=name)``; raise from it to stop.
    """
    for number, record in enumerate(records, start=before + 1):
        yield record
        if progress is not None:
            progress(stage, number, total, image=record.file)
