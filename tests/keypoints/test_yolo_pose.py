"""YOLO-pose data sets, read and written. Ultralytics' own answer: test_their_readers.py."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml

from keypoints.rich import NAMES, write_rich
from semcorr.errors import DatasetError
from semcorr.keypoints import TransferRecord, read_annotations
from semcorr.keypoints.annotation_format import ExportOptions
from semcorr.keypoints.convert import convert_annotations
from semcorr.keypoints.sides import mirrored, unpaired
from semcorr.transfer import export


@pytest.mark.parametrize(
    ("names", "pairs", "alone"),
    [
        (("nose", "left_eye", "right_eye"), (0, 2, 1), []),
        (("leftear", "rightear", "snout", "tailbase"), (1, 0, 2, 3), []),
        (("L_Paw", "R_Paw", "EarL", "EarR", "tail"), (1, 0, 3, 2, 4), []),
        (("Left Ear", "rightEar", "upper_left_lip", "upper_right_lip"), (1, 0, 3, 2), []),
        (("left eye", "beak"), (0, 1), ["left eye"]),
        (("l", "r", "lr"), (1, 0, 2), []),
        (("2", "1", "3"), None, []),
        (("яблоко", "left"), (0, 1), ["left"]),
    ],
)
def test_left_and_right_are_paired_by_name(
    names: tuple[str, ...], pairs: tuple[int, ...] | None, alone: list[str]
) -> None:
    assert mirrored(names) == pairs
    assert unpaired(names) == alone


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    return write_rich(tmp_path / "given")


def write(rich: Path, folder: Path, **options: float) -> Path:
    done = convert_annotations(
        *(rich, folder),
        format="yolo-pose",
        images=rich.parent / "images",
        options=ExportOptions(min_confidence=0, **options),
    )
    return done.files[0]


def lines(path: Path) -> list[list[float]]:
    return [[float(cell) for cell in line.split()] for line in path.read_text(encoding="utf-8").splitlines()]


def test_what_is_written(rich: Path, tmp_path: Path) -> None:
    path = write(rich, tmp_path / "data", margin=0.2)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content == {
        "train": "images/train",
        "val": "images/train",
        "kpt_shape": [3, 3],
        "flip_idx": [1, 0, 2],
        "names": {0: "cat"},
        "kpt_names": {0: list(NAMES)},
    }
    folder = path.parent
    first, second = lines(folder / "labels/train/a.txt")
    # The image has 100 x 80 pixels. The first object's box was drawn: from (10, 5), 60 x 50.
    np.testing.assert_allclose(first[:5], [0, 0.4, 0.375, 0.6, 0.625])
    np.testing.assert_allclose(first[5:], [0.2, 0.125, 2, 0.5, 0.1625, 2, 0.6075, 0.640625, 1], atol=1e-6)
    # The second's points extend from (80, 60) to (90, 70), and 0.2 of 10 pixels are around them.
    np.testing.assert_allclose(second[:5], [0, 0.85, 65 / 80, 0.14, 14 / 80], atol=1e-6)
    np.testing.assert_allclose(second[5:], [0.8, 0.75, 2, 0, 0, 0, 0.9, 0.875, 2], atol=1e-6)
    ((*box, x, y, mark, _, _, other, _, _, last),) = lines(folder / "labels/train/c.txt")
    np.testing.assert_allclose(box, [0, 28 / 64, 24 / 64, 40 / 64, 32 / 64], atol=1e-6)
    assert x == y == mark == other == last == 0
    for name in ("a.png", "day1/b.png"):
        assert (folder / "images/train" / name).read_bytes() == (rich.parent / "images" / name).read_bytes()
        assert not (folder / "images/train" / name).is_symlink()
    assert not list(folder.rglob("d.*"))


def test_a_reviewed_object_without_a_box_gets_a_margin_as_well(rich: Path, tmp_path: Path) -> None:
    content = json.loads(rich.read_text(encoding="utf-8"))
    # As a review writes what it accepted: the box is the extent of the points, from (12, 13) to (32, 23).
    content["annotations"][4]["bbox"] = [12, 13, 20, 10]
    rich.write_text(json.dumps(content), encoding="utf-8")
    path = write(rich, tmp_path / "data", margin=0.2)
    ((*box, _, _, _, _, _, _, _, _, _),) = lines(path.parent / "labels/train/e.txt")
    # 0.2 of 20 pixels are around it, in an image of 70 x 70.
    np.testing.assert_allclose(box, [0, 22 / 70, 18 / 70, 28 / 70, 18 / 70], atol=1e-6)


def test_a_part_is_held_back(rich: Path, tmp_path: Path) -> None:
    path = write(rich, tmp_path / "data", validation=0.25)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert (content["train"], content["val"]) == ("images/train", "images/val")
    train, held = (sorted(path.parent.glob(f"images/{split}/**/*.png")) for split in ("train", "val"))
    assert (len(train), len(held)) == (3, 1)
    # The split stays when the data set is written again; so does the content.
    again = convert_annotations(path, tmp_path / "again", format="yolo-pose").files[0]
    assert again.read_bytes() == path.read_bytes()
    for one in [*train, *held]:
        name = one.relative_to(path.parent)
        assert (again.parent / name).is_file()
        labels = Path("labels", *name.parts[1:]).with_suffix(".txt")
        assert (again.parent / labels).read_text() == (path.parent / labels).read_text()


def test_points_outside_and_awkward_names(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for name in ("images/a.png", "x/images/a.png", "a.jpg"):
        path = images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (20, 10)).save(path)
    given = tmp_path / "points.csv"
    rows = ["images/a.png,ear,1,2", "images/a.png,tail,21.5,2", "images/a.png,paw,20.4,10.4"]
    rows += ["x/images/a.png,ear,3,4", "a.jpg,ear,5,6"]
    given.write_text("image,name,x,y\n" + "\n".join(rows) + "\n", encoding="utf-8")
    done = convert_annotations(given, tmp_path / "data", format="yolo-pose", images=images)
    # A point on the edge but for rounding is moved onto it; one outside is lost, and counted.
    assert done.lost["points"] == 1
    folder = tmp_path / "data" / "labels" / "train"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")) == [
        "a-2.txt",
        "a.txt",
        "x/a.txt",
    ]
    (first,) = lines(folder / "a.txt")
    np.testing.assert_allclose(first[5:], [0.05, 0.2, 2, 0, 0, 0, 1, 1, 2])
    assert max(first[1:5]) <= 1


def test_what_a_transfer_predicts(rich: Path, tmp_path: Path, record: Callable[..., TransferRecord]) -> None:
    given = tmp_path / "cats.csv"
    given.write_text(
        "image,category,name,x,y\na.png,cat,ear,1,2\na.png,cat,tail,3,4\na.png,cat,paw,5,6\n", encoding="utf-8"
    )
    PIL.Image.new("RGB", (100, 50)).save(tmp_path / "a.png")
    PIL.Image.new("RGB", (100, 50)).save(tmp_path / "b.png")
    known = read_annotations(given)
    one = record()
    one = TransferRecord(file="b.png", path=tmp_path / "b.png", size=one.size, objects=one.objects)
    out = tmp_path / "data" / "data.yaml"
    export.write("yolo-pose", out, known, lambda: [one], min_confidence=0.5, info={})
    (predicted,) = lines(tmp_path / "data" / "labels" / "train" / "b.txt")
    np.testing.assert_allclose(predicted[5:], [0.105, 0.41, 2, 0, 0, 0, 0, 0, 0])
    with pytest.raises(DatasetError, match="exists, and all that a data set's folder holds is trained on"):
        export.write("yolo-pose", out, known, lambda: [one], min_confidence=0.5, info={})


def data_set(folder: Path, yaml_text: str, labels: str = "0 0.5 0.5 0.5 0.5 0.25 0.5 2 0 0 0\n") -> Path:
    """A data set as Roboflow's exports lay it out."""
    for name in ("train/images", "train/labels"):
        (folder / name).mkdir(parents=True)
    PIL.Image.new("RGB", (40, 20)).save(folder / "train/images/a.png")
    PIL.Image.new("RGB", (40, 20)).save(folder / "train/images/b.png")
    (folder / "train/labels/a.txt").write_text(labels, encoding="utf-8")
    path = folder / "data.yaml"
    path.write_text(yaml_text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "train: ../train/images\nval: ../train/images\nkpt_shape: [2, 3]\nnc: 1\nnames: ['cat']\n",
        "path: /home/me/cats\ntrain: train/images\nval: list.txt\ntest: gone\nkpt_shape: [2, 3]\nnames: {0: cat}\n",
        "train: D:\\cats\\train\\images\nvalidation: train/images\nkpt_shape: [2, 3]\nnames: [cat]\n",
    ],
)
def test_data_sets_of_other_tools(tmp_path: Path, text: str) -> None:
    path = data_set(tmp_path / "cats", text)
    (path.parent / "list.txt").write_text("./train/images/a.png\n/home/me/train/images/b.png\n", encoding="utf-8")
    for named in (path, path.parent):
        annotations = read_annotations(named)
        first, second = annotations.images
        assert (first.file, first.size, second.instances) == ("train/images/a.png", (40, 20), ())
        (one,) = first.instances
        assert (one.box, one.visibility.tolist()) == ((10, 5, 30, 15), [2, 0])
        np.testing.assert_array_equal(one.points, [[10, 10], [np.nan, np.nan]])
        assert annotations.categories["cat"].keypoints == ("1", "2")
        assert "does not name its key-points" in annotations.notes[-1]
        assert ("folders of images that are not there: gone" in annotations.notes) == ("gone" in text)


def test_names_and_key_points_without_marks(tmp_path: Path) -> None:
    text = "train: train/images\nkpt_shape: [2, 2]\nnames: [cat, dog]\nkpt_names:\n  0: [ear, tail]\n"
    path = data_set(tmp_path, text, "1 0.5 0.5 0.5 0.5 0.25 0.5 0 0\n")
    annotations = read_annotations(path)
    (one,) = annotations.images[0].instances
    assert (one.category, one.visibility.tolist()) == ("dog", [2, 0])
    assert annotations.categories["dog"].keypoints == ("ear", "tail")


@pytest.mark.parametrize(
    ("text", "labels", "message"),
    [
        ("train: train/images\nnames: [cat]\n", "", "without key-points"),
        ("train: train/images\nnames: [cat]\nkpt_shape: [2]\n", "", "kpt_shape as"),
        ("train: train/images\nnames: [cat, cat]\nkpt_shape: [2, 3]\n", "", "different names of classes"),
        ("train: train/images\nnames: [cat]\nkpt_shape: [2, 3]\nkpt_names: {0: [ear]}\n", "", "2 different names"),
        ("train: valid/images\nnames: [cat]\nkpt_shape: [2, 3]\n", "", "none of them: valid/images.*--images"),
        ("val: 5\nnames: [cat]\nkpt_shape: [2, 3]\n", "", "'val' as a folder"),
        ("train: train/labels\nnames: [cat]\nkpt_shape: [2, 3]\n", "", "no image in them"),
        (
            "train: train/images\nnames: [cat]\nkpt_shape: [2, 3]\n",
            "0 1 1 1 1\n",
            "2 key-points in line 1 as 11 numbers",
        ),
        (
            "train: train/images\nnames: [cat]\nkpt_shape: [1, 3]\n",
            "0 0.5 0.5 1 1 0.5 0.5 0.9\n",
            r"0 \(not annotated\), 1 \(covered\) or 2 \(visible\).*line 1.*got 0.9",
        ),
        ("train: train/images\nnames: [cat]\nkpt_shape: [1, 3]\n", "3 .5 .5 1 1 .5 .5 2\n", "a class of 0 in line 1"),
    ],
)
def test_broken_data_sets_are_refused(tmp_path: Path, text: str, labels: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_annotations(data_set(tmp_path, text, labels))


def test_images_that_the_trainer_does_not_read_are_refused(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (20, 10)).save(tmp_path / "a.gif")
    given = tmp_path / "points.csv"
    given.write_text("image,name,x,y\na.gif,ear,1,2\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="does not read: 1"):
        convert_annotations(given, tmp_path / "data", format="yolo-pose")
    assert not list((tmp_path / "data").rglob("*"))


def test_a_missing_image_is_no_data_set(rich: Path, tmp_path: Path) -> None:
    (rich.parent / "images" / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"holds its images, and 1 are not there: .*a\.png"):
        convert_annotations(rich, tmp_path / "data", format="yolo-pose", images=rich.parent / "images")
    json.loads(rich.read_text(encoding="utf-8"))  # what was read is as it was
