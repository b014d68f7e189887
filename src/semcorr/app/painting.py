"""Regions that a person painted in the source, and the same regions in a target."""

import dataclasses
import hashlib
import io
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from semcorr.imaging.geometry import Size
from semcorr.imaging.image import png
from semcorr.imaging.label_map import LabelMap
from semcorr.matchers.regions.results import RegionQuery


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """For each pixel of an image the label of its region, or 0: as PNG, of which undo can hold hundreds.

    Attributes:
        packed: The PNG, of 8 bits a pixel.
    """

    packed: bytes

    @classmethod
    def of(cls, labels: UInt8[np.ndarray, "height width"]) -> "Labels":
        """Pack a label map."""
        return cls(packed=png(PIL.Image.fromarray(labels)))

    def image(self) -> PIL.Image.Image:
        """The label map as an image, mode L.

        Raises:
            OSError: It is something else.
        """
        image = PIL.Image.open(io.BytesIO(self.packed), formats=["PNG"])
        if image.mode != "L":
            raise OSError(f"a label map of mode {image.mode}")
        image.load()
        return image

    def array(self) -> UInt8[np.ndarray, "height width"]:
        """The label map."""
        return np.array(self.image())

    @cached_property
    def size(self) -> Size:
        """(width, height) in pixels."""
        return PIL.Image.open(io.BytesIO(self.packed)).size

    @cached_property
    def sha256(self) -> str:
        """Hash of the PNG."""
        return hashlib.sha256(self.packed).hexdigest()

    @cached_property
    def pixels(self) -> Mapping[int, int]:
        """How many pixels have each label that some have, 0 included."""
        return {label: count for label, count in enumerate(self.image().histogram()) if count}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Painting:
    """The regions of the source.

    Attributes:
        labels: Its pixels' labels.
        names: The name of each region by its label, from 1; empty where the person gave none.
    """

    labels: Labels
    names: Mapping[int, str]

    @property
    def titles(self) -> dict[int, str]:
        """Each region's name, or what it is called without one."""
        return {label: name or f"region {label}" for label, name in self.names.items()}

    @property
    def painted(self) -> tuple[int, ...]:
        """The regions that have pixels."""
        return tuple(label for label in self.names if label in self.labels.pixels)

    def label_map(self) -> LabelMap:
        """The regions as a label map."""
        return LabelMap(labels=self.labels.array(), names=self.titles)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DescribedRegions:
    """The regions of the source as a run described them.

    Attributes:
        query: The description.
        made_with: Method and preset.
        painted: The hash of the source's labels at that time.
    """

    query: RegionQuery
    made_with: str
    painted: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TargetRegions:
    """The regions in one target, as a run predicted them.

    Attributes:
        labels: Its pixels' labels.
        confidence: The confidence of each region that is there, in [0, 1].
        made_with: Method and preset.
        painted: The hash of the source's labels at that time.
    """

    labels: Labels
    confidence: Mapping[int, float]
    made_with: str
    painted: str
