"""Images for the page, reduced and as JPEG, made when they are asked for."""

import io
import threading
from collections import OrderedDict
from pathlib import Path

from semcorr.imaging.image import load_image

SIDES = (240, 1600)
"""Longer sides that the page may ask for, in pixels: a card's, and that of the image that is worked on."""

_MOST_BYTES = 64_000_000
_AT_ONCE = 3
"""Images decoded at once: a photograph takes a hundred megabytes."""


class Thumbnails:
    """The last images that were asked for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, int], bytes] = OrderedDict()
        self._lock, self._decoding = threading.Lock(), threading.Semaphore(_AT_ONCE)

    def jpeg(self, path: Path, side: int) -> bytes:
        """An image whose longer side is at most ``side`` pixels.

        Raises:
            ImageError: It cannot be read.
        """
        key = path, side
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._decoding:
            small = load_image(path).pil()
            small.thumbnail((side, side))
            buffer = io.BytesIO()
            small.save(buffer, format="JPEG", quality=88)
        with self._lock:
            self._kept[key] = buffer.getvalue()
            while sum(map(len, self._kept.values())) > _MOST_BYTES:
                self._kept.popitem(last=False)
        return buffer.getvalue()
