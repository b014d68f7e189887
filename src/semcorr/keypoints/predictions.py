"""What a transfer finds, picture by picture, and how it is kept as one line of JSON."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import Box
from semcorr.keypoints.base import Annotations
from semcorr.storage.safetensors import remarks_of

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedObject:
    """The key-points of one thing, found in a picture.

    Attributes:
        category: its category's name.
        names: the category's key-points.
        points: where each was found, in pixels of the picture (continuous; (0, 0) is its top-left corner); NaN where no
            support shows it.
        confidence: of each, in [0, 1]; 0 where no support shows it.
        box: (x0, y0, x1, y1): where it was looked for; None: in the whole picture.
        id: the annotation that had the box, if there was one.
    """

    category: str
    names: tuple[str, ...]
    points: Float[np.ndarray, "keypoints 2"]
    confidence: Float[np.ndarray, " keypoints"]
    box: Box | None = None
    id: int | str | None = None

    @property
    def score(self) -> float:
        """The mean confidence of the points that were looked for."""
        known = np.isfinite(self.points).all(axis=1)
        return float(self.confidence[known].mean()) if known.any() else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class TransferRecord:
    """One target picture: what was found in it, or why nothing could be.

    Attributes:
        file: its name in the output.
        path: where it lies.
        size: (width, height); (0, 0) if it could not be read.
        objects: what was found.
        error: a message, or None.
        remarks: what is to be known about how points were found, in words
            (:mod:`semcorr.matchers.wrappers.float32_fallback`).
        doubtful: The categories between which no choice could be made; then no object of them is here.
        calibration: what the confidence of every match was calibrated on, in words; None if any is uncalibrated.
    """

    file: str
    path: Path
    size: tuple[int, int] = (0, 0)
    objects: tuple[PredictedObject, ...] = ()
    error: str | None = None
    remarks: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    calibration: str | None = None

    def to_json(self) -> str:
        """One line."""
        return json.dumps(
            {
                "file": self.file,
                "path": str(self.path),
                "size": list(self.size),
                "error": self.error,
                "remarks": list(self.remarks),
                "doubtful": list(self.doubtful),
                "calibration": self.calibration,
                "objects": [_object_dict(found) for found in self.objects],
            },
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, line: str) -> "TransferRecord":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: the line is cut short or something else.
        """
        try:
            record = json.loads(line)
            return cls(
                file=str(record["file"]),
                path=Path(record["path"]),
                size=(int(record["size"][0]), int(record["size"][1])),
                objects=tuple(_object(found) for found in record["objects"]),
                error=None if record["error"] is None else str(record["error"]),
                remarks=remarks_of(record),
                doubtful=tuple(map(str, record.get("doubtful", ()))),
                calibration=None if record.get("calibration") is None else str(record["calibration"]),
            )
        except (IndexError, RecursionError, OverflowError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    def to_supervision(self) -> "supervision.KeyPoints":
        """All things as ``supervision.KeyPoints``; categories with fewer key-points than others are filled with zeros.

        ``class_id`` counts the categories of this record in the order of their first thing; ``data["class_name"]``
        names them.

        Raises:
            ImportError: the package supervision is not installed.
        """
        import supervision

        if not self.objects:
            return supervision.KeyPoints.empty()
        most = max(len(found.names) for found in self.objects)
        places = np.zeros((len(self.objects), most, 2), dtype=np.float32)
        sure = np.zeros((len(self.objects), most), dtype=np.float32)
        for row, found in enumerate(self.objects):
            places[row, : len(found.names)] = np.nan_to_num(found.points, nan=0.0)
            sure[row, : len(found.names)] = found.confidence
        kinds = list(dict.fromkeys(found.category for found in self.objects))
        return supervision.KeyPoints(
            xy=places,
            keypoint_confidence=sure,
            class_id=np.array([kinds.index(found.category) for found in self.objects]),
            data={"class_name": np.array([found.category for found in self.objects])},
        )


def in_declared_frame(records: Iterable[TransferRecord], annotations: Annotations) -> Iterator[TransferRecord]:
    """Records with all coordinates, and the size, in the frame that the annotations declare for the images they name.

    Where they declare none, or the image's own size with width and height swapped (see
    :func:`semcorr.keypoints.declared_size.declared_swap`), a record stays as it is.
    """
    declared = {picture.file: picture.size for picture in annotations.images}
    for record in records:
        size = declared.get(record.file)
        if size is None or record.error is not None or size in (record.size, record.size[::-1]):
            yield record
        else:
            scale = size[0] / record.size[0], size[1] / record.size[1]
            objects = tuple(
                replace(found, points=found.points * scale, box=scaled_box(found.box, scale))
                for found in record.objects
            )
            yield replace(record, size=size, objects=objects)


def scaled_box(box: Box | None, scale: tuple[float, float]) -> Box | None:
    """A box (x0, y0, x1, y1) with its x and y multiplied."""
    if box is None:
        return None
    (x0, y0, x1, y1), (x, y) = box, scale
    return x0 * x, y0 * y, x1 * x, y1 * y


def calibration_of(records: Iterable[TransferRecord]) -> str:
    """In words, whether the confidence of what was found goes back to probabilities, and what was measured for it."""
    found = Counter(record.calibration for record in records if record.error is None)
    names = [name for name in found if name is not None]
    calibrated = sum(found[name] for name in names)
    if not names:
        return "uncalibrated"
    told = f"calibrated on {', '.join(names)}"
    return told if calibrated == found.total() else f"{told} for {calibrated} of {found.total()} images; uncalibrated"


def _object_dict(found: PredictedObject) -> dict[str, Any]:
    return {
        "category": found.category,
        "names": list(found.names),
        "points": [[None, None] if math.isnan(x) else [x, y] for x, y in found.points.tolist()],
        "confidence": found.confidence.tolist(),
        "box": None if found.box is None else list(found.box),
        "id": found.id,
    }


def _object(record: dict[str, Any]) -> PredictedObject:
    points = [[np.nan if value is None else float(value) for value in point] for point in record["points"]]
    box, number = record["box"], record["id"]
    if not len(record["names"]) == len(points) == len(record["confidence"]):
        raise ValueError("other numbers of names, points and confidences")
    if not (number is None or type(number) in (int, str)):
        raise TypeError(f"id is {number!r:.60}")
    return PredictedObject(
        category=str(record["category"]),
        names=tuple(map(str, record["names"])),
        points=np.array(points, dtype=np.float64).reshape(-1, 2),
        confidence=np.array(record["confidence"], dtype=np.float64),
        box=None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        id=number,
    )
