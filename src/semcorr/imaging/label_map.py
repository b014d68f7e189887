"""Label maps: for each pixel of an image, which region it belongs to; and the PNG files that hold them."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import UInt8
from PIL.PngImagePlugin import PngInfo

from semcorr.errors import ImageError
from semcorr.imaging.geometry import Size
from semcorr.imaging.image import MAX_MEGAPIXELS, check_megapixels, opened, save_image

MOST_LABELS = 100
"""More different values than an image has regions: they are shades of a photograph, or of smooth edges."""

_NAMES = "semcorr labels"
"""The text chunk of a PNG in which names stand, as a JSON object by label."""
_MODES = ("1", "L", "P", "I", "I;16")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelMap:
    """The regions of an image.

    Attributes:
        labels: For each pixel the label of its region, 1 to 255, or 0 for the background; read-only.
        names: The name of each label. Labels without one are called by their number.
        ignored: Labels whose pixels are neither a region nor the background, in order: nobody says what they are.
    """

    labels: UInt8[np.ndarray, "height width"]
    names: Mapping[int, str] = dataclasses.field(default_factory=dict)
    ignored: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        labels = np.array(self.labels, dtype=np.uint8)
        labels.flags.writeable = False
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "names", {int(label): str(name) for label, name in sorted(self.names.items())})

    @classmethod
    def from_array(cls, array: np.ndarray, names: Mapping[int, str] | None = None) -> "LabelMap":
        """Make one of any whole numbers.

        Args:
            array: (height, width): 0 for the background, 1 to 255 for regions.
            names: The name of each label.

        Raises:
            ImageError: It is something else.
        """
        whole = array.ndim == 2 and array.size > 0 and array.dtype.kind in "bui"
        if not whole or array.min() < 0 or array.max() > 255:
            among = f" with numbers from {array.min()} to {array.max()}" if whole else ""
            raise ImageError(
                "Expected a label map as an array (height, width) of whole numbers, 0 for the background and 1 to 255 "
                f"for regions, got {array.dtype} {array.shape}{among}. Give each region a number of its own."
            )
        return cls(labels=array.astype(np.uint8), names=names or {})

    @property
    def size(self) -> Size:
        """(width, height) in pixels."""
        height, width = self.labels.shape
        return width, height

    @property
    def present(self) -> tuple[int, ...]:
        """The labels of regions that some pixel has: without the background's 0, and without those that are ignored."""
        return tuple(label for label in np.unique(self.labels).tolist() if label and label not in self.ignored)

    def name(self, label: int) -> str:
        """The name of a label: its own, or its number."""
        return self.names.get(label, str(label))

    def ignoring(self, labels: Iterable[int]) -> "LabelMap":
        """Return the same with further labels ignored; those that no pixel has are left out."""
        present = set(np.unique(self.labels).tolist())
        return dataclasses.replace(self, ignored=tuple(sorted({*self.ignored, *present.intersection(labels)})))

    def check(self, size: Size, *, name: str = "the mask", image: str = "the image") -> None:
        """Refuse one that does not fit its image, or has no regions.

        Args:
            size: (width, height) of the image.
            name: What messages call the mask.
            image: What messages call the image.

        Raises:
            ImageError: It has another size, or no labelled pixel.
        """
        if self.size != size:
            raise ImageError(
                f"{name} is {self.size[0]} x {self.size[1]} pixels, but {image} is {size[0]} x {size[1]} pixels. "
                "Expected a mask with a label for each pixel of its image: name the one that belongs to it, or resize "
                "it without mixing labels (nearest neighbour)."
            )
        if not self.present:
            others = "".join(f", or {label}, which is ignored" for label in self.ignored)
            raise ImageError(
                f"{name} is empty: every pixel is 0, the background{others}. Expected at least one region; give its "
                "pixels a number from 1 to 255."
            )

    def save(self, path: str | os.PathLike[str], colours: Mapping[int, tuple[int, int, int]] | None = None) -> Path:
        """Write an indexed PNG, whole or not at all, and return its path.

        Its indices are the labels; names stand in a text chunk, and :meth:`load` reads them. The file does not say
        which labels are ignored.

        Args:
            path: Where to.
            colours: What viewers show of each label; black for others.
        """
        image = PIL.Image.fromarray(self.labels)
        image.putpalette([part for label in range(256) for part in (colours or {}).get(label, (0, 0, 0))])
        info = PngInfo()
        if self.names:
            info.add_text(_NAMES, json.dumps(self.names))
        return save_image(image, Path(path), error=ImageError, pnginfo=info)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, max_megapixels: float = MAX_MEGAPIXELS) -> "LabelMap":
        """Read a PNG whose pixels are labels: indexed, grey, or black and white.

        Raises:
            ImageError: It is missing, broken, too large, no PNG, in colour, or holds shades in place of labels.
        """
        name = os.fspath(path)
        with opened(name) as image:
            if image.format != "PNG":
                raise ImageError(
                    f"{name!r} is a {image.format} file, expected a PNG of labels (indexed or grey), or a COCO .json: "
                    "other formats may mix labels where they compress. Save it as PNG."
                )
            if image.mode not in _MODES:
                raise ImageError(
                    f"{name!r} is in colour ({image.mode}), expected an indexed or grey PNG whose values are labels, 0 "
                    "for the background. Save it as indexed PNG, or with one grey for each region."
                )
            check_megapixels(image, name, max_megapixels)
            names = _names(image.info.get(_NAMES), name)
            try:
                values = np.asarray(image)
            except MemoryError:
                raise
            except Exception as error:  # A broken file makes decoders raise all kinds of errors.
                raise ImageError(f"{name!r} is broken or incomplete: {error}. Copy or make it again.") from error
        distinct = np.unique(values)
        if len(distinct) > MOST_LABELS:
            raise ImageError(
                f"{name!r} holds {len(distinct)} different values, expected at most {MOST_LABELS} labels: it looks "
                "like a photograph, or like a mask with smooth edges. Make one without (no antialiasing)."
            )
        try:
            return cls.from_array(values, names)
        except ImageError as error:
            raise ImageError(f"{name!r}: {error}") from None


def _names(text: object, path: str) -> dict[int, str]:
    """The names that a PNG holds."""
    if text is None:
        return {}
    try:
        return {int(label): str(name) for label, name in json.loads(str(text)).items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ImageError(f"{path!r} has broken names of labels ({error}). Make it again.") from error
