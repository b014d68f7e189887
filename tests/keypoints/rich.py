"""Annotations with one of everything that formats may keep or lose."""

import itertools
import json
from pathlib import Path

import numpy as np
import PIL.Image

NAMES = ("right ear", "left ear", "tail")
SIZES = {"a.png": (100, 80), "day1/b.png": (60, 50), "c.png": (64, 64), "d.png": (64, 48), "e.png": (70, 70)}


def write_rich(folder: Path) -> Path:
    """Write a COCO file and the images that it names, in the folder images beside it.

    One image shows an object with a covered point and a box, and one without a box; one a predicted object, with a
    point of low confidence that is not marked; one a box alone; one nothing; one an object whose
    prediction a person has corrected.
    """
    for number, (name, size) in enumerate(SIZES.items()):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.full((size[1], size[0], 3), 40 * number, dtype=np.uint8)).save(path)
    objects = [
        {"image_id": 1, "bbox": [10, 5, 60, 50], "keypoints": [19.5, 9.5, 2, 49.5, 12.5, 2, 60.25, 50.75, 1]},
        {"image_id": 1, "keypoints": [79.5, 59.5, 2, 0, 0, 0, 89.5, 69.5, 2]},
        {
            "image_id": 2,
            "keypoints": [9.5, 9.5, 2, 29.5, 19.5, 2, 0, 0, 0],
            "bbox": [10, 10, 20, 10],
            "score": 0.6,
            "keypoints_found": [9.5, 9.5, 0.9, 29.5, 19.5, 0.7, 40, 41, 0.2],
            "semcorr": {"predicted": True},
        },
        {"image_id": 3, "bbox": [8, 8, 40, 32]},
        {
            "image_id": 5,
            "keypoints": [11.5, 12.5, 2, 31.5, 22.5, 2, 0, 0, 0],
            "score": 0.7,
            "keypoints_found": [11.5, 12.5, 0.9, 33.5, 22.5, 0.5, None, None, 0],
            "semcorr": {"predicted": True, "accepted": True, "points": ["accepted", "placed", None]},
        },
    ]
    content = {
        "images": [
            {"id": number, "file_name": name, "width": size[0], "height": size[1]}
            for number, (name, size) in enumerate(SIZES.items(), start=1)
        ],
        "annotations": [{"id": number, "category_id": 7, **one} for number, one in enumerate(objects, start=1)],
        "categories": [{"id": 7, "name": "cat", "keypoints": list(NAMES), "skeleton": [[1, 3], [2, 3]]}],
    }
    path = folder / "rich.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def kept_by_the_table() -> dict[str, dict[str, str]]:
    """The documentation's table: of all that is counted, whether each format keeps it ("yes", "–", or partly)."""
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    first = next(number for number, row in enumerate(rows) if row[1:2] == ["`coco`"])
    names = [cell.strip("`") for cell in rows[first][1:]]
    listed = itertools.takewhile(lambda row: len(row) == len(names) + 1, rows[first + 2 :])
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in listed}
