"""What a transfer predicts, image by image, and how it is kept as one line of JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from jaxtyping import Float
from pydantic import AliasChoices, Field, PlainSerializer, PlainValidator, StrictInt, StrictStr, TypeAdapter

from semcorr.imaging.geometry import Box, scaled_box
from semcorr.keypoints.base import Annotations

if TYPE_CHECKING:
    import supervision

_ROWS = TypeAdapter(list[tuple[float | None, float | None]])
_NUMBERS = TypeAdapter(list[float])
_VOTES = TypeAdapter(list[list[float | None]])


def _points_of(rows: Any) -> np.ndarray:
    numbers = [[np.nan if value is None else value for value in row] for row in _ROWS.validate_python(rows)]
    return np.array(numbers, dtype=np.float64).reshape(-1, 2)


def _votes_of(rows: Any) -> np.ndarray | None:
    if rows is None:
        return None
    numbers = [[np.nan if value is None else value for value in row] for row in _VOTES.validate_python(rows)]
    return np.array(numbers, dtype=np.float64).reshape(len(numbers), -1)


def _rows_of_votes(votes: np.ndarray | None) -> list[list[float | None]] | None:
    if votes is None:
        return None
    return [[None if np.isnan(one) else one for one in row] for row in votes.round(4).tolist()]


def _rows_of(points: np.ndarray) -> list[list[float | None]]:
    """JSON has no NaN: a point that is not known is a pair of nulls."""
    return [[None, None] if np.isnan(x) else [x, y] for x, y in points.tolist()]


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedObject:
    """The predicted key-points of one object in an image.

    Attributes:
        category: Its category's name.
        names: The category's key-points.
        points: (x, y) of each in pixels of the image (continuous; (0, 0) is its top-left corner); NaN where no support
            shows it.
        confidence: Of each, in [0, 1]; 0 where no support shows it.
        box: (x0, y0, x1, y1) of the region that was searched; None for the whole image.
        id: The annotation that had the box, if there was one.
        votes: How much each support speaks for each point, in [0, 1], in the order of the supports of its category; NaN
            where it lacks the key-point. None where that is not known.
    """

    category: str
    names: tuple[str, ...]
    points: Annotated[Float[np.ndarray, "keypoints 2"], PlainValidator(_points_of), PlainSerializer(_rows_of)]
    confidence: Annotated[
        Float[np.ndarray, " keypoints"],
        PlainValidator(lambda values: np.array(_NUMBERS.validate_python(values), dtype=np.float64)),
        PlainSerializer(lambda array: array.tolist()),
    ]
    box: Box | None = None
    id: StrictInt | StrictStr | None = None
    votes: Annotated[
        Float[np.ndarray, "supports keypoints"] | None, PlainValidator(_votes_of), PlainSerializer(_rows_of_votes)
    ] = None

    @property
    def score(self) -> float:
        """The mean confidence of the points that are predicted."""
        known = np.isfinite(self.points).all(axis=1)
        return float(self.confidence[known].mean()) if known.any() else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class TransferRecord:
    """One target image: what is predicted in it, or why nothing could be.

    Attributes:
        file: Its name in the output.
        path: Its path.
        size: (width, height) in pixels; (0, 0) if it could not be read.
        objects: The predicted objects.
        error: A message, or None.
        warnings: What to know about how the points were predicted (:mod:`semcorr.matchers.wrappers.float32_fallback`).
        doubtful: The categories between which no choice could be made; then no object of them is here.
        calibration: What the confidence of every match was calibrated on, in words; None if any is uncalibrated.
    """

    file: str
    path: Path
    size: tuple[int, int] = (0, 0)
    objects: tuple[PredictedObject, ...] = ()
    error: str | None = None
    # Version 0.1 wrote them as "remarks".
    warnings: Annotated[tuple[str, ...], Field(validation_alias=AliasChoices("warnings", "remarks"))] = ()
    doubtful: tuple[str, ...] = ()
    calibration: str | None = None

    def to_json(self) -> str:
        """One line."""
        return json.dumps(_adapter().dump_python(self, mode="json"), allow_nan=False)

    @classmethod
    def from_json(cls, line: str | bytes) -> "TransferRecord":
        """Read what :meth:`to_json` wrote, today or in version 0.1.

        Raises:
            ValueError: The line is cut short or something else.
        """
        record = _adapter().validate_json(line)
        for one in record.objects:
            votes = len(one.names) if one.votes is None else one.votes.shape[1]
            if not len(one.names) == len(one.points) == len(one.confidence) == votes:
                raise ValueError("Expected as many points, confidences and votes as names.")
        return record

    def to_supervision(self) -> "supervision.KeyPoints":
        """All objects as ``supervision.KeyPoints``; categories with fewer key-points than others are padded with zeros.

        ``class_id`` counts the categories of this record in the order of their first object; ``data["class_name"]``
        names them.

        Raises:
            ImportError: The package supervision is not installed.
        """
        import supervision

        if not self.objects:
            return supervision.KeyPoints.empty()
        most = max(len(one.names) for one in self.objects)
        points = np.zeros((len(self.objects), most, 2), dtype=np.float32)
        confidence = np.zeros((len(self.objects), most), dtype=np.float32)
        for row, one in enumerate(self.objects):
            points[row, : len(one.names)] = np.nan_to_num(one.points, nan=0.0)
            confidence[row, : len(one.names)] = one.confidence
        categories = list(dict.fromkeys(one.category for one in self.objects))
        return supervision.KeyPoints(
            xy=points,
            keypoint_confidence=confidence,
            class_id=np.array([categories.index(one.category) for one in self.objects]),
            data={"class_name": np.array([one.category for one in self.objects])},
        )


def in_declared_frame(records: Iterable[TransferRecord], annotations: Annotations) -> Iterator[TransferRecord]:
    """Records with all coordinates, and the size, in the frame that the annotations declare for the images they name.

    Where they declare none, or the image's own size with width and height swapped (see
    :func:`semcorr.keypoints.declared_size.swap_warning`), a record stays as it is.
    """
    declared = {image.file: image.size for image in annotations.images}
    for record in records:
        size = declared.get(record.file)
        if size is None or record.error is not None or size in (record.size, record.size[::-1]):
            yield record
        else:
            scale = size[0] / record.size[0], size[1] / record.size[1]
            objects = tuple(
                replace(one, points=one.points * scale, box=scaled_box(one.box, scale)) for one in record.objects
            )
            yield replace(record, size=size, objects=objects)


def calibration_of(records: Iterable[TransferRecord]) -> str:
    """Whether the confidence of predictions is calibrated, and on what, in words."""
    counts = Counter(record.calibration for record in records if record.error is None)
    names = [name for name in counts if name is not None]
    calibrated = sum(counts[name] for name in names)
    if not names:
        return "uncalibrated"
    text = f"calibrated on {', '.join(names)}"
    return text if calibrated == counts.total() else f"{text} for {calibrated} of {counts.total()} images; uncalibrated"


@cache
def _adapter() -> Any:
    return TypeAdapter(TransferRecord)
