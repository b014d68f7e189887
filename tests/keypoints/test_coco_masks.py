"""Regions of COCO files, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from semcorr.errors import DatasetError
from semcorr.imaging.masks import encode_rle
from semcorr.keypoints.coco.masks import read_label_map, region_entry, write_regions

SIZE = (6, 5)
BLOCK = np.zeros((5, 6), dtype=bool)
BLOCK[2:5, 1:6] = True


def document(**changes: Any) -> dict[str, Any]:
    square = [1, 1, 4, 1, 4, 3, 1, 3]
    return {
        "images": [{"id": 1, "file_name": "set/a.jpg", "width": 6, "height": 5}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 3, "name": "head"}, {"id": 8, "name": "body"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "segmentation": [square]},
            {"id": 2, "image_id": 1, "category_id": 8, "segmentation": encode_rle(BLOCK)},
            {"id": 3, "image_id": 2, "category_id": 3, "segmentation": [square]},
            {"id": 4, "image_id": 1, "category_id": 3},
        ],
    } | changes


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_polygons_and_rle_are_one_label_map_the_smaller_on_top(tmp_path: Path) -> None:
    expected = np.zeros((5, 6), dtype=np.uint8)
    expected[BLOCK] = 8
    expected[1:3, 1:4] = 3
    read = read_label_map(write(tmp_path / "a.json", document()), "/home/me/set/a.jpg", SIZE)
    assert np.array_equal(read.labels, expected)
    assert read.names == {3: "head", 8: "body"}


def test_ids_that_are_no_labels_are_numbered(tmp_path: Path) -> None:
    content = document(categories=[{"id": "h", "name": "head"}, {"id": 1000, "name": "body"}])
    for annotation in content["annotations"]:
        annotation["category_id"] = {3: "h", 8: 1000}[annotation["category_id"]]
    read = read_label_map(write(tmp_path / "a.json", content), "a.jpg", SIZE)
    assert read.names == {1: "head", 2: "body"}


def test_crowds_are_ignored_where_no_object_is(tmp_path: Path) -> None:
    content = document()
    content["annotations"][1]["iscrowd"] = 1
    read = read_label_map(write(tmp_path / "a.json", content), "a.jpg", SIZE)
    expected = np.zeros((5, 6), dtype=np.uint8)
    expected[BLOCK] = 255
    expected[1:3, 1:4] = 3
    assert np.array_equal(read.labels, expected)
    assert (read.names, read.present, read.ignored) == ({3: "head"}, (3,), (255,))
    content["categories"] = [{"id": number, "name": str(number)} for number in range(1, 256)]
    with pytest.raises(DatasetError, match="at most 254 categories beside crowds"):
        read_label_map(write(tmp_path / "a.json", content), "a.jpg", SIZE)


def one(segmentation: object, category: object = 3) -> dict[str, Any]:
    return document(annotations=[{"id": 1, "image_id": 1, "category_id": category, "segmentation": segmentation}])


@pytest.mark.parametrize(
    ("content", "image", "message"),
    [
        (document(), "c.jpg", "an entry of the image 'c.jpg'.*got 'set/a.jpg', 'b.jpg'"),
        (document(images=[{"id": 1, "file_name": "x/a.jpg"}, {"id": 2, "file_name": "y/a.jpg"}]), "a.jpg", "got 2"),
        (document(images=[{"id": 1, "file_name": "a.jpg", "width": 5, "height": 6}]), "a.jpg", "6 x 5 pix.*got 5 x 6"),
        (one([[1, 1, 4, 1, 4, 3]], 5), "a.jpg", "expected every annotation's category.*got category_id 5"),
        (one([[1, 1, 4, 1]]), "a.jpg", "3 corners or more"),
        (one([[1, 1, 4, 1, 4, "a"]]), "a.jpg", "as 6 numbers"),
        (one([[1, 1, 4, 1, 4, 1e300]]), "a.jpg", r"x, y in pixels in .* got 1e\+300"),
        (one("all"), "a.jpg", "as polygons or RLE"),
        (one({"size": [6, 5], "counts": [30]}), "a.jpg", r"of size \[5, 6\], height and width"),
        (one({"size": [5, 6], "counts": [20]}), "a.jpg", "as RLE.*the 5 x 6 pixels of its size"),
    ],
)  # fmt: skip
def test_what_is_no_mask_of_the_image_is_refused(
    content: dict[str, Any], image: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=f"COCO masks: .*{message}"):
        read_label_map(write(tmp_path / "a.json", content), image, SIZE)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools itself
def test_pycocotools_reads_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = region_entry(8, BLOCK, 0.123456)
    assert (entry["bbox"], entry["area"], entry["score"]) == ([1, 2, 5, 3], 15, 0.1235)
    path = write_regions(tmp_path / "a.json", lambda: [("a.jpg", SIZE, [entry])], {3: "head", 8: "body"})
    coco = COCO(str(path))
    (annotation,) = coco.loadAnns(coco.getAnnIds(catIds=[8]))
    assert np.array_equal(coco.annToMask(annotation) > 0, BLOCK)
    assert np.array_equal(read_label_map(path, "a.jpg", SIZE).labels == 8, BLOCK)
