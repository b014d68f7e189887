"""The review page: one HTML file with every target and its points, the least certain first. It needs no server.

The page is a template (``review.html``) with data in it. Points and numbers of all targets come in one block; pictures,
small and as JPEG, come in blocks of their own that the page reads when it shows them.
"""

import base64
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.errors import ImageError, TransferError
from semcorr.imaging.image import Image, load_image
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.predictions import TransferRecord
from semcorr.progress import Progress
from semcorr.storage.files import atomic_file
from semcorr.transfer.supports import Support

_SIDE = 360
"""Longer side of a picture on the page, in its pixels."""
_BLOCK = 50
"""Pictures in a block."""
_MARK = "<!-- data -->"


def write(
    path: Path,
    annotations: Annotations,
    records: Callable[[], Iterable[TransferRecord]],
    *,
    supports: Mapping[str, Sequence[Support]],
    min_confidence: float,
    broken: Sequence[tuple[str, str]] = (),
    total: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Write the page, whole or not at all, and return its path. No more than a block of pictures is in memory.

    Args:
        path: The .html file.
        annotations: What points were carried over from.
        records: Called twice; gives all targets.
        supports: By category, as :class:`semcorr.transfer.plan.Plan` has them.
        min_confidence: Where the page draws the line to begin with.
        broken: Pictures that could not be read, with messages.
        total: How many targets there are, for ``progress``.
        progress: Called as ``("review", targets done, targets in all)``.

    Raises:
        TransferError: it cannot be written.
    """
    page = resources.files("semcorr.transfer").joinpath("review.html").read_text(encoding="utf-8")
    before, _, after = page.partition(_MARK)
    try:
        with atomic_file(path) as stream:
            stream.write(before.encode())
            about = {
                "categories": [
                    {"name": category.name, "keypoints": list(category.keypoints)}
                    for category in annotations.categories.values()
                ],
                "min_confidence": min_confidence,
                "block": _BLOCK,
                "broken": [list(pair) for pair in broken],
                "supports": _supports(supports),
            }
            _script(stream, "about", about)
            stream.write(b'<script type="application/json" id="targets">[')
            for number, record in enumerate(records()):
                stream.write((b"," if number else b"") + _json(_target(record)))
            stream.write(b"]</script>\n")
            _pictures(stream, records(), total, progress)
            stream.write(after.encode())
    except OSError as error:
        raise TransferError(f"{str(path)!r} cannot be written: {error.strerror or error}. Choose another.") from error
    return path


def _target(record: TransferRecord) -> dict[str, Any]:
    return {
        "file": record.file,
        "size": list(record.size),
        "objects": [
            {
                "category": found.category,
                "box": None if found.box is None else [round(value, 1) for value in found.box],
                "points": [
                    [round(float(x), 1), round(float(y), 1), round(float(sure), 3)] if np.isfinite(x) else None
                    for (x, y), sure in zip(found.points, found.confidence, strict=True)
                ],
            }
            for found in record.objects
        ],
    }


def _supports(supports: Mapping[str, Sequence[Support]]) -> list[dict[str, Any]]:
    shown = []
    for category, chosen in supports.items():
        for support in chosen:
            points = support.instance.points
            image = load_image(support.picture.path)
            shown.append(
                {
                    "category": category,
                    "file": support.picture.file,
                    "size": list(image.size),
                    "picture": _thumbnail(image),
                    "points": [
                        [round(float(points[place, 0]), 1), round(float(points[place, 1]), 1), 1]
                        if place in support.seen
                        else None
                        for place in range(len(points))
                    ],
                }
            )
    return shown


def _pictures(stream: BufferedIOBase, records: Iterable[TransferRecord], total: int, progress: Progress | None) -> None:
    block: list[str] = []
    number = 0
    for done, record in enumerate(records, start=1):
        block.append(_thumbnail_of(record.path))
        if len(block) == _BLOCK:
            _script(stream, f"pictures-{number}", block)
            block, number = [], number + 1
        if progress is not None:
            progress("review", done, total)
    _script(stream, f"pictures-{number}", block)


def _thumbnail_of(path: Path) -> str:
    """As :func:`_thumbnail`; empty if the picture is gone."""
    try:
        return _thumbnail(load_image(path))
    except ImageError:
        return ""


def _thumbnail(image: Image) -> str:
    """A small JPEG in base 64."""
    picture = image.pil()
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=82)
    return base64.b64encode(buffer.getvalue()).decode()


def _script(stream: BufferedIOBase, name: str, value: Any) -> None:
    stream.write(f'<script type="application/json" id="{name}">'.encode() + _json(value) + b"</script>\n")


def _json(value: Any) -> bytes:
    """JSON that cannot end the script that it stands in, whatever a file or a key-point is called."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c").encode()
