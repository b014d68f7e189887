"""Images and files for the browser, in memory and under random addresses: nothing is served from disk."""

import hashlib
import io
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import PIL.Image
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from semcorr.imaging.image import png

PREFIX = "/files/"
"""The path below which the browser asks for them."""

_PNG_SIDE = 640
"""Pixels of the longer side up to which images are served as PNG."""


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

    def route(self) -> Route:
        """The route of all files."""
        return Route(f"{PREFIX}{{token}}", self._answer)

    async def _answer(self, request: Request) -> Response:
        file = self.get(request.path_params["token"])
        if file is None:
            return Response("This image or file is gone. Reload the page.", 404)
        headers = {"cache-control": "private, max-age=3600"}
        if file.filename is not None:
            headers["content-disposition"] = f'attachment; filename="{file.filename}"'
        return Response(file.data, media_type=file.media_type, headers=headers)

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
        self._known: WeakKeyDictionary[object, tuple[str, str]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def add(self, data: bytes, media_type: str, filename: str | None = None) -> str:
        """Serve bytes; return the address, relative to the page."""
        key = _key(data, media_type, filename)
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
        return self.add(png(image), "image/png")

    def address_of(self, shown: object, make: Callable[[], PIL.Image.Image]) -> str:
        """The address of an object's image, which is made and packed only where it is not served yet.

        A large one is packed as JPEG: it is for people, and as PNG takes ten times as long to arrive.
        """
        with self._lock:
            key, address = self._known.get(shown, ("", ""))
            if key in self._tokens:
                self._tokens.move_to_end(key)
                return address
        image = make()
        if max(image.size) > _PNG_SIDE and image.mode == "RGB":
            stream = io.BytesIO()
            image.save(stream, format="JPEG", quality=92, subsampling=0)
            data, media_type = stream.getvalue(), "image/jpeg"
        else:
            data, media_type = png(image), "image/png"
        address = self.add(data, media_type)
        with self._lock:
            self._known[shown] = _key(data, media_type, None), address
        return address

    def clear(self) -> None:
        """Serve none of this session's files any longer."""
        with self._lock:
            for token, _ in self._tokens.values():
                self._files.remove(token)
            self._tokens.clear()


def _key(data: bytes, media_type: str, filename: str | None) -> str:
    return hashlib.sha256(data + media_type.encode() + (filename or "").encode()).hexdigest()
