"""Asking a Label Studio server: a project's annotated tasks, and images that are not on this machine."""

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from semcorr.errors import ServerError, SettingsError

_SECONDS = 60
_MOST_BYTES = 1_000_000_000
_ACCESS_SECONDS = 240
"""Label Studio's access tokens hold for five minutes."""


class LabelStudioServer:
    """A server, as a person with a personal access token sees it.

    Args:
        address: Where it is, such as http://localhost:8080.
        key: The token, or a legacy one; it goes to this address and nowhere else.

    Raises:
        SettingsError: It is not the address of a server.
    """

    def __init__(self, address: str, key: str) -> None:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise SettingsError(f"Expected an address such as http://localhost:8080, got {address!r}.")
        self._address, self._key = address.rstrip("/"), key
        self._access, self._until = "", 0.0
        self._lock = threading.Lock()

    def export(self, project: int) -> bytes:
        """The annotated tasks of a project, as its JSON export.

        Raises:
            ServerError: The server cannot be reached, or refuses.
        """
        return self._get(f"/api/projects/{project}/export?exportType=JSON")

    def file(self, address: str) -> bytes:
        """A file that the server keeps, by a path on it, such as /data/upload/1/photo.jpg.

        Raises:
            ServerError: The server cannot be reached, or refuses.
        """
        return self._get(urllib.parse.quote(address, safe="/?&=%+"))

    def _get(self, path: str) -> bytes:
        return self._ask(urllib.request.Request(self._address + path), authorization=self._authorization())  # noqa: S310

    def _authorization(self) -> str:
        if self._key.count(".") != 2:
            return f"Token {self._key}"
        with self._lock:
            if time.monotonic() > self._until:
                body = json.dumps({"refresh": self._key}).encode()
                headers = {"content-type": "application/json"}
                request = urllib.request.Request(f"{self._address}/api/token/refresh", data=body, headers=headers)  # noqa: S310
                answer = self._ask(request)
                try:
                    self._access = str(json.loads(answer)["access"])
                except (ValueError, KeyError, TypeError) as error:
                    raise ServerError(f"Expected Label Studio at {self._address}, got another server.") from error
                self._until = time.monotonic() + _ACCESS_SECONDS
            return f"Bearer {self._access}"

    def _ask(self, request: urllib.request.Request, authorization: str = "") -> bytes:
        if authorization:
            # Not sent on where the server redirects to a bucket.
            request.add_unredirected_header("Authorization", authorization)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310  # the scheme is checked above
                content: bytes = answer.read(_MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read(300).decode(errors="replace")
            raise ServerError(
                f"{request.full_url} refuses ({error.code}): {reason} LABEL_STUDIO_API_KEY must be a personal access "
                "token (Account & Settings, Personal Access Token) of a person who may see the project."
            ) from error
        except (OSError, ValueError) as error:
            raise ServerError(f"{request.full_url} cannot be reached: {error}.") from error
        if len(content) > _MOST_BYTES:
            raise ServerError(f"{request.full_url} is larger than {_MOST_BYTES} bytes.")
        return content
