"""Pairs of points in the records of transformers' key-point matching pipeline, written and read.

A record is ``{"keypoint_image_0": {"x", "y"}, "keypoint_image_1": {"x", "y"}, "score"}``; those of a pair of images are
a list, the highest score first, and those of several pairs a list of lists. The pipeline names pixels, so half a pixel
is taken away when points are written, and added when they are read.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, FiniteFloat, TypeAdapter, ValidationError

from semcorr.errors import QueryError
from semcorr.imaging.geometry import from_pixel_indices, to_pixel_indices
from semcorr.storage.files import write_atomically


class _Point(BaseModel):
    x: FiniteFloat
    y: FiniteFloat


class _Record(BaseModel):
    keypoint_image_0: _Point
    keypoint_image_1: _Point
    score: FiniteFloat


_RECORDS = TypeAdapter(list[list[_Record]] | list[_Record])

Pairs = tuple[Float[np.ndarray, "pairs 2"], Float[np.ndarray, "pairs 2"], Float[np.ndarray, " pairs"]]
"""(x, y) in pixels of the first image (continuous; (0, 0) is its top-left corner), those of the second, and scores."""


def records_of(
    source: Float[np.ndarray, "pairs 2"], target: Float[np.ndarray, "pairs 2"], score: Float[np.ndarray, " pairs"]
) -> list[dict[str, Any]]:
    """The records of one pair of images, the highest score first, as the pipeline returns them.

    Args:
        source: (x, y) in pixels of the first image, continuous.
        target: The same in the second.
        score: Of each pair.
    """
    order = np.argsort(-score, kind="stable")
    numbers = np.column_stack([to_pixel_indices(source), to_pixel_indices(target), score])[order].tolist()
    return [
        {"keypoint_image_0": {"x": x, "y": y}, "keypoint_image_1": {"x": other_x, "y": other_y}, "score": value}
        for x, y, other_x, other_y, value in numbers
    ]


def write_keypoint_matches(path: Path, pairs: Sequence[list[dict[str, Any]]]) -> Path:
    """Write the records of several pairs of images, whole or not at all; those of one alone are a list of records."""
    content = pairs[0] if len(pairs) == 1 else list(pairs)
    return write_atomically(path, (json.dumps(content, allow_nan=False, indent=1) + "\n").encode())


def read_keypoint_matches(path: str | os.PathLike[str]) -> list[Pairs]:
    """Read the records that the pipeline, or :func:`write_keypoint_matches`, gave: of each pair of images.

    The first points of a pair are what :meth:`semcorr.matchers.base.Matcher.describe` takes as points of the first
    image.

    Raises:
        QueryError: The file is missing or holds something else.
    """
    try:
        content = _RECORDS.validate_json(Path(path).read_bytes())
    except OSError as error:
        raise QueryError(f"{str(path)!r} cannot be read: {error.strerror}. Name another file.") from error
    except ValidationError as error:
        raise QueryError(
            "Expected records of transformers' key-point matching pipeline (keypoint_image_0, keypoint_image_1, score) "
            f"in {str(path)!r}, got something else: {error.errors()[0]['msg']}. Name another file."
        ) from error
    lists = [content] if not content or isinstance(content[0], _Record) else content
    return [_pairs(records) for records in lists]  # type: ignore[arg-type]  # each is a list of records


def _pairs(records: Sequence[_Record]) -> Pairs:
    numbers = np.array(
        [
            (
                *(one.keypoint_image_0.x, one.keypoint_image_0.y),
                *(one.keypoint_image_1.x, one.keypoint_image_1.y),
                one.score,
            )
            for one in records
        ]
    ).reshape(-1, 5)
    return from_pixel_indices(numbers[:, :2]), from_pixel_indices(numbers[:, 2:4]), numbers[:, 4]
