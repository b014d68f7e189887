"""The regions of a work as the page gets them."""

from typing import Any

import numpy as np
import PIL.Image

from semcorr.app.colours import hex_colour
from semcorr.app.images import SHOWN_SIDE
from semcorr.app.painting import Labels, Painting
from semcorr.app.region_changes import free_label
from semcorr.app.server.served_files import SessionFiles
from semcorr.app.workspace import RegionResult, Workspace
from semcorr.visualization.regions import edges_of, region_colours
from semcorr.visualization.style import INK

_EDGE = 255
"""The index of the lines around regions, which no region has."""


def regions_view(files: SessionFiles, work: Workspace) -> dict[str, Any]:
    """The regions of the source, and which one the next would be."""
    painting, free = work.painting, free_label(work.painting)
    return {
        "address": None if painting is None else _address(files, painting.labels),
        "to_find": regions_to_find(work),
        "with": "; ".join(dict.fromkeys(one.made_with for one in work.regions.values())),
        "list": [] if painting is None else _regions(painting),
        "next": {"number": free, "colour": colour_of_region(free)},
    }


def colour_of_region(label: int) -> str:
    """The colour of a region in CSS."""
    return hex_colour(region_colours([label])[label])


def _regions(painting: Painting) -> list[dict[str, Any]]:
    pixels = painting.labels.pixels
    return [
        {
            "id": label,
            "number": label,
            "name": name,
            "label": painting.titles[label],
            "colour": colour_of_region(label),
            "share": pixels.get(label, 0) / sum(pixels.values()),
        }
        for label, name in painting.names.items()
    ]


def target_regions_view(files: SessionFiles, work: Workspace, target: int) -> dict[str, Any] | None:
    """The regions in a target; None where they were not searched for."""
    regions = work.regions.get(target)
    if regions is None:
        return None
    return {
        "address": _address(files, regions.labels),
        "outdated": work.regions_outdated(target),
        "confidence": dict(regions.confidence),
    }


def regions_to_find(work: Workspace) -> str:
    """In how many targets *Find* would search for regions, in a sentence; empty before the first run or where none."""
    missing = sum(target not in work.regions for target in work.target_ids)
    outdated = any(map(work.regions_outdated, work.regions))
    if not work.regions or not (missing or outdated):
        return ""
    if outdated:
        return "The regions were painted anew after they were found: press Find."
    return f"The regions are not searched for in {missing} target{'s' * (missing > 1)} yet: press Find."


def targets_without(result: RegionResult) -> str:
    """In how many targets a run found none of the regions, in a sentence; empty where there is none."""
    count = sum(not one.confidence for one in result.regions.values())
    return f"{count} target{'s show' if count > 1 else ' shows'} none of the regions." if count else ""


def _address(files: SessionFiles, labels: Labels) -> str:
    return files.address_of(labels, lambda: _overlay(labels))


def _overlay(labels: Labels) -> PIL.Image.Image:
    """Regions in their colours with dark lines around them, and nothing elsewhere, as an indexed image."""
    image = labels.image()
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), PIL.Image.Resampling.NEAREST)
    indices = np.array(image)
    indices[edges_of(indices)] = _EDGE
    colours = {**region_colours(range(1, _EDGE)), _EDGE: INK, 0: INK}
    overlay = PIL.Image.fromarray(indices)
    overlay.putpalette([part for index in range(256) for part in colours[index]])
    overlay.info["transparency"] = bytes([0, *[255] * 255])
    return overlay
