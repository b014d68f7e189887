"""The changes of a workspace's regions: every one returns a new workspace."""

import dataclasses

import numpy as np
from jaxtyping import Float

from semcorr.app.changes import check_names
from semcorr.app.limits import Limits
from semcorr.app.painting import Labels, Painting
from semcorr.app.workspace import RegionResult, Workspace
from semcorr.errors import ImageError, PointError
from semcorr.imaging.masks import fill_stroke

BACKGROUND = 0
"""What an eraser paints."""


def paint(
    work: Workspace, region: int, corners: Float[np.ndarray, "corners 2"], radius: float, limits: Limits
) -> Workspace:
    """Paint a stroke in the source; results of the regions stay, as outdated.

    Args:
        work: The workspace.
        region: The region's label; :data:`BACKGROUND` erases, :func:`free_label` begins another region.
        corners: The stroke, in pixels of the source.
        radius: The brush's, in the same.
        limits: How many regions there may be.

    Raises:
        ImageError: There is no source.
        PointError: There is no such region, or there would be too many.
    """
    if work.source is None:
        raise ImageError("There is no source image yet. Send one, or load an example.")
    width, height = work.source.size
    labels = np.zeros((height, width), dtype=np.uint8) if work.painting is None else work.painting.labels.array()
    names = {} if work.painting is None else dict(work.painting.names)
    if region == free_label(work.painting):
        if len(names) >= limits.regions:
            raise PointError(f"Expected at most {limits.regions} regions, got one more. Remove some first.")
        names[region] = ""
    elif region != BACKGROUND:
        _check_region(work, region)
    stroke = fill_stroke(corners, radius, work.source.size)
    if (labels[stroke] == region).all():
        return work  # nothing is painted twice, and no region begins without a pixel
    labels[stroke] = region
    return dataclasses.replace(work, painting=Painting(labels=Labels.of(labels), names=dict(sorted(names.items()))))


def free_label(painting: Painting | None) -> int:
    """The label that another region gets."""
    taken = () if painting is None else painting.names
    return next(label for label in range(1, 256) if label not in taken)


def name_region(work: Workspace, region: int, name: str) -> Workspace:
    """Name a region; an empty name takes its name away.

    Raises:
        PointError: There is no such region, another has the name, or it is too long.
    """
    painting, name = _check_region(work, region), name.strip()
    if name == painting.names[region]:
        return work
    names = {**painting.names, region: name}
    changed = dataclasses.replace(painting, names=names)
    check_names(list(changed.titles.values()))
    return dataclasses.replace(work, painting=changed)


def delete_region(work: Workspace, region: int) -> Workspace:
    """Delete a region, here and in the targets.

    Raises:
        PointError: There is no such region.
    """
    painting = _check_region(work, region)
    names = {label: name for label, name in painting.names.items() if label != region}
    if not names:
        return clear_regions(work)
    targets = {
        target: dataclasses.replace(
            one,
            labels=_without(one.labels, region),
            confidence={label: value for label, value in one.confidence.items() if label != region},
        )
        for target, one in work.regions.items()
    }
    changed = Painting(labels=_without(painting.labels, region), names=names)
    return dataclasses.replace(work, painting=changed, regions=targets)


def clear_regions(work: Workspace) -> Workspace:
    """Delete all regions, here and in the targets."""
    return dataclasses.replace(work, painting=None, described_regions=None, regions={})


def merge_regions(work: Workspace, result: RegionResult) -> tuple[Workspace, int]:
    """Add a run's result to the workspace, as far as its regions and targets are still the same.

    Returns:
        The workspace, and the number of targets whose result was dropped because they or the regions had changed.
    """
    painted = work.painting is not None and work.painting.labels.sha256 == result.described.painted
    if not painted or work.source is not result.start.source:
        return work, len(result.regions)
    regions = {target: one for target, one in result.regions.items() if target in work.target_ids}
    merged = dataclasses.replace(work, described_regions=result.described, regions={**work.regions, **regions})
    return merged, len(result.regions) - len(regions)


def _without(labels: Labels, region: int) -> Labels:
    if region not in labels.pixels:
        return labels
    array = labels.array()
    array[array == region] = BACKGROUND
    return Labels.of(array)


def _check_region(work: Workspace, region: int) -> Painting:
    if work.painting is None or region not in work.painting.names:
        count = 0 if work.painting is None else len(work.painting.names)
        raise PointError(f"Expected one of the {count} regions, got one that is not there any more.")
    return work.painting
