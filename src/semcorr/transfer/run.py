"""A transfer over many targets, in this process or several, written down as it goes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from semcorr.errors import TransferError
from semcorr.executors import in_this_process, spread
from semcorr.keypoints.predictions import TransferRecord
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.spec import MatcherSpec
from semcorr.progress import Progress
from semcorr.transfer.journal import Journal
from semcorr.transfer.plan import TransferSettings
from semcorr.transfer.targets import Target
from semcorr.transfer.transferrer import Transferrer


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run over targets went: how many were found now, how many were there already, which are broken and why."""

    found: int
    before: int
    broken: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class TransferJob:
    """A transfer as a worker process starts it (:class:`semcorr.executors.Job`).

    Attributes:
        matcher: What to match with.
        annotations: the file; ``images`` is the folder of its pictures.
        settings: how points are carried over.
        supports: where supports are described already.
    """

    matcher: MatcherSpec
    annotations: Path
    images: Path | None
    settings: TransferSettings
    supports: Path

    def transferrer(self) -> Transferrer:
        """Load the method and read the annotations.

        Raises:
            SemcorrError: as :func:`semcorr.load_matcher` and :func:`semcorr.transfer.read_annotations`.
        """
        known = read_annotations(self.annotations, self.images)
        return Transferrer(self.matcher.load(), known, self.settings, folder=self.supports)

    def start(self) -> Callable[[Target, Progress | None], Iterator[TransferRecord]]:
        """In a worker process."""
        return found_by(self.transferrer())


def found_by(work: Transferrer) -> Callable[[Target, Progress | None], Iterator[TransferRecord]]:
    """What does a target."""

    def do(target: Target, progress: Progress | None) -> Iterator[TransferRecord]:
        yield work.find(target, progress=progress)

    return do


def run(
    work: Transferrer,
    targets: Sequence[Target],
    journal: Journal,
    *,
    job: TransferJob | None = None,
    workers: int = 1,
    ray: str | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Find the points of every target that the journal lacks.

    Supports are described first, once, and not in every process.

    Args:
        work: the transfer.
        targets: where to look.
        journal: what is finished; this process alone writes to it.
        job: the same transfer, as worker processes start it; without it all is done in this process.
        workers: processes, each with a method of its own; they share this one's threads.
        ray: address of a Ray cluster to work on; see :func:`semcorr.executors.on_ray.on_ray`.
        progress: called as ``("transfer", targets done, targets in all, image=name)``, and with the stages of
            describing supports; raise from it to stop: what is found stays.

    Raises:
        TransferError: a support cannot be used, or no sensible number of workers.
        RunError: the journal cannot be written, or a worker was killed.
    """
    if workers < 1:
        raise TransferError(f"Expected at least 1 worker, got {workers}.")
    left = [target for target in targets if not journal.done(target)]
    before, broken = len(targets) - len(left), []
    work.prepare(left, progress=progress)
    if job is None:
        records = in_this_process(found_by(work), left, progress)
    else:
        records = spread(job, left, workers=workers, ray=ray, started=found_by(work), progress=progress)
    for number, record in enumerate(records, start=1):
        journal.add(record)
        if record.error is not None:
            broken.append((record.file, record.error))
        if progress is not None:
            progress("transfer", before + number, len(targets), image=record.file)
    return Outcome(found=len(left) - len(broken), before=before, broken=tuple(sorted(broken)))
