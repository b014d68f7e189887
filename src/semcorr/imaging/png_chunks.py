"""Leave out of a PNG file what is not needed to see it: text, colour profiles and whatever else may be too large.

Image generators write their settings and whole workflows into text chunks. Pillow bounds what such a chunk may unpack
to, so that a small file cannot fill the memory, and refuses the image with the chunk. The bound stays; the chunk goes.
"""

import io
import zlib

from PIL import PngImagePlugin

MAGIC = b"\x89PNG\r\n\x1a\n"

# Ancillary chunks that change what is seen: transparency, the frames of an animation, and how the image is turned.
_SEEN = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_EXIF = b"eXIf"


def without_odd_chunks(stream: io.BufferedIOBase) -> io.BufferedIOBase:
    """Return a PNG file as if chunks that are not needed, or that Pillow would refuse, were not in it.

    Text is kept where Pillow takes it, since it may say how the image is turned. Nothing is unpacked beyond Pillow's
    own bounds (``MAX_TEXT_CHUNK`` for one text, ``MAX_TEXT_MEMORY`` for all); no chunk above the latter is read at all.
    A file of another kind, or one that nothing is left out of, comes back as it is, at its beginning.
    """
    stream.seek(0)
    kept = _kept_pieces(stream) if stream.read(len(MAGIC)) == MAGIC else []
    stream.seek(0)
    return io.BufferedReader(_Pieces(stream, kept)) if kept else stream


def _kept_pieces(stream: io.BufferedIOBase) -> list[tuple[int, int]]:
    """Where the parts of a PNG file that are kept begin and end, after its magic number was read."""
    judge = _TextJudge()
    kept, begin, at = [], 0, len(MAGIC)
    while True:
        head = stream.read(8)
        length, kind = int.from_bytes(head[:4]), head[4:]
        if len(head) < 8 or not kind.isalpha() or kind == b"IEND":
            break
        end = at + 12 + length
        if not _is_kept(stream, kind, length, judge):
            kept.append((begin, at))
            begin = end
        at = end
        stream.seek(at)
    # What comes after a broken chunk, or after the last one, is for the decoder to judge.
    end = stream.seek(0, io.SEEK_END)
    return [(first, last) for first, last in [*kept, (begin, end)] if last > first] if kept else []


def _is_kept(stream: io.BufferedIOBase, kind: bytes, length: int, judge: "_TextJudge") -> bool:
    if kind[:1].isupper() or kind in _SEEN:
        return True
    if kind not in (*_TEXT, _EXIF) or length > PngImagePlugin.MAX_TEXT_MEMORY:
        return False
    body, check = stream.read(length), stream.read(4)
    if len(body) < length or int.from_bytes(check) != zlib.crc32(kind + body):
        return False
    return kind == _EXIF or judge.takes(kind, body)


class _TextJudge:
    """Asks Pillow's own reader, with its own bounds, whether it takes a text chunk."""

    def __init__(self) -> None:
        self._reader = PngImagePlugin.PngStream(io.BytesIO())

    def takes(self, kind: bytes, body: bytes) -> bool:
        """Whether the reader takes a chunk's content after all that it took before."""
        if self._reader.text_memory + len(body) > PngImagePlugin.MAX_TEXT_MEMORY:
            return False
        self._reader.fp = io.BytesIO(body)
        before = self._reader.text_memory
        try:
            self._reader.call(kind, 0, len(body))
        except Exception:  # Whatever it stumbles over in the chunk, it would in the file.
            # What was unpacked in vain counts, so that thousands of such chunks cost no more than a few.
            self._reader.text_memory = before + PngImagePlugin.MAX_TEXT_CHUNK
            return False
        finally:
            self._reader.im_info.clear()
            self._reader.im_text.clear()
        return True


class _Pieces(io.RawIOBase):
    """Pieces of a file, read as if they were the whole of one."""

    def __init__(self, stream: io.BufferedIOBase, pieces: list[tuple[int, int]]) -> None:
        self._stream = stream
        self._pieces = pieces
        self._at = 0
        self._size = sum(end - begin for begin, end in pieces)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        start, wanted = 0, len(buffer)
        for begin, end in self._pieces:
            inside = self._at - start
            if inside < end - begin:
                self._stream.seek(begin + inside)
                found = self._stream.read(min(wanted, end - begin - inside))
                buffer[: len(found)] = found
                self._at += len(found)
                return len(found)
            start += end - begin
        return 0
