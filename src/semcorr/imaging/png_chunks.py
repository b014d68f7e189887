"""Skip the chunks of a PNG file that are not needed to show it: text, colour profiles and others, perhaps too large.

Image generators write their settings and whole workflows into text chunks. Pillow limits the size that such a chunk may
unpack to, so that a small file cannot fill the memory, and refuses the image with the chunk. Here the limit stays and
only the chunk is skipped.
"""

import io
import zlib

from PIL import PngImagePlugin

MAGIC = b"\x89PNG\r\n\x1a\n"

# Ancillary chunks that change the image: transparency and the frames of an animation.
_VISIBLE = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_EXIF = b"eXIf"


def without_odd_chunks(stream: io.BufferedIOBase) -> io.BufferedIOBase:
    """Return a PNG file without the chunks that are not needed or that Pillow would refuse.

    Text that Pillow accepts is kept, since it may hold the orientation. Nothing is unpacked beyond Pillow's own limits
    (``MAX_TEXT_CHUNK`` for one text, ``MAX_TEXT_MEMORY`` for all); no chunk above the latter is read at all. The stream
    of another kind of file, or of one without such chunks, is returned itself, at its beginning.
    """
    stream.seek(0)
    kept = _kept_pieces(stream) if stream.read(len(MAGIC)) == MAGIC else []
    stream.seek(0)
    return io.BufferedReader(_Pieces(stream, kept)) if kept else stream


def _kept_pieces(stream: io.BufferedIOBase) -> list[tuple[int, int]]:
    """Return the (begin, end) of the pieces of a PNG file that are kept, after its magic number was read."""
    texts = _TextLimit()
    kept, begin, at = [], 0, len(MAGIC)
    while True:
        head = stream.read(8)
        length, kind = int.from_bytes(head[:4]), head[4:]
        if len(head) < 8 or not kind.isalpha() or kind == b"IEND":
            break
        end = at + 12 + length
        if not _is_kept(stream, kind, length, texts):
            kept.append((begin, at))
            begin = end
        at = end
        stream.seek(at)
    # The decoder deals with the bytes after a broken chunk, or after the last one.
    end = stream.seek(0, io.SEEK_END)
    return [(first, last) for first, last in [*kept, (begin, end)] if last > first] if kept else []


def _is_kept(stream: io.BufferedIOBase, kind: bytes, length: int, texts: "_TextLimit") -> bool:
    if kind[:1].isupper() or kind in _VISIBLE:
        return True
    if kind not in (*_TEXT, _EXIF) or length > PngImagePlugin.MAX_TEXT_MEMORY:
        return False
    body, check = stream.read(length), stream.read(4)
    if len(body) < length or int.from_bytes(check) != zlib.crc32(kind + body):
        return False
    return kind == _EXIF or texts.accepts(kind, body)


class _TextLimit:
    """Applies the limits of Pillow's own reader to text chunks."""

    def __init__(self) -> None:
        self._reader = PngImagePlugin.PngStream(io.BytesIO())

    def accepts(self, kind: bytes, body: bytes) -> bool:
        """Whether the reader accepts a chunk after all those that it accepted before."""
        if self._reader.text_memory + len(body) > PngImagePlugin.MAX_TEXT_MEMORY:
            return False
        self._reader.fp = io.BytesIO(body)
        before = self._reader.text_memory
        try:
            self._reader.call(kind, 0, len(body))
        except Exception:  # The same error would occur in the file.
            # Unpacking a refused chunk counts too, so that thousands of such chunks cost no more than a few.
            self._reader.text_memory = before + PngImagePlugin.MAX_TEXT_CHUNK
            return False
        finally:
            self._reader.im_info.clear()
            self._reader.im_text.clear()
        return True


class _Pieces(io.RawIOBase):
    """Reads some pieces of a file as if they were the whole file."""

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
        start = 0
        for begin, end in self._pieces:
            inside = self._at - start
            if inside < end - begin:
                self._stream.seek(begin + inside)
                data = self._stream.read(min(len(buffer), end - begin - inside))
                buffer[: len(data)] = data
                self._at += len(data)
                return len(data)
            start += end - begin
        return 0
