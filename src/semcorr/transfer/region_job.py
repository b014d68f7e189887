"""Regions found in one target after the other, in this process or in others, each written before it counts as done."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semcorr.imaging.image import Image, load_image, save_image
from semcorr.keypoints.coco.masks import region_entry
from semcorr.matchers.regions.results import RegionQuery, Regions
from semcorr.progress import Progress
from semcorr.transfer.failures import failure_message
from semcorr.transfer.region_files import RegionOutput, RegionRecord
from semcorr.transfer.targets import Target
from semcorr.visualization.regions import draw_regions, region_colours

NamedTarget = tuple[Target, str]
"""A target, and the name of the files that are written for it."""


@dataclass(frozen=True, kw_only=True)
class RegionJob:
    """Finds regions in worker processes (:class:`semcorr.executors.Job`).

    Attributes:
        load: Loads the :class:`semcorr.Matcher`; what can be pickled.
        query: File of the described examples.
        output: Where to.
    """

    load: Callable[[], Any]
    query: Path
    output: RegionOutput

    def start(self) -> Callable[[NamedTarget, Progress | None], Iterator[RegionRecord]]:
        """Load the method and the query, and return what does a target; one that fails becomes a record that says so.

        Raises:
            QueryError: The file of the query is missing or broken.
        """
        matcher, query = self.load(), RegionQuery.load(self.query)

        def find(unit: NamedTarget, _: Progress | None) -> Iterator[RegionRecord]:
            target, name = unit
            try:
                image = load_image(target.path)
                regions = matcher.locate_regions(query, image)
            except Exception as error:
                message = failure_message(error)
                if message is None:
                    raise
                yield RegionRecord(file=target.file, path=target.path, error=message)
            else:
                yield self._written(target, name, image, regions)

        return find

    def _written(self, target: Target, name: str, image: Image, regions: Regions) -> RegionRecord:
        """Write a target's files. Where that fails the work ends: those of others could not be written either."""
        regions.label_map().save(self.output.label_map(name), colours=region_colours(regions.names))
        if self.output.overlays:
            save_image(draw_regions(regions, image), self.output.overlay(name))
        entries = [region_entry(label, regions.mask(label), score) for label, score in regions.confidence.items()]
        return RegionRecord(
            file=target.file,
            path=target.path,
            size=image.size,
            entries=tuple(entries),
            labels=name,
            warnings=regions.warnings,
        )
