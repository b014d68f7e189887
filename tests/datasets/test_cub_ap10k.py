"""CUB-200-2011 by its protocols, and AP-10K's three settings."""

import json

import numpy as np
import PIL.Image
import pytest

from semcorr.datasets import ap10k, cub, registry
from semcorr.errors import DatasetError

ALBATROSS = "001.Black_footed_Albatross"


def test_released(cub_copy):
    dataset = registry.load("cub", cub_copy.parent)
    # Two test birds of class 1 make one unordered pair; class 2 has one bird, class 4 is not used.
    (pair,) = dataset.pairs
    assert (dataset.setting, dataset.threshold) == ("released", "reference-cub")
    assert (pair.id, pair.category) == (f"{ALBATROSS}/Bird_0001-Bird_0002", ALBATROSS)
    assert (pair.source.size, pair.target.size) == ((60, 40), (50, 50))
    assert (pair.source.box, pair.target.box) == ((5, 4, 35, 25), (10, 4, 40, 26))
    assert pair.names == tuple(str(part) for part in range(1, 14))  # 14 and 15 are hidden in bird 2
    np.testing.assert_array_equal(pair.source.points[0], [11.5, 6.5])
    np.testing.assert_array_equal(pair.target.points[12], [33.5, 23.5])


def test_names_of_parts_where_they_are_there(cub_copy):
    lines = [f"{number} part {number}" for number in range(1, 16)]
    (cub_copy / "parts" / "parts.txt").write_text("\n".join(lines), encoding="utf-8")
    assert cub.load(cub_copy).pairs[0].names[:2] == ("part 1", "part 2")


def test_asic(cub_copy):
    dataset = registry.load("cub", cub_copy, setting="asic")
    assert [pair.id for pair in dataset.pairs] == [
        f"{ALBATROSS}/Bird_0001-Bird_0002",
        f"{ALBATROSS}/Bird_0002-Bird_0001",
    ]
    assert (dataset.setting, dataset.threshold) == ("asic", "image")
    source = dataset.pairs[0].source
    # Box (5, 4, 35, 25): the longer side 30 grows by 10 % to 33; the square's middle is (20, 14.5), its corner
    # (3.5, -2), taken as (4, -2): ties go to the even number.
    scale = 256 / 33
    np.testing.assert_allclose(source.points[0], (np.array([11.5, 6.5]) - (4, -2)) * scale)
    np.testing.assert_allclose(source.box, np.array([1, 6, 31, 27]) * scale)
    assert source.size == (256, 256)
    with PIL.Image.open(source.path) as crop, PIL.Image.open(cub_copy / f"images/{ALBATROSS}/Bird_0001.jpg") as whole:
        assert crop.size == (256, 256)
        inside = whole.crop((4, 0, 37, 31)).resize((33, 31))
        small = np.asarray(crop.resize((33, 33), PIL.Image.Resampling.BOX)).astype(float)
        np.testing.assert_allclose(small[4:], np.asarray(inside).astype(float)[2:], atol=6)
        # Above the image its first row is repeated.
        np.testing.assert_allclose(small[0], np.asarray(inside).astype(float)[0], atol=6)


def test_crops_are_made_once(cub_copy):
    path = cub.load(cub_copy, setting="asic").pairs[0].source.path
    before = path.stat().st_mtime_ns
    assert cub.load(cub_copy, setting="asic").pairs[0].source.path == path
    assert path.stat().st_mtime_ns == before
    assert not [entry for entry in path.parent.iterdir() if entry.name.startswith(".")]


def test_training_birds(cub_copy):
    with pytest.raises(DatasetError, match="expected pairs of train images of classes 1 to 3"):
        cub.load(cub_copy, "train")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("images.txt", "1 001", "001", r"expected 2 columns in line 1 of '.*images.txt', got 1"),
        ("train_test_split.txt", "2 0\n", "", r"expected a line for every image .* got none for 1, .* image 2"),
        ("bounding_boxes.txt", "5.0 4.0", "x 4.0", "expected the box of image 1 as 4 numbers"),
        ("parts/part_locs.txt", "1 15 25.0 20.0 1\n", "", "expected 15 parts of image 1 in .* got 14"),
        ("parts/part_locs.txt", "1 15 25.0", "1 16 25.0", "expected a part from 1 to 15 in line 15 .* got 16"),
        ("parts/part_locs.txt", "1 15 25.0", "1 15", "expected part, x, y, visible in line 15 as 4 numbers"),
    ],
)
def test_broken_files_are_refused(cub_copy, file, old, new, message):
    path = cub_copy / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        cub.load(cub_copy)


def test_a_missing_file_is_refused(cub_copy):
    (cub_copy / "parts" / "part_locs.txt").unlink()
    with pytest.raises(DatasetError, match=r"expected the file '.*part_locs.txt', which is not there"):
        cub.load(cub_copy)


@pytest.fixture
def animals(tmp_path):
    """AP-10K with three annotated animals and one pair of each setting."""
    root = tmp_path / "ap-10k"
    annotated = {"Felidae/cat/000000000001": 3, "Felidae/lion/000000000002": 5, "Canidae/dog/000000000003": 4}
    for number, (name, points) in enumerate(annotated.items()):
        marks = [v for point in range(17) for v in (10 * number + point, 2 * point, 2 if point < points else 0)]
        record = {"bbox": [1 + number, 2, 30, 40], "width": 100, "height": 80, "keypoints": marks}
        path = root / "ImageAnnotation" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record), encoding="utf-8")
    first, second, third = (f"data/ap-10k/ImageAnnotation/{name}.json" for name in annotated)
    for folder, name, source, target in (
        ("test", "1-1:cat", first, first),
        ("test_cross_species", "1-2:Felidae", first, second),
        ("test_cross_family", "2-3:all", second, third),
    ):
        path = root / "PairAnnotation" / folder / f"{name}.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"src_json_path": source, "trg_json_path": target}), encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("setting", "category", "count"),
    [("intra-species", "cat", 3), ("cross-species", "Felidae", 3), ("cross-family", "all", 4)],
)
def test_ap10k(animals, setting, category, count):
    dataset = registry.load("ap10k", animals.parent, setting=setting)
    (pair,) = dataset.pairs
    assert (dataset.setting, dataset.threshold) == (setting, "target-box")
    assert (pair.category, len(pair.names)) == (category, count)
    assert pair.names[:3] == ("left eye", "right eye", "nose")


def test_ap10k_points_boxes_and_images(animals):
    (pair,) = ap10k.load(animals, setting="cross-family").pairs
    assert pair.source.path == animals / "JPEGImages" / "Felidae" / "lion" / "000000000002.jpg"
    assert (pair.source.box, pair.target.box) == ((2, 2, 32, 42), (3, 2, 33, 42))
    assert pair.source.size == (100, 80)
    np.testing.assert_array_equal(pair.source.points, [[10.5, 0.5], [11.5, 2.5], [12.5, 4.5], [13.5, 6.5]])
    np.testing.assert_array_equal(pair.target.points[:, 0], [20.5, 21.5, 22.5, 23.5])
    assert pair.source.unmatched == {"root of tail": (14.5, 8.5)}
    assert pair.target.unmatched == {}


def test_ap10k_pairs_as_spair_has_them(tmp_path, literal, write_pairs):
    write_pairs(tmp_path / "ap-10k", [literal])
    (pair,) = ap10k.load(tmp_path).pairs
    assert (pair.id, pair.names) == (literal["filename"], ("0", "7", "11"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"src_json_path": "elsewhere/cat.json", "trg_json_path": "x"}, "expected a path below ImageAnnotation"),
        ({"src_json_path": "ImageAnnotation/../../x.json", "trg_json_path": "x"}, "expected a path below"),
        ({"src_json_path": 3}, "expected 'src_json_path' as a text"),
        ({}, "expected 'src_json_path' as a text in .* got nothing"),
    ],
)
def test_ap10k_broken_pairs_are_refused(animals, record, message):
    (animals / "PairAnnotation" / "test" / "1-1:cat.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        ap10k.load(animals)


def test_ap10k_broken_annotations_are_refused(animals):
    path = animals / "ImageAnnotation" / "Felidae" / "cat" / "000000000001.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "keypoints": record["keypoints"][:-1]}), encoding="utf-8")
    with pytest.raises(DatasetError, match="expected 'keypoints' as 51 numbers"):
        ap10k.load(animals)
    with pytest.raises(DatasetError, match=r"expected \.json files of pairs in '.*val', got none"):
        ap10k.load(animals, "val")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("images.txt", "1 001.Black_footed_Albatross/", "1 ../../", "expected the name of a file below"),
        ("images.txt", "1 001.Black_footed_Albatross/", "1 /etc/", "expected the name of a file below"),
        ("bounding_boxes.txt", "5.0 4.0 30.0", "5.0 4.0 1e9", "expected a box in the image"),
        ("bounding_boxes.txt", "5.0 4.0", "1e300 4.0", "expected a box in the image"),
    ],
)
def test_neither_names_nor_boxes_lead_out(cub_copy, file, old, new, message):
    """Crops are written below the benchmark's folder, and a box says how large they are before they are scaled."""
    path = cub_copy / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        cub.load(cub_copy, setting="asic")
