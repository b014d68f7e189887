"""SPair-71k's layout."""

import json

import numpy as np
import pytest

from semcorr.datasets import registry, spair
from semcorr.errors import DatasetError
from semcorr.toy.spair_layout import keypoint_names, write_spair


def test_the_published_pair(spair_copy):
    dataset = spair.load(spair_copy)
    assert (dataset.name, dataset.split, dataset.threshold, dataset.setting) == ("spair", "test", "target-box", "")
    (pair,) = dataset.pairs
    assert (pair.id, pair.category) == ("000001-2008_002719-2008_004100:aeroplane", "aeroplane")
    assert pair.names == ("0", "7", "11")
    assert pair.flags == {"viewpoint": 0, "scale": 0, "truncation": 2, "occlusion": 2, "mirror": 0}
    assert pair.source.path == spair_copy / "JPEGImages" / "aeroplane" / "2008_002719.jpg"
    assert (pair.source.size, pair.target.size) == ((500, 333), (500, 332))
    # Boxes are the raw numbers; points are the middles of the pixels that the annotation counts.
    assert (pair.source.box, pair.target.box) == ((210, 34, 475, 250), (36, 92, 500, 200))
    np.testing.assert_array_equal(pair.source.points, [[212.5, 153.5], [300.5, 130.5], [330.5, 127.5]])
    np.testing.assert_array_equal(pair.target.points, [[39.5, 145.5], [364.5, 171.5], [416.5, 173.5]])


def test_the_folder_above_does_too(spair_copy):
    assert spair.load(spair_copy.parent).root == spair_copy


def test_no_image_is_needed(spair_copy):
    for path in spair_copy.glob("JPEGImages/*/*"):
        path.unlink()
    assert len(spair.load(spair_copy).pairs) == 1


def test_swapping_sides_swaps_everything(spair_copy, literal, write_pairs):
    swapped = {key.replace("src_", "?").replace("trg_", "src_").replace("?", "trg_"): v for key, v in literal.items()}
    swapped["filename"] = "000002-2008_004100-2008_002719:aeroplane"
    write_pairs(spair_copy, [literal, swapped])
    there, back = spair.load(spair_copy).pairs
    for one, other in ((there.source, back.target), (there.target, back.source)):
        assert (one.path, one.size, one.box) == (other.path, other.size, other.box)
        np.testing.assert_array_equal(one.points, other.points)
    # 464 x 108 and 265 x 216: what the threshold is a part of differs.
    sides = [max(np.subtract(pair.target.box[2:], pair.target.box[:2])) for pair in (there, back)]
    assert sides == [464, 265]


def test_pairs_without_common_points_stay(spair_copy, literal, write_pairs):
    write_pairs(spair_copy, [{**literal, "src_kps": [], "trg_kps": [], "kps_ids": []}])
    (pair,) = spair.load(spair_copy).pairs
    assert pair.names == ()
    assert pair.source.points.shape == pair.target.points.shape == (0, 2)


def test_a_point_on_the_last_row_is_inside(spair_copy, literal, write_pairs):
    # Annotations that count from 1 reach 500 in an image of 500 columns; far outside stays far outside.
    write_pairs(spair_copy, [{**literal, "trg_kps": [[500, 332], [0, 0], [700, 10]]}])
    points = spair.load(spair_copy).pairs[0].target.points
    np.testing.assert_array_equal(points, [[500, 332], [0.5, 0.5], [700.5, 10.5]])


@pytest.mark.slow
def test_the_toy_world_under_official_names(tmp_path):
    counts = write_spair(tmp_path / "SPair-71k", images=3, size=64)
    for split in ("trn", "val", "test"):
        dataset = registry.load("spair", tmp_path, split=split)
        assert len(dataset.pairs) == counts[split]
        assert all(pair.source.path.is_file() and pair.target.path.is_file() for pair in dataset.pairs)
    dataset = registry.load("spair", tmp_path)
    folder = tmp_path / "SPair-71k" / "PairAnnotation" / "test"
    for pair in dataset.pairs:
        record = json.loads((folder / f"{pair.id}.json").read_text(encoding="utf-8"))
        np.testing.assert_array_equal(pair.target.points, np.array(record["trg_kps"]) + 0.5)
        names = keypoint_names(pair.category)
        assert all(int(name) < len(names) for name in pair.names)
        assert pair.flags["truncation"] == record["truncation"]
        assert pair.flags["viewpoint"] == record["viewpoint_variation"]
    birds = registry.load("spair", tmp_path, categories=["bird"])
    assert {pair.category for pair in birds.pairs} == {"bird"}
    assert len(birds.pairs) == sum(pair.category == "bird" for pair in dataset.pairs)


def write_annotation(root, image, kps):
    path = root / "ImageAnnotation" / "aeroplane" / f"{image}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"filename": f"{image}.jpg", "kps": kps}), encoding="utf-8")


def test_points_that_one_image_shows_alone(spair_copy, save_image):
    assert spair.load(spair_copy).pairs[0].target.unmatched == {}
    write_annotation(spair_copy, "2008_002719", {"0": [212, 153], "1": None, "7": [300, 130], "11": [330, 127]})
    write_annotation(spair_copy, "2008_004100", {"0": [39, 145], "1": [9, 500], "7": None, "8": [4, 6]})
    (pair,) = spair.load(spair_copy).pairs
    assert pair.source.unmatched == {}
    assert pair.target.unmatched == {"1": (9.5, 500.5), "8": (4.5, 6.5)}
    save_image(pair.target.path, (1000, 664))
    (rescaled,) = registry.load("spair", spair_copy, rescale=True).pairs
    assert rescaled.target.unmatched == {"1": (19.0, 1001.0), "8": (9.0, 13.0)}
    write_annotation(spair_copy, "2008_004100", {"0": [1, 2, 3]})
    with pytest.raises(DatasetError, match=r"expected kps as a list of x, y"):
        spair.load(spair_copy)


@pytest.fixture
def spair_u(spair_copy, literal):
    """SPair-U beside SPair-71k: two annotations of the same pair of images, no list and no images."""
    folder = spair_copy.parent / "SPair-U" / "PairAnnotation" / "test"
    folder.mkdir(parents=True)
    for number in (2, 1):
        record = {**literal, "src_kps": [[number, 2]], "trg_kps": [[3, 4]], "kps_ids": ["1"]}
        (folder / f"{number}:aeroplane.json").write_text(json.dumps(record), encoding="utf-8")
    return spair_copy.parent / "SPair-U"


def test_spair_u_is_annotations_beside_spair_71k(spair_u, spair_copy):
    for named in (spair_u, spair_u.parent):
        dataset = registry.load("spair-u", named)
        assert (dataset.name, dataset.root) == ("spair-u", spair_copy)
        assert [pair.id for pair in dataset.pairs] == ["1:aeroplane", "2:aeroplane"]
        np.testing.assert_array_equal(dataset.pairs[1].source.points, [[2.5, 2.5]])
        assert all(side.path.is_file() for pair in dataset.pairs for side in (pair.source, pair.target))


def test_images_and_a_list_of_spair_u_itself_come_first(spair_u, save_image):
    save_image(spair_u / "JPEGImages" / "aeroplane" / "2008_002719.jpg", (500, 333))
    layout = spair_u / "Layout" / "large"
    layout.mkdir(parents=True)
    (layout / "test.txt").write_text("2:aeroplane\n", encoding="utf-8")
    dataset = registry.load("spair-u", spair_u)
    assert (dataset.root, [pair.id for pair in dataset.pairs]) == (spair_u, ["2:aeroplane"])


def test_the_error_describes_the_folder_of_spair_u(spair_u, tmp_path):
    with pytest.raises(DatasetError, match=r"expected the folder PairAnnotation .* folder SPair-71k beside it"):
        registry.load("spair-u", tmp_path / "nowhere")
    for path in (spair_u / "PairAnnotation" / "test").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"expected pairs in 'PairAnnotation/test', got none"):
        registry.load("spair-u", spair_u)
    with pytest.raises(DatasetError, match=r"SPair-U has no split 'val'"):
        registry.load("spair-u", spair_u, split="val")


def test_another_folder_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(
        DatasetError, match=r"SPair-71k: expected the folder Layout/large in .*are photos.*data download"
    ):
        spair.load(tmp_path)
    with pytest.raises(DatasetError, match=r"there is no such folder"):
        spair.load(tmp_path / "nowhere")
    (tmp_path / "photos").rmdir()
    with pytest.raises(DatasetError, match=r"in it is nothing"):
        spair.load(tmp_path)


def test_a_missing_annotation_is_refused(spair_copy):
    path = next((spair_copy / "PairAnnotation" / "test").iterdir())
    path.unlink()
    with pytest.raises(DatasetError, match=r"expected the file '.*2008_004100:aeroplane.json', which is not there"):
        spair.load(spair_copy)
    with pytest.raises(DatasetError, match=r"expected the file '.*val.txt', which is not there"):
        spair.load(spair_copy, "val")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"src_kps": [[1, 2]]}, r"as many src_kps and trg_kps as kps_ids .* got 1, 3 and 3"),
        ({"src_kps": [[1, 2, 3]] * 3}, r"expected src_kps as a list of x, y"),
        ({"src_kps": "none"}, r"expected 'src_kps' as a list .* got 'none'"),
        ({"trg_bndbox": [1, 2, 3]}, r"expected trg_bndbox as 4 numbers .* got \[1, 2, 3\]"),
        ({"trg_bndbox": [1, 2, 3, "x"]}, r"expected trg_bndbox as 4 numbers"),
        ({"trg_imsize": []}, r"expected trg_imsize as 2 numbers"),
        ({"category": None}, r"expected 'category' as a text .* got None"),
    ],
)
def test_a_broken_annotation_is_refused(spair_copy, literal, write_pairs, changes, message):
    write_pairs(spair_copy, [{**literal, **changes}])
    with pytest.raises(DatasetError, match=message):
        spair.load(spair_copy)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"pair_id": 1, ', "expected JSON in"),
        (b"[1, 2]", "expected a JSON object in .* got a list"),
        (b"\xff\xfe\x00", "expected text"),
        (b"{}", "expected 'category' as a text in .* got nothing"),
    ],
)
def test_a_file_of_something_else_is_refused(spair_copy, content, message):
    next((spair_copy / "PairAnnotation" / "test").iterdir()).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        spair.load(spair_copy)


def test_an_empty_list_is_refused(spair_copy, write_pairs):
    write_pairs(spair_copy, [])
    with pytest.raises(DatasetError, match=r"expected pairs in 'Layout/large/test\.txt', got none"):
        spair.load(spair_copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"category": "../../.."},
        {"category": "/etc"},
        {"src_imname": "../../../../etc/passwd"},
        {"trg_imname": "a\0.jpg"},
        {"trg_imname": "..\\\\x.jpg"},
        {"trg_imname": ""},
    ],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(spair_copy, literal, write_pairs, changes):
    write_pairs(spair_copy, [{**literal, **changes}])
    with pytest.raises(DatasetError, match="expected the name of a file below"):
        spair.load(spair_copy)


def test_a_list_that_leads_out_of_the_folder_is_refused(spair_copy):
    (spair_copy / "Layout" / "large" / "test.txt").write_text("../../../x\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="expected the name of a file below"):
        spair.load(spair_copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"src_imsize": [1e308, 5, 3]}, "expected src_imsize from 1 to 1000000 pixels"),
        ({"src_imsize": [0, 5, 3]}, "expected src_imsize from 1 to 1000000 pixels"),
        ({"src_imsize": [10**400, 5, 3]}, "expected src_imsize as 2 numbers"),
        ({"src_kps": [[10**400, 5]] * 3}, "expected src_kps as a list of x, y"),
    ],
)
def test_numbers_that_are_no_pixels_are_refused(spair_copy, literal, write_pairs, changes, message):
    write_pairs(spair_copy, [{**literal, **changes}])
    with pytest.raises(DatasetError, match=message):
        spair.load(spair_copy)
