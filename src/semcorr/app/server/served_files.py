"""Pictures and files for the browser, in memory and under names that nobody guesses: nothing is served from disk."""

import hashlib
import io
import re
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

import PIL.Image

PREFIX = "/semcorr/"
"""Where the browser asks for them."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something to serve. With a ``filename`` the browser saves it instead of showing it."""

    data: bytes
    media_type: str
    filename: str | None = None


class ServedFiles:
    """What all sessions have put up, by token."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._lock = threading.Lock()

    def get(self, token: str) -> Item | None:
        """What was put up under a token."""
        with self._lock:
            return self._items.get(token)

    def put(self, item: Item) -> str:
        """Put something up; return its token."""
        token = secrets.token_urlsafe(18)
        with self._lock:
            self._items[token] = item
        return token

    def drop(self, token: str) -> None:
        """Take something down."""
        with self._lock:
            self._items.pop(token, None)

    def __len__(self) -> int:
        return len(self._items)


class SessionFiles:
    """One session's part of the files: the same content has the same address, and the oldest goes when it is too much.

    Args:
        files: everybody's.
        limit_bytes: what one session may have up.
    """

    def __init__(self, files: ServedFiles, limit_bytes: int = 160_000_000) -> None:
        self._files, self._limit = files, limit_bytes
        self._tokens: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, data: bytes, media_type: str, filename: str | None = None) -> str:
        """Put bytes up; return the address, relative to the page."""
        key = hashlib.sha256(data + media_type.encode() + (filename or "").encode()).hexdigest()
        with self._lock:
            if key not in self._tokens:
                # Plain letters in the answer's header; the page's own link has the whole name.
                saved = None if filename is None else re.sub(r"[^A-Za-z0-9._-]", "_", filename)
                item = Item(data=data, media_type=media_type, filename=saved)
                self._tokens[key] = self._files.put(item), len(data)
            self._tokens.move_to_end(key)
            while len(self._tokens) > 1 and sum(size for _, size in self._tokens.values()) > self._limit:
                _, (token, _) = self._tokens.popitem(last=False)
                self._files.drop(token)
            return PREFIX.lstrip("/") + self._tokens[key][0]

    @property
    def bytes(self) -> int:
        """What this session has up."""
        with self._lock:
            return sum(size for _, size in self._tokens.values())

    def picture(self, picture: PIL.Image.Image) -> str:
        """Put a picture up as PNG, without loss."""
        stream = io.BytesIO()
        picture.save(stream, format="PNG", compress_level=1)
        return self.put(stream.getvalue(), "image/png")

    def clear(self) -> None:
        """Take everything of this session down."""
        with self._lock:
            for token, _ in self._tokens.values():
                self._files.drop(token)
            self._tokens.clear()
