"""What CVAT's own client and command ask of a server, answered over HTTP for one task of images in memory.

CVAT itself is a dozen containers; its command, its client, and all checks that it makes of a function are real here.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import PIL.Image

from server_threads import answering

WHEN = "2026-01-01T00:00:00Z"


@dataclass
class CvatTask:
    """A task with images, and what was uploaded for it.

    Attributes:
        images: By the name of the frame.
        labels: Each skeleton's points, by its name.
        requests: What an agent is to do, in order.
        uploads: The bodies of what changes something, with the method and the path.
    """

    images: Mapping[str, PIL.Image.Image]
    labels: Mapping[str, Sequence[str]]
    requests: list[dict[str, Any]] = field(default_factory=list)
    uploads: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def shapes(self) -> list[dict[str, Any]]:
        """The shapes that were uploaded last."""
        shapes: list[dict[str, Any]] = self.uploads[-1][1]["shapes"]
        return shapes

    def _labels(self) -> dict[str, Any]:
        listed = []
        for number, (name, points) in enumerate(self.labels.items(), start=1):
            sublabels = [
                {"id": 1000 * number + row, "name": point, "type": "points", "color": "#000000", "attributes": []}
                for row, point in enumerate(points)
            ]
            common = {"type": "skeleton", "color": "#000000", "attributes": [], "task_id": 1}
            listed.append({"id": 100 + number, "name": name, "sublabels": sublabels, **common})
        return {"count": len(listed), "next": None, "previous": None, "results": listed}

    def _task(self) -> dict[str, Any]:
        common = {"data_compressed_chunk_type": "imageset", "data_original_chunk_type": "imageset"}
        return {
            "id": 1,
            "name": "task",
            "mode": "annotation",
            "size": len(self.images),
            "data_chunk_size": 72,
            "created_date": WHEN,
            "updated_date": WHEN,
            "url": "http://none",
            "dimension": "2d",
            **common,
            "organization": None,
            "jobs": {"count": 1, "completed": 0, "validation": 0, "url": "http://none"},
            "labels": {"url": "http://none"},
        }

    def _meta(self) -> dict[str, Any]:
        frames = [
            {
                "name": name,
                "width": image.width,
                "height": image.height,
                "related_files": 0,
                "has_related_context": False,
            }
            for name, image in self.images.items()
        ]
        common = {"image_quality": 70, "start_frame": 0, "stop_frame": len(frames) - 1, "frame_filter": ""}
        return {
            "size": len(frames),
            "chunk_size": 72,
            "frames": frames,
            "deleted_frames": [],
            "chunks_updated_date": WHEN,
            **common,
        }

    def _chunk(self) -> bytes:
        stored = io.BytesIO()
        with zipfile.ZipFile(stored, "w") as archive:
            for number, image in enumerate(self.images.values()):
                part = io.BytesIO()
                image.save(part, "PNG")
                archive.writestr(f"{number:06}.png", part.getvalue())
        return stored.getvalue()

    def answer(self, method: str, path: str, body: Any) -> Any:
        """The answer to a request, or None where there is none."""
        if method != "GET":
            self.uploads.append((f"{method} {path}", body))
        labels_v2 = [
            {"name": name, "type": "skeleton", "attributes": [], "sublabels": [_sublabel(point) for point in points]}
            for name, points in self.labels.items()
        ]
        answers: dict[str, Any] = {
            "GET /api/server/about": {
                "name": "CVAT",
                "description": "",
                "version": "2.80.0",
                "logo_url": "http://none",
                "subtitle": "",
            },
            "GET /api/users/self": {"id": 1, "username": "me", "url": "http://none"},
            "GET /api/tasks/1": self._task(),
            "GET /api/labels": self._labels(),
            "GET /api/tasks/1/data/meta": self._meta(),
            "GET /api/tasks/1/data": self._chunk(),
            "PATCH /api/tasks/1/annotations": {"version": 1, "tags": [], "shapes": [], "tracks": []},
            "POST /api/functions": {"id": 7, "name": "points"},
            "GET /api/functions/7": {"id": 7, "provider": "native", "kind": "detector", "labels_v2": labels_v2},
        }
        if path.endswith("/requests/acquire"):
            return {"ar_assignment": self.requests.pop(0) if self.requests else None}
        return {} if path.startswith("/api/functions/queues/") else answers.get(f"{method} {path.rstrip('/')}")


def _sublabel(name: str) -> dict[str, Any]:
    return {"name": name, "type": "points", "attributes": []}


@contextmanager
def serving(task: CvatTask) -> Iterator[str]:
    """Serve a task; the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            result = task.answer(self.command, urlsplit(self.path).path, json.loads(body) if body else None)
            content = result if isinstance(result, bytes) else json.dumps(result).encode()
            self.send_response(200 if result is not None else 404)
            self.send_header("content-type", "application/zip" if isinstance(result, bytes) else "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with answering(Handler) as address:
        yield address
