"""The review page: one HTML file with every target and its points, the least certain first. It needs no server.

Regions have the same page (:mod:`semcorr.transfer.region_page`).

The page is a template (``review.html``) with data in it. Points and numbers of all targets are in one block; images,
small and as JPEG, are in blocks of their own that the page reads when it shows them.
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
import PIL.Image

from semcorr.errors import ImageError, TransferError
from semcorr.imaging.image import load_image
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.predictions import TransferRecord
from semcorr.progress import Progress
from semcorr.storage.files import atomic_file
from semcorr.transfer.supports import Support

SIDE = 360
"""Longer side of an image on the page, in its pixels."""
_BLOCK = 50
"""Images in a block."""
_MARK = "<!-- data -->"


def write(
    path: Path,
    annotations: Annotations,
    records: Callable[[], Iterable[TransferRecord]],
    *,
    supports: Mapping[str, Sequence[Support]],
    min_confidence: float,
    failed: Mapping[str, str] | None = None,
    total: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Write the page, completely or not at all, and return its path. At most one block of images is in memory.

    Args:
        path: The .html file.
        annotations: What points were carried over from.
        records: Called twice for the records of all targets.
        supports: By category, as :class:`semcorr.transfer.plan.Plan` has them.
        min_confidence: From which confidence on a point is marked as visible.
        failed: Images that could not be read, with error messages, by file.
        total: How many targets there are, for ``progress``.
        progress: Called as ``("review", targets done, targets in all)``.

    Raises:
        TransferError: It cannot be written.
    """
    about = {
        "categories": [
            {"name": category.name, "keypoints": list(category.keypoints)}
            for category in annotations.categories.values()
        ],
        "min_confidence": min_confidence,
        "failed": list((failed or {}).items()),
        "supports": _supports(supports),
    }
    images = (_thumbnail_of(record.path) for record in records())
    return write_page(path, about, map(_target, records()), images, total=total, progress=progress)


def write_page(
    path: Path,
    about: Mapping[str, Any],
    targets: Iterable[Mapping[str, Any]],
    images: Iterable[str],
    *,
    total: int,
    progress: Progress | None,
) -> Path:
    """Write the page, completely or not at all, and return its path. At most one block of images is in memory.

    Args:
        path: The .html file.
        about: What the page shows for all targets together, as its script reads it.
        targets: What it shows for each.
        images: Of each its image, as :func:`thumbnail` makes it.
        total: How many targets there are, for ``progress``.
        progress: Called as ``("review", targets done, targets in all)``.

    Raises:
        TransferError: It cannot be written.
    """
    page = resources.files("semcorr.transfer").joinpath("review.html").read_text(encoding="utf-8")
    before, _, after = page.partition(_MARK)
    try:
        with atomic_file(path) as stream:
            stream.write(before.encode())
            _script(stream, "about", {**about, "block": _BLOCK})
            stream.write(b'<script type="application/json" id="targets">[')
            for number, target in enumerate(targets):
                stream.write((b"," if number else b"") + _json(target))
            stream.write(b"]</script>\n")
            _images(stream, images, total, progress)
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
                "category": one.category,
                "box": None if one.box is None else [round(value, 1) for value in one.box],
                "points": [
                    [round(float(x), 1), round(float(y), 1), round(float(sure), 3)] if np.isfinite(x) else None
                    for (x, y), sure in zip(one.points, one.confidence, strict=True)
                ],
            }
            for one in record.objects
        ],
    }


def _supports(supports: Mapping[str, Sequence[Support]]) -> list[dict[str, Any]]:
    shown = []
    for category, chosen in supports.items():
        for support in chosen:
            points = support.instance.points
            image = load_image(support.image.path)
            shown.append(
                {
                    "category": category,
                    "file": support.image.file,
                    "size": list(image.size),
                    "image": thumbnail(image.pil()),
                    "points": [
                        [round(float(x), 1), round(float(y), 1), 1] if number in support.keypoints else None
                        for number, (x, y) in enumerate(points)
                    ],
                }
            )
    return shown


def _images(stream: BufferedIOBase, images: Iterable[str], total: int, progress: Progress | None) -> None:
    block: list[str] = []
    number = 0
    for done, image in enumerate(images, start=1):
        block.append(image)
        if len(block) == _BLOCK:
            _script(stream, f"images-{number}", block)
            block, number = [], number + 1
        if progress is not None:
            progress("review", done, total)
    _script(stream, f"images-{number}", block)


def _thumbnail_of(path: Path) -> str:
    """As :func:`thumbnail`; empty if the image is gone."""
    try:
        return thumbnail(load_image(path).pil())
    except ImageError:
        return ""


def thumbnail(image: PIL.Image.Image) -> str:
    """A small JPEG in base 64."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=82)
    return base64.b64encode(buffer.getvalue()).decode()


def _script(stream: BufferedIOBase, name: str, value: Any) -> None:
    stream.write(f'<script type="application/json" id="{name}">'.encode() + _json(value) + b"</script>\n")


def _json(value: Any) -> bytes:
    """JSON that cannot end the script that it is in, whatever a file or a key-point is called."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c").encode()
