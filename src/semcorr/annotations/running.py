"""A transfer over many targets, written down as it goes."""

from collections.abc import Sequence
from dataclasses import dataclass

from semcorr.annotations.journal import Journal
from semcorr.annotations.targets import Target
from semcorr.annotations.transferrer import Transferrer
from semcorr.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run over targets went: how many were found now, how many were there already, which are broken and why."""

    found: int
    before: int
    broken: tuple[tuple[str, str], ...]


def run(work: Transferrer, targets: Sequence[Target], journal: Journal, *, progress: Progress | None = None) -> Outcome:
    """Find the points of every target that the journal lacks.

    ``progress`` is called as ``("transfer", targets done, targets in all, image=name)``, and with the stages of
    describing supports; raise from it to stop: what is found stays.

    Raises:
        TransferError: a support cannot be used.
        RunError: the journal cannot be written.
    """
    left = [target for target in targets if not journal.done(target)]
    before, broken = len(targets) - len(left), []
    for number, target in enumerate(left, start=1):
        record = work.find(target, progress=progress)
        journal.add(record)
        if record.error is not None:
            broken.append((target.file, record.error))
        if progress is not None:
            progress("transfer", before + number, len(targets), image=target.file)
    return Outcome(found=len(left) - len(broken), before=before, broken=tuple(broken))
