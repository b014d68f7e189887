"""Regions of a few examples found in many images, written into a folder as they are found, and continued.

::

    regions.json    all regions as COCO RLE, written when all targets are done
    labels/a.png    for each target a label for each pixel
    overlays/a.png  for each target the regions drawn over it
    figure.png      the examples and the first targets
    review.html     all targets, the least certain first

The journal of finished targets lies beside the folder until then, as that of a transfer does.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from semcorr.errors import QueryError, TransferError
from semcorr.executors import run_units
from semcorr.imaging.image import load_image, save_image
from semcorr.imaging.label_map import LabelMap
from semcorr.keypoints.coco.masks import write_regions
from semcorr.matchers.base import Matcher
from semcorr.matchers.regions.examples import Example
from semcorr.matchers.regions.results import RegionQuery
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.progress import Progress
from semcorr.storage.files import exists
from semcorr.storage.record_store import Shard, settings_hash, writing
from semcorr.transfer import region_page
from semcorr.transfer.region_files import RegionJournal, RegionOutput, RegionRecord
from semcorr.transfer.region_job import RegionJob
from semcorr.transfer.run import counted
from semcorr.transfer.targets import Target, files_in, output_name
from semcorr.visualization.regions import region_figure

_IN_FIGURE = 24
"""Targets that the figure of all shows."""


@dataclass(frozen=True, kw_only=True)
class RegionReport:
    """How it went.

    Attributes:
        records: One for each target, of the shard if one was requested, in order, failed ones included; without masks.
        before: How many were done before this call.
        files: What was written for all of them together; nothing for a shard.
    """

    records: tuple[RegionRecord, ...]
    before: int
    files: tuple[Path, ...] = ()

    @property
    def failed(self) -> Mapping[str, str]:
        """Targets that failed, with error messages."""
        return {record.file: record.error for record in self.records if record.error is not None}


def select_region_targets(paths: Sequence[Path], examples: Sequence[Path]) -> tuple[Target, ...]:
    """Return files as they are, and folders as the images below them; in folders, examples are left out.

    Raises:
        TransferError: There is none.
    """
    own = {path.resolve() for path in examples}
    files = dict.fromkeys(path for path in files_in(paths) if path in paths or path.resolve() not in own)
    if not files:
        raise TransferError(
            "Expected images to find the regions in, got none. Name images, or a folder that has some besides the "
            "examples."
        )
    return tuple(Target(file=output_name(path, None), path=path, regions=()) for path in files)


def find_regions(
    matcher: Matcher,
    examples: Sequence[Example],
    names: Mapping[int, str],
    targets: Sequence[Target],
    output: RegionOutput,
    *,
    settings: RegionSettings,
    shard: Shard | None = None,
    workers: int = 1,
    ray: str | None = None,
    progress: Progress | None = None,
) -> RegionReport:
    """Find the regions of examples in all targets that are not done yet, and write the folder.

    Args:
        matcher: A method that finds regions.
        examples: Images and their label maps.
        names: The name of every label.
        targets: The images.
        output: Where to.
        settings: How regions are found.
        shard: Do this shard of the targets alone, and write nothing for all of them together.
        workers: Processes, each with a method of its own; they share this one's threads.
        ray: Address of a Ray cluster to work on; see :func:`semcorr.executors.on_ray.on_ray`.
        progress: Called as ``("segment", targets done, targets in all, image=name)``, with the method's own stages, and
            as ``("review", targets done, targets in all)``; raise from it to stop: what is finished is kept, and the
            same call continues.

    Raises:
        SettingsError: The method finds no regions, or cannot be loaded in other processes.
        TransferError: All targets failed, or the work folder is of other examples or settings.
        RunError: The work folder cannot be written, or is in use; a worker was killed.
    """
    output.check()
    load = matcher.loader() if workers > 1 or ray is not None else lambda: matcher
    job = RegionJob(load=load, query=output.query, output=output)
    shard, files = shard or Shard(), _file_names(targets)
    own = shard.of(targets)
    journal = RegionJournal(output.work_folder, _identity(matcher, examples, names, targets, settings), shard)
    with journal.open():
        _describe(matcher, examples, names, settings, output, progress)
        # What is done and no longer there is done again.
        left = [one for one in own if not (journal.done(one) and exists(output.label_map(files[one.file])))]
        before, failed = len(own) - len(left), dict[str, RegionRecord]()
        units = [(target, files[target.file]) for target in left]
        records = run_units(job, units, workers=workers, ray=ray, progress=progress)
        for record in counted(records, "segment", before, len(own), progress):
            journal.add(record)
            if record.error is not None:
                failed[record.file] = record
        report = _report(journal, own, failed, before)
        if shard.count > 1:
            return report
        if len(report.failed) == len(own):
            lines = "\n".join(report.failed.values())
            raise TransferError(f"{lines}\nRegions were found in none of {len(own)} images. The messages say why.")
        result = _write_all(output, examples, names, journal, targets, report, progress)
    journal.remove()
    return dataclasses.replace(report, files=result)


def _report(
    journal: RegionJournal, own: Sequence[Target], failed: Mapping[str, RegionRecord], before: int
) -> RegionReport:
    finished = {record.file: record.without_masks() for record in journal.records(own)}
    return RegionReport(records=tuple({**failed, **finished}[target.file] for target in own), before=before)


def _identity(
    matcher: Matcher,
    examples: Sequence[Example],
    names: Mapping[int, str],
    targets: Sequence[Target],
    settings: RegionSettings,
) -> dict[str, Any]:
    """All that results depend on. Targets are among it, because the names of their files depend on each other."""
    masks = [hashlib.sha256(label_map.labels.tobytes()).hexdigest() for _, label_map in examples]
    return {
        "matcher": {"method": matcher.method, **matcher.identity()},
        "regions": settings.to_dict(),
        "examples": {
            "images": [image.sha256 for image, _ in examples],
            "masks": masks,
            "ignored": [list(label_map.ignored) for _, label_map in examples],
        },
        "names": {str(label): name for label, name in names.items()},
        "targets": settings_hash({"targets": [target.file for target in targets]}),
    }


def _file_names(targets: Sequence[Target]) -> dict[str, str]:
    """A file name for each target, by its name in the output: numbered where several are called the same."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for target in targets:
        stem, count = target.path.stem, 1
        # Some file systems take A.png and a.png for one file.
        while (name := stem if count == 1 else f"{stem}-{count}").casefold() in taken:
            count += 1
        taken.add(name.casefold())
        names[target.file] = f"{name}.png"
    return names


def _describe(
    matcher: Matcher,
    examples: Sequence[Example],
    names: Mapping[int, str],
    settings: RegionSettings,
    output: RegionOutput,
    progress: Progress | None,
) -> None:
    """Describe the examples once, for all starts, shards and workers."""
    with contextlib.suppress(QueryError):  # none yet, or damaged
        RegionQuery.load(output.query)
        return
    masks = [dataclasses.replace(label_map, names=names) for _, label_map in examples]
    query = matcher.describe_regions([image for image, _ in examples], masks, settings=settings, progress=progress)
    with writing(output.query):
        query.save(output.query)


def _write_all(
    output: RegionOutput,
    examples: Sequence[Example],
    names: Mapping[int, str],
    journal: RegionJournal,
    targets: Sequence[Target],
    report: RegionReport,
    progress: Progress | None,
) -> tuple[Path, ...]:
    def records() -> Iterator[RegionRecord]:
        return journal.records(targets)

    write_regions(output.file, lambda: ((one.file, one.size, one.entries) for one in records()), names)
    shown = islice(records(), _IN_FIGURE)
    figures = [(load_image(one.path), LabelMap.load(output.label_map(one.labels))) for one in shown]
    save_image(region_figure(examples, figures), output.figure)
    region_page.write(output, examples, names, records, failed=report.failed, total=len(targets), progress=progress)
    return output.file, output.figure, output.review
