"""Files of predictions for tests of the review, and a client of its server."""

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from deadline import DEADLINE
from semcorr.toy.coco import write_coco as write_coco_of_drawings

NAMES = ("ear", "tail", "paw")
SIZE = (80, 60)
ANNOTATED = {
    "id": 1,
    "image_id": 1,
    "category_id": 7,
    "keypoints": [10, 12, 2, 60, 40, 2, 30, 50, 1],
    "num_keypoints": 3,
    "bbox": [9, 11, 55, 42],
    "iscrowd": 0,
    "attributes": {"mine": True},
}


def predicted(number: int, sure: tuple[float, float, float], **changes: Any) -> dict[str, Any]:
    """An object as a transfer writes it: ear and tail are marked from a confidence of 0.5 on; there is no paw if 0."""
    points = [(20.0, 15.0), (50.0, 30.0), (40.0, 45.0)]
    marks = [
        value for (x, y), one in zip(points, sure, strict=True) for value in ((x, y, 2) if one >= 0.5 else (0,) * 3)
    ]
    listed = [
        value for (x, y), one in zip(points, sure, strict=True) for value in ((x, y, one) if one else (None, None, 0.0))
    ]
    known = [one for one in sure if one]
    marked = [point for point, one in zip(points, sure, strict=True) if one >= 0.5]
    corners = np.array(marked or points) + 0.5
    low, high = corners.min(axis=0), corners.max(axis=0)
    return {
        "id": number,
        "image_id": number,
        "category_id": 7,
        "keypoints": marks,
        "num_keypoints": len(marked),
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float(np.prod(high - low)),
        "iscrowd": 0,
        "score": round(sum(known) / len(known), 4),
        "keypoints_found": listed,
        "semcorr": {"predicted": True},
        **changes,
    }


def write_coco(folder: Path, images: int = 6, *, drawn: bool = True) -> Path:
    """One annotated image and further ones with an object each, the later the more confident; images 80 x 60.

    The object with the id 3 has a box that a person drew, if ``drawn``; that with the id 4 has no paw.
    """
    (folder / "images").mkdir(parents=True)
    for number in range(1, images + 1):
        pixels = np.full((SIZE[1], SIZE[0], 3), 30 * (number % 8), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    steps = np.linspace(0.2, 0.9, images - 1).round(2).tolist()
    objects = [predicted(number, (sure, sure, 0.0 if number == 4 else 0.3)) for number, sure in enumerate(steps, 2)]
    for one in objects[:1]:
        one["semcorr"] |= {"votes": [[0.75], [0.5], [None]]}
    if drawn and images > 2:
        objects[1] |= {"bbox": [5, 5, 70, 50], "area": 3500}
    document = {
        "info": {"year": 2026},
        "semcorr": {"method": "hypercolumn", "sources": {"cat": [{"image": "1.png", "annotation": 1}]}},
        "images": [
            {"id": number, "file_name": f"{number}.png", "width": SIZE[0], "height": SIZE[1]}
            for number in range(1, images + 1)
        ],
        "annotations": [ANNOTATED, *objects],
        "categories": [
            {"id": 7, "name": "cat", "keypoints": list(NAMES), "skeleton": [[1, 2]]},
            {"id": 8, "name": "dog", "keypoints": ["ear", "nose"], "skeleton": []},
        ],
    }
    path = folder / "found.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


EARS, NOSE, REVERSED, OUTSIDE, TWICE, AGAIN = 3, 11, 20, 7, 23, 900
"""Of the faulty faces: the numbers of those of which the ears are exchanged, the nose is moved, all points are in
reverse order and an eye is outside, of that which is there twice, and the id that it has the second time."""


def write_faulty_faces(folder: Path, side: int = 160) -> Path:
    """Annotated drawings of faces of which some have faults, and in ``right.json`` without these."""
    world = write_coco_of_drawings(folder / "world", categories=("face",), support=1, targets=24, size=side)
    world.annotations.unlink()
    content = json.loads(world.truth.read_text(encoding="utf-8"))
    world.truth.rename(world.truth.with_name("right.json"))
    names, objects = content["categories"][0]["keypoints"], content["annotations"]

    def put(number: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
        rows = np.array(objects[number]["keypoints"], dtype=float).reshape(-1, 3)
        objects[number]["keypoints"] = change(rows).ravel().tolist()

    def moved(name: str, *by: float) -> Callable[[np.ndarray], np.ndarray]:
        def change(rows: np.ndarray) -> np.ndarray:
            rows[names.index(name), :2] += by
            return rows

        return change

    left, right = names.index("left ear"), names.index("right ear")
    order = list(range(len(names)))
    order[left], order[right] = right, left
    put(EARS, lambda rows: rows[order])
    put(NOSE, moved("nose", side / 4, -side / 6))
    put(REVERSED, lambda rows: rows[::-1])
    put(OUTSIDE, moved("left eye", side, 0))
    objects.append({**objects[TWICE], "id": AGAIN})
    path = world.truth.with_name("annotations.json")
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


class Client:
    """A browser without a window: it has the key as a cookie."""

    def __init__(self, host: str, key: str) -> None:
        self.host = host
        self.headers = {"cookie": f"semcorr-{host.rpartition(':')[2]}={key}"}

    def ask(
        self, path: str, body: Any = None, *, method: str = "", **headers: str
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """Status, content (of JSON: what it holds) and headers of the answer."""
        connection = http.client.HTTPConnection(self.host, timeout=DEADLINE)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
            connection.request(method or ("GET" if data is None else "POST"), path, data, sent)
            answer = connection.getresponse()
            content = answer.read()
            if answer.headers.get("content-type") == "application/json":
                content = json.loads(content)
            return answer.status, content, answer.headers
        finally:
            connection.close()

    def object(self, number: int) -> dict[str, Any]:
        """An object as the server has it."""
        return self.ask(f"/api/objects?numbers={number}")[1]["objects"][0]

    def change(self, number: int, base: int, **changes: Any) -> tuple[int, Any]:
        """Change an object's state."""
        state = {**self.object(number)["state"], **changes}
        status, answer, _ = self.ask("/api/objects", [{"number": number, "base": base, "state": state}])
        return status, answer
