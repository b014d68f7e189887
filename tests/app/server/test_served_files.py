"""Files in memory: each work has its own, and no more than its share."""

import io

import numpy as np
import PIL.Image

from semcorr.app.server.served_files import PREFIX, ServedFiles, SessionFiles
from semcorr.imaging.image import load_image


def token(address: str) -> str:
    return address.removeprefix(PREFIX.lstrip("/"))


def test_a_work_has_its_own_files_and_no_more_than_its_share() -> None:
    files = ServedFiles()
    one, other = SessionFiles(files, limit_bytes=10), SessionFiles(files)
    first = one.add(b"12345", "image/png")
    assert one.add(b"12345", "image/png") == first
    assert other.add(b"12345", "image/png") != first
    one.add(b"67890", "image/png")
    one.add(b"abcde", "image/png")
    assert files.get(token(first)) is None  # the oldest made room
    assert len(files) == 3
    other.clear()
    assert len(files) == 2


def test_an_image_is_packed_once_and_again_when_it_made_room() -> None:
    files = ServedFiles()
    own = SessionFiles(files, limit_bytes=10)
    image = load_image(np.full((30, 40, 3), 90, dtype=np.uint8))
    made: list[int] = []

    def make() -> PIL.Image.Image:
        made.append(1)
        return image.pil()

    address = own.address_of(image, make)
    assert own.address_of(image, make) == address
    assert len(made) == 1
    own.add(b"x" * 11, "image/png")
    again = own.address_of(image, make)
    assert again != address
    assert len(made) == 2
    served = files.get(token(again))
    assert served is not None
    assert PIL.Image.open(io.BytesIO(served.data)).size == (40, 30)
