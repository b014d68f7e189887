"""The folder of regions: its files, and the journal of targets that are done."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from semcorr.errors import TransferError
from semcorr.imaging.geometry import Size
from semcorr.storage.files import exists
from semcorr.transfer.journal import Journal


@dataclass(frozen=True, kw_only=True)
class RegionRecord:
    """One target: the regions in it, or why there are none.

    Attributes:
        file: Its name in the output.
        path: Its path.
        size: (width, height) in pixels; (0, 0) if it could not be read.
        entries: Its regions, as COCO has them.
        labels: The name of its label map in the folder ``labels``, and of the image in ``overlays``.
        error: A message, or None.
        warnings: What to know of how they were found.
    """

    file: str
    path: Path
    size: Size = (0, 0)
    entries: tuple[dict[str, Any], ...] = ()
    labels: str = ""
    error: str | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line."""
        return json.dumps({**vars(self), "path": str(self.path)})

    @classmethod
    def from_json(cls, line: str | bytes) -> "RegionRecord":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The line is cut short or something else.
        """
        return _RECORD.validate_json(line)

    def without_masks(self) -> "RegionRecord":
        """The same without the pixels of its regions, which take most of the memory."""
        entries = ({key: value for key, value in one.items() if key != "segmentation"} for one in self.entries)
        return dataclasses.replace(self, entries=tuple(entries))


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
    def query(self) -> Path:
        """The described examples, while the work is under way."""
        return self.work_folder / "examples.safetensors"

    @property
    def file(self) -> Path:
        """The COCO file of all regions."""
        return self.folder / "regions.json"

    @property
    def figure(self) -> Path:
        """The figure of the examples and the first targets."""
        return self.folder / "figure.png"

    @property
    def review(self) -> Path:
        """The page of all targets, the least certain first."""
        return self.folder / "review.html"

    def label_map(self, name: str) -> Path:
        """A target's label map, by its record's ``labels``."""
        return self.folder / "labels" / name

    def overlay(self, name: str) -> Path:
        """A target's overlay, by its record's ``labels``."""
        return self.folder / "overlays" / name

    def check(self) -> None:
        """Refuse to write over what exists, before anything slow begins.

        Raises:
            TransferError: There is something that is no part of the same work.
        """
        if exists(self.folder) and not self.folder.is_dir():
            raise TransferError(f"Expected a folder to write into, got the file {str(self.folder)!r}. Name another.")
        if exists(self.folder) and any(self.folder.iterdir()) and not (self.replace or exists(self.work_folder)):
            raise TransferError(f"{str(self.folder)!r} is not empty. Name another folder, or write over it: --replace.")
