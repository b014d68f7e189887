"""PF-WILLOW from its csv and from its raw folders, and PF-PASCAL."""

import csv
from collections import Counter

import numpy as np
import pytest
import scipy.io

from semcorr.datasets import pf_pascal, pf_willow, registry
from semcorr.datasets.check import check
from semcorr.errors import DatasetError

HEADINGS = ",".join(
    ["imageA", "imageB", *(f"{axis}{number}" for axis in ("XA", "YA", "XB", "YB") for number in range(1, 11))]
)


@pytest.fixture
def raw(tmp_path, save_image):
    """Two sub-classes, of three images and of two; point p of image n is at (n + p / 7, p / 3)."""
    root = tmp_path / "data" / "pf-willow"
    for number, name in enumerate(("car(G)/a", "car(G)/b", "car(G)/c", "duck(S)/a", "duck(S)/b")):
        path = save_image(root / f"{name}.png", (20 + number, 30))
        steps = np.arange(10.0)
        scipy.io.savemat(path.with_suffix(".mat"), {"pts_coord": np.stack([number + steps / 7, steps / 3])})
    return root


@pytest.fixture
def table(raw):
    """The same folder with a csv of two pairs, whose paths begin with the published folder's name."""
    rows = [HEADINGS]
    for a, b in (("car(G)/a.png", "car(G)/c.png"), ("duck(S)/b.png", "duck(S)/a.png")):
        points = [scipy.io.loadmat((raw / name).with_suffix(".mat"))["pts_coord"] for name in (a, b)]
        values = [repr(float(value)) for side in points for axis in side for value in axis]
        rows.append(",".join([f"PF-dataset/{a}", f"PF-dataset/{b}", *values]))
    path = raw / "test_pairs_pf.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_raw_folders(raw):
    dataset = pf_willow.load(raw)
    assert [pair.id for pair in dataset.pairs] == [
        *("car(G)/a-b", "car(G)/a-c", "car(G)/b-a", "car(G)/b-c", "car(G)/c-a", "car(G)/c-b"),
        *("duck(S)/a-b", "duck(S)/b-a"),
    ]
    assert dataset.threshold == "keypoints"
    pair = dataset.pairs[1]
    assert (pair.category, pair.source.size, pair.target.size) == ("car(G)", (20, 30), (22, 30))
    assert pair.names == tuple(str(number) for number in range(1, 11))
    # Real numbers, as they are.
    np.testing.assert_array_equal(pair.target.points, np.stack([2 + np.arange(10.0) / 7, np.arange(10.0) / 3], 1))
    assert pair.target.box is None


def test_the_csv_and_the_folders_agree(raw, table):
    listed = pf_willow.load(raw).pairs
    table.unlink()
    every = {pair.id: pair for pair in pf_willow.load(raw).pairs}
    assert [pair.id for pair in listed] == ["car(G)/a-c", "duck(S)/b-a"]
    for pair in listed:
        other = every[pair.id]
        for one, two in ((pair.source, other.source), (pair.target, other.target)):
            assert (one.path, one.size) == (two.path, two.size)
            np.testing.assert_array_equal(one.points, two.points)


def test_the_folder_above_does_too_whatever_else_lies_there(raw):
    (raw.parent / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert pf_willow.load(raw.parent).root == raw


def test_a_pair_listed_twice_has_two_ids(raw, table):
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([*lines, lines[1]]), encoding="utf-8")
    assert [pair.id for pair in pf_willow.load(raw).pairs] == ["car(G)/a-c", "duck(S)/b-a", "car(G)/a-c#2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",", ";", 200).replace(HEADINGS.replace(",", ";"), HEADINGS), "expected 42 columns"),
        (lambda text: text.replace("0.0", "none", 1), r"expected line 2 as 40 numbers .*test_pairs_pf.csv"),
        (lambda text: text.splitlines()[0], "expected a line of headings and then pairs"),
        (lambda text: text.replace("car(G)/a.png", "../a.png"), r"expected the path of an image below"),
        (lambda text: text.replace("car(G)/a.png", "car(G)/z.png"), r"expected the image '.*z.png', which is not"),
        (lambda text: text.replace("car(G)/a.png", f"car(G)/{'a' * 300}.png"), "which is not there"),
    ],
)
def test_a_broken_csv_is_refused(raw, table, change, message):
    table.write_text(change(table.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        pf_willow.load(raw)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"pts_coord": np.zeros((2, 9))}, r"'pts_coord' as 2 x 10 numbers .* got float64 of shape \(2, 9\)"),
        ({"other": np.zeros((2, 10))}, "got none"),
        ({"pts_coord": np.full((2, 10), np.nan)}, "as a list of x, y"),
        (None, "expected a MATLAB 5 file"),
    ],
)
def test_a_broken_mat_is_refused(raw, content, message):
    path = raw / "car(G)" / "b.mat"
    if content is None:
        path.write_bytes(path.read_bytes()[:150])
    else:
        scipy.io.savemat(path, content)
    with pytest.raises(DatasetError, match=message):
        pf_willow.load(raw)


def test_no_such_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"PF-WILLOW: expected a \.csv of pairs.*semcorr data download pf-willow"):
        pf_willow.load(tmp_path)


def test_the_real_one(photographs):
    dataset = registry.load("pf-willow", photographs)
    assert len(dataset.pairs) == 900
    assert set(Counter(pair.category for pair in dataset.pairs).values()) == {90}
    assert len({pair.category for pair in dataset.pairs}) == 10
    assert len({pair.id for pair in dataset.pairs}) == 900
    assert {(len(pair.names), *pair.source.points.shape, *pair.target.points.shape) for pair in dataset.pairs} == {
        (10, 10, 2, 10, 2)
    }
    for pair in dataset.pairs[::97]:
        for side in (pair.source, pair.target):
            coordinates = scipy.io.loadmat(side.path.with_suffix(".mat"))["pts_coord"]
            assert tuple(side.points[0]) == (coordinates[0, 0], coordinates[1, 0])
            assert tuple(side.points[9]) == (coordinates[0, 9], coordinates[1, 9])
            assert (side.points >= 0).all()
            assert (side.points <= side.size).all()


@pytest.fixture
def pascal(tmp_path, save_image):
    root = tmp_path / "PF-dataset-PASCAL"
    for name, size in (("a", (40, 30)), ("b", (30, 40))):
        save_image(root / "JPEGImages" / f"{name}.jpg", size)
    lines = [
        "source_image,target_image,class,XA,YA,XB,YB",
        "PF-dataset-PASCAL/JPEGImages/a.jpg,PF-dataset-PASCAL/JPEGImages/b.jpg,1,1.5;3;9,2;4;8,5;6;7,8;9;10.25",
        "PF-dataset-PASCAL/JPEGImages/b.jpg,PF-dataset-PASCAL/JPEGImages/a.jpg,20,1,2,3,4",
    ]
    (root / "test_pairs_pf_pascal.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def test_pf_pascal(pascal):
    dataset = registry.load("pf-pascal", pascal.parent)
    first, second = dataset.pairs
    assert (dataset.threshold, dataset.root) == ("image", pascal)
    assert (first.id, first.category, second.category) == ("aeroplane/a-b", "aeroplane", "tvmonitor")
    assert (first.source.size, first.target.size) == ((40, 30), (30, 40))
    assert first.source.path == pascal / "JPEGImages" / "a.jpg"
    np.testing.assert_array_equal(first.source.points, [[2, 2.5], [3.5, 4.5], [9.5, 8.5]])
    np.testing.assert_array_equal(first.target.points, [[5.5, 8.5], [6.5, 9.5], [7.5, 10.75]])
    assert (first.names, second.names) == (("1", "2", "3"), ("1",))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",20,", ",21,", "expected a class from 1 to 20 in line 3 .* got 21"),
        (",20,", ",cat,", "got cat"),
        ("1.5;3;9", "1.5;3", "expected as many x as y in line 2 .* got 2 and 3"),
        (",1,2,3,4", ",1,2,3;5,4;6", "expected as many points on both sides in line 3 .* got 1 and 2"),
        (",1,2,3,4", ",1,2,3", "expected 7 columns in line 3 .* got 6"),
        (",1,2,3,4", ",1,x,3,4", "expected line 3 as 2 numbers"),
    ],
)
def test_a_broken_csv_of_pf_pascal_is_refused(pascal, old, new, message):
    path = pascal / "test_pairs_pf_pascal.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        pf_pascal.load(pascal)


def test_no_list_of_pf_pascal_is_refused(pascal):
    with pytest.raises(DatasetError, match=r"expected the file val_pairs_pf_pascal.csv"):
        pf_pascal.load(pascal, "val")


def test_a_table_with_a_cell_of_any_length_is_refused(pascal, raw):
    path = pascal / "test_pairs_pf_pascal.csv"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + "y" * 140_000, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"expected a table in .* got something else: field larger"):
        pf_pascal.load(pascal)
    path.write_text(whole.replace(",20,", f",{'9' * 5000},"), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"expected a class from 1 to 20 .* got 9{40}\."):
        pf_pascal.load(pascal)
    (raw / "test_pairs_pf.csv").write_text("imageA,\n" + "y" * 140_000, encoding="utf-8")
    with pytest.raises(DatasetError, match="expected a table in"):
        pf_willow.load(raw)


@pytest.fixture
def published(photographs, tmp_path, save_image):
    """The published lists of pairs, with a blank image for each that they name, large enough for its points."""
    root = tmp_path / "PF-dataset-PASCAL"
    root.mkdir()
    for path in (photographs / "pf-pascal").glob("*.csv"):
        (root / path.name).write_bytes(path.read_bytes())
    with (root / "test_pairs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    sizes: dict[str, tuple[int, int]] = {}
    for row in rows:
        for name, x, y in (("source_image", "XA", "YA"), ("target_image", "XB", "YB")):
            reach = [int(max(map(float, row[axis].split(";")))) + 2 for axis in (x, y)]
            had = sizes.get(row[name], (1, 1))
            sizes[row[name]] = (max(reach[0], had[0]), max(reach[1], had[1]))
    for name, size in sizes.items():
        save_image(tmp_path / name, size)
    return root, rows, sizes


def test_the_published_pairs_of_pf_pascal(published):
    root, rows, sizes = published
    dataset = registry.load("pf-pascal", root)
    assert len(dataset.pairs) == len(rows) == 299
    assert len({pair.id for pair in dataset.pairs}) == 299
    assert list(Counter(pair.category for pair in dataset.pairs).values()) == [
        *(15, 30, 10, 6, 8, 32, 19, 27, 13, 3),
        *(8, 24, 9, 27, 12, 7, 1, 13, 20, 15),
    ]
    for pair, row in zip(dataset.pairs, rows, strict=True):
        assert pf_pascal.CLASSES[int(row["class"]) - 1] == pair.category
        for side, name, x, y in ((pair.source, "source_image", "XA", "YA"), (pair.target, "target_image", "XB", "YB")):
            points = [[float(value) for value in row[axis].split(";")] for axis in (x, y)]
            np.testing.assert_array_equal(side.points, np.array(points).T + 0.5)
            assert (side.path, side.size) == (root.parent / row[name], sizes[row[name]])
        assert pair.names == tuple(str(number + 1) for number in range(len(pair.source.points)))
    report = check("pf-pascal", root)
    assert (report.whole, report.total.pairs, report.total.points) == (True, 299, 2414)


@pytest.mark.parametrize("split", ["val", "train"])
def test_the_published_lists_without_points_are_refused(published, split):
    with pytest.raises(DatasetError, match=r"expected 7 columns in line 2 .*got 4: a list without points"):
        pf_pascal.load(published[0], split)
