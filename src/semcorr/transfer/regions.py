"""Regions of a few examples found in many images, written into a folder as they are found, and continued.

::

    regions.json    all regions as COCO RLE, written when all targets are done
    labels/a.png    for each target a label for each pixel
    overlays/a.png  for each target the regions drawn over it
    figure.png      the examples and the first targets

The journal of finished targets lies beside the folder until then, as that of a transfer does.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from semcorr.errors import ImageError, TransferError
from semcorr.imaging.geometry import Size
from semcorr.imaging.image import load_image, save_image
from semcorr.imaging.label_map import LabelMap
from semcorr.keypoints.coco.masks import build_document, region_entry
from semcorr.matchers.base import Matcher
from semcorr.matchers.regions.examples import Example
from semcorr.matchers.regions.results import RegionQuery
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.progress import Progress
from semcorr.storage.files import exists, write_atomically
from semcorr.storage.record_store import settings_hash
from semcorr.transfer.journal import Journal
from semcorr.transfer.targets import Target, files_in, output_name
from semcorr.visualization.regions import draw_regions, region_colours, region_figure

_IN_FIGURE = 24
"""Targets that the figure of all shows."""


@dataclass(frozen=True, kw_only=True)
class RegionRecord:
    """One target: the regions in it, or why there are none.

    Attributes:
        file: Its name in the output.
        size: (width, height) in pixels; (0, 0) if it could not be read.
        entries: Its regions, as COCO has them.
        labels: The name of its label map in the folder ``labels``, and of the image in ``overlays``.
        error: A message, or None.
        warnings: What to know of how they were found.
    """

    file: str
    size: Size = (0, 0)
    entries: tuple[dict[str, Any], ...] = ()
    labels: str = ""
    error: str | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, line: str | bytes) -> "RegionRecord":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The line is cut short or something else.
        """
        return _RECORD.validate_json(line)


_RECORD = TypeAdapter(RegionRecord)


class RegionJournal(Journal):
    """The journal of finished targets."""

    record_type = RegionRecord


@dataclass(frozen=True, kw_only=True)
class RegionOutput:
    """The folder that regions are written into.

    Attributes:
        folder: It is made.
        overlays: Whether every target is drawn.
        replace: Whether files that exist are written over.
    """

    folder: Path
    overlays: bool = True
    replace: bool = False

    @property
    def work_folder(self) -> Path:
        """Where finished targets are stored until all are."""
        return self.folder.with_name(f"{self.folder.name}.work")

    @property
    def file(self) -> Path:
        """The COCO file of all regions."""
        return self.folder / "regions.json"

    @property
    def figure(self) -> Path:
        """The figure of the examples and the first targets."""
        return self.folder / "figure.png"

    def label_map(self, record: RegionRecord) -> Path:
        """A target's label map."""
        return self.folder / "labels" / record.labels

    def overlay(self, record: RegionRecord) -> Path:
        """A target's overlay."""
        return self.folder / "overlays" / record.labels

    def check(self) -> None:
        """Refuse to write over what exists, before anything slow begins.

        Raises:
            TransferError: There is something that is no part of the same work.
        """
        if exists(self.folder) and not self.folder.is_dir():
            raise TransferError(f"Expected a folder to write into, got the file {str(self.folder)!r}. Name another.")
        if exists(self.folder) and any(self.folder.iterdir()) and not (self.replace or exists(self.work_folder)):
            raise TransferError(f"{str(self.folder)!r} is not empty. Name another folder, or write over it: --replace.")


@dataclass(frozen=True, kw_only=True)
class RegionReport:
    """How it went.

    Attributes:
        records: One for each target, in order, failed ones included.
        before: How many were done before this call.
        files: What was written for all of them together.
    """

    records: tuple[RegionRecord, ...]
    before: int
    files: tuple[Path, ...]

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
        progress: Called as ``("segment", targets done, targets in all, image=name)``; raise from it to stop: what is
            finished is kept, and the same call continues.

    Raises:
        SettingsError: The method finds no regions.
        TransferError: All targets failed, or the work folder is of other examples or settings.
        RunError: The work folder cannot be written, or is in use.
    """
    output.check()
    query = _describe(matcher, examples, names, settings)
    journal = RegionJournal(output.work_folder, _identity(matcher, examples, names, targets, settings))
    with journal.open():
        files, failed = _file_names(targets), dict[str, RegionRecord]()
        # What is done and no longer there is done again.
        written = {file for file, name in files.items() if exists(output.folder / "labels" / name)}
        left = [target for target in targets if not (journal.done(target) and target.file in written)]
        for done, target in enumerate(left, start=len(targets) - len(left)):
            if progress is not None:
                progress("segment", done, len(targets), image=target.file)
            record = _find(matcher, query, target, files[target.file], output)
            journal.add(record)
            if record.error is not None:
                failed[record.file] = record
        finished = {record.file: record for record in journal.records(targets)}
        records = tuple({**failed, **finished}[target.file] for target in targets)
        if not finished:
            lines = "\n".join(record.error or "" for record in records)
            raise TransferError(f"{lines}\nRegions were found in none of {len(records)} images. The messages say why.")
        result = _write_all(output, examples, names, list(zip(targets, records, strict=True)))
    journal.remove()
    return RegionReport(records=records, before=len(targets) - len(left), files=result)


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
        "examples": {"images": [image.sha256 for image, _ in examples], "masks": masks},
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
    matcher: Matcher, examples: Sequence[Example], names: Mapping[int, str], settings: RegionSettings
) -> RegionQuery:
    masks = [LabelMap(labels=label_map.labels, names=names) for _, label_map in examples]
    return matcher.describe_regions([image for image, _ in examples], masks, settings=settings)


def _find(matcher: Matcher, query: RegionQuery, target: Target, name: str, output: RegionOutput) -> RegionRecord:
    """Find the regions of one target and write its files, before it counts as done."""
    try:
        image = load_image(target.path)
        regions = matcher.locate_regions(query, image)
    except ImageError as error:
        return RegionRecord(file=target.file, error=str(error))
    entries = [region_entry(label, regions.mask(label), score) for label, score in regions.confidence.items()]
    record = RegionRecord(
        file=target.file, size=image.size, entries=tuple(entries), labels=name, warnings=regions.warnings
    )
    regions.label_map().save(output.label_map(record), colours=region_colours(regions.names))
    if output.overlays:
        save_image(draw_regions(regions, image), output.overlay(record))
    return record


def _write_all(
    output: RegionOutput,
    examples: Sequence[Example],
    names: Mapping[int, str],
    done: Sequence[tuple[Target, RegionRecord]],
) -> tuple[Path, ...]:
    good = [(target, record) for target, record in done if record.error is None]
    document = build_document([(record.file, record.size, record.entries) for _, record in good], names)
    write_atomically(output.file, (json.dumps(document) + "\n").encode())
    shown = [(load_image(target.path), LabelMap.load(output.label_map(record))) for target, record in good[:_IN_FIGURE]]
    save_image(region_figure(examples, shown), output.figure)
    return output.file, output.figure
