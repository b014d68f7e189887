"""Images and files for the browser, in memory and under random addresses: nothing is served from disk."""

import hashlib
import io
import re
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

import PIL.Image

PREFIX = "/semcorr/"
"""The path below which the browser asks for them."""


@dataclass(frozen=True, kw_only=True)
class ServedFile:
    """A file in memory. With a ``filename`` the browser saves it instead of showing it."""

    data: bytes
    media_type: str
    filename: str | None = None


class ServedFiles:
    """The files of all sessions, by token."""

    def __init__(self) -> None:
        self._files: dict[str, ServedFile] = {}
        self._lock = threading.Lock()

    def get(self, token: str) -> ServedFile | None:
        """The file of a token."""
        with self._lock:
            return self._files.get(token)

    def add(self, file: ServedFile) -> str:
        """Serve a file from now on; return its token, of 144 random bits."""
        token = secrets.token_urlsafe(18)
        with self._lock:
            self._files[token] = file
        return token

    def remove(self, token: str) -> None:
        """Serve a file no longer."""
        with self._lock:
            self._files.pop(token, None)

    def __len__(self) -> int:
        return len(self._files)


class SessionFiles:
    """One session's files: the same content has the same address, and the oldest are removed beyond the limit.

    Args:
        files: The files of all sessions.
        limit_bytes: Bytes that one session may have.
    """

    def __init__(self, files: ServedFiles, limit_bytes: int = 160_000_000) -> None:
        self._files, self._limit = files, limit_bytes
        self._tokens: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, data: bytes, media_type: str, filename: str | None = None) -> str:
        """Serve bytes; return the address, relative to the page."""
        key = hashlib.sha256(data + media_type.encode() + (filename or "").encode()).hexdigest()
        with self._lock:
            if key not in self._tokens:
                # A header takes plain letters only; the page's own link has the whole name.
                saved = None if filename is None else re.sub(r"[^A-Za-z0-9._-]", "_", filename)
                file = ServedFile(data=data, media_type=media_type, filename=saved)
                self._tokens[key] = self._files.add(file), len(data)
            self._tokens.move_to_end(key)
            while len(self._tokens) > 1 and sum(size for _, size in self._tokens.values()) > self._limit:
                _, (token, _) = self._tokens.popitem(last=False)
                self._files.remove(token)
            return PREFIX.lstrip("/") + self._tokens[key][0]

    @property
    def bytes(self) -> int:
        """Bytes of this session's files."""
        with self._lock:
            return sum(size for _, size in self._tokens.values())

    def add_image(self, image: PIL.Image.Image) -> str:
        """Serve an image as PNG, without loss; return the address."""
        stream = io.BytesIO()
        image.save(stream, format="PNG", compress_level=1)
        return self.add(stream.getvalue(), "image/png")

    def clear(self) -> None:
        """Serve none of this session's files any longer."""
        with self._lock:
            for token, _ in self._tokens.values():
                self._files.remove(token)
            self._tokens.clear()
