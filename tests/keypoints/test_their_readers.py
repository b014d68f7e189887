"""What the tools' own readers make of what is converted; ``make importers`` makes the Python that has them."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keypoints.other_python import NEEDED, PACKAGES, PYTHON, run, ultralytics_environment
from keypoints.rich import NAMES, SIZES, kept_by_the_table, write_rich
from semcorr.keypoints import PredictedObject, TransferRecord, read_annotations
from semcorr.keypoints.annotation_format import ExportOptions
from semcorr.keypoints.convert import convert_annotations
from semcorr.transfer import export

pytestmark = [pytest.mark.slow, NEEDED]


def semcorr(*arguments: str | Path) -> dict[str, Any]:
    """Run the command with sleap-io, which the other environment has; return its JSON."""
    theirs = run(PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    code = f"import sys; sys.path.append({theirs!r}); from semcorr.cli import main; sys.exit(main(sys.argv[1:]))"
    return json.loads(run(sys.executable, "-c", code, *arguments, "--json"))


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rich(tmp_path_factory.mktemp("rich"))


@pytest.fixture(scope="module")
def theirs(rich: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What they read."""
    folder, images = tmp_path_factory.mktemp("converted"), rich.parent / "images"
    options = ExportOptions(min_confidence=0, validation=0.25, margin=0.2)
    paths = {"yolo-pose": "data", "label-studio": "tasks.json", "cvat": "cvat/annotations.xml"}
    for name, path in paths.items():
        convert_annotations(rich, folder / path, format=name, images=images, options=options)
    (folder / "cvat" / "images").symlink_to(images)
    semcorr("convert", rich, folder / "labels.slp", "--images", images)
    given = ("data/data.yaml", "labels.slp", "tasks.json", "tasks.config.xml", "cvat")
    script = Path(__file__).with_name("their_readers.py")
    said = run(PYTHON, script, PACKAGES, *(folder / one for one in given), **ultralytics_environment(folder))
    return json.loads(said.splitlines()[-1])


def test_ultralytics_reads_the_data_set(theirs: dict[str, Any]) -> None:
    read = theirs["ultralytics"]
    assert read["settings"] == {
        "kpt_shape": [3, 3],
        "flip_idx": [1, 0, 2],
        "names": {"0": "cat"},
        "kpt_names": {"0": list(NAMES)},
        "nc": 1,
    }
    images = {name.partition("/")[2]: one for name, one in read["images"].items()}
    assert sorted(images) == ["a.png", "c.png", "day1/b.png", "e.png"]
    assert [name.partition("/")[0] for name in read["images"]].count("val") == 1
    first, second = images["a.png"]["keypoints"]
    np.testing.assert_allclose(first, [[20, 10, 2], [50, 13, 2], [60.75, 51.25, 1]], atol=1e-3)
    np.testing.assert_allclose(second, [[80, 60, 2], [0, 0, 0], [90, 70, 2]], atol=1e-3)
    # Centre and sides: the box that was drawn, and one with a margin of two pixels around the points.
    np.testing.assert_allclose(images["a.png"]["boxes"], [[40, 30, 60, 50], [85, 65, 14, 14]], atol=1e-3)
    assert images["a.png"]["classes"] == [0, 0]
    assert not np.array(images["c.png"]["keypoints"]).any()


def test_sleap_reads_the_labels(theirs: dict[str, Any]) -> None:
    read = theirs["sleap"]
    assert (read["name"], read["nodes"], read["edges"]) == ("cat", list(NAMES), [[0, 2], [1, 2]])
    assert read["symmetries"] == [["left ear", "right ear"]]
    assert read["shapes"] == sorted([1, height, width, 3] for width, height in SIZES.values())
    assert set(read["frames"]) == {"a.png", "b.png", "e.png"}
    # SLEAP counts pixels by their centres.
    assert read["frames"]["a.png"]["instances"] == [
        ["Instance", [[19.5, 9.5], [49.5, 12.5], [60.25, 50.75]]],
        ["Instance", [[79.5, 59.5], None, [89.5, 69.5]]],
    ]
    assert read["frames"]["b.png"]["instances"] == [["PredictedInstance", [[9.5, 9.5], [29.5, 19.5], None]]]
    # It opens the images themselves: the second one of the fixture is grey, 40.
    assert read["frames"]["b.png"]["mean"] == 40


def test_labels_of_sleap_come_back(rich: Path, tmp_path: Path) -> None:
    images = rich.parent / "images"
    there = semcorr("convert", rich, tmp_path / "labels.slp", "--images", images, "--category", "cat")
    # The column of the documentation's table that the quick tests leave out.
    kept = {kind: count - there["lost"].get(kind, 0) for kind, count in there["read"].items()}
    for kind, row in kept_by_the_table().items():
        if kind in kept:
            assert (row["sleap"] == "yes") == (kept[kind] == there["read"][kind]), kind
            assert (row["sleap"] == "–") == (kept[kind] == 0), kind
    back = semcorr("convert", tmp_path / "labels.slp", tmp_path / "back.json", "--images", images)
    assert back["lost"] == {}
    content = json.loads((tmp_path / "back.json").read_text(encoding="utf-8"))
    assert content["categories"][0]["keypoints"] == list(NAMES)
    assert content["categories"][0]["skeleton"] == [[1, 3], [2, 3]]
    assert [image["file_name"] for image in content["images"]] == list(SIZES)
    first = content["annotations"][0]["keypoints"]
    assert first == [19.5, 9.5, 2, 49.5, 12.5, 2, 60.25, 50.75, 2]
    assert [one.get("semcorr") for one in content["annotations"]].count({"predicted": True}) == 1


def test_label_studio_takes_the_tasks(theirs: dict[str, Any]) -> None:
    # An annotation for each of three images, and a prediction for one.
    assert theirs["label-studio"] == [True] * 4


def test_cvat_reads_skeletons_and_boxes(theirs: dict[str, Any]) -> None:
    read = theirs["cvat"]
    assert set(read) == {Path(name).with_suffix("").as_posix() for name in SIZES}
    boxes = [one for one in read["a"] if one[0] == "bbox"]
    assert [one[1:] for one in boxes] == [["cat", 1, [10, 5, 70, 55]]]
    points = [one[3] for one in read["a"] if one[0] == "points"]
    assert [60.75, 51.25] in points
    assert [20, 10] in points


def test_pycocotools_reads_what_comes_from_another_format(rich: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    images = rich.parent / "images"
    convert_annotations(rich, tmp_path / "points.csv", images=images)
    convert_annotations(tmp_path / "points.csv", tmp_path / "out.json", images=images)
    coco = COCO(str(tmp_path / "out.json"))
    (category,) = coco.loadCats(coco.getCatIds(["cat"]))
    assert category["keypoints"] == list(NAMES)
    first = coco.loadAnns(coco.getAnnIds(imgIds=coco.getImgIds()[:1]))[0]
    assert first["keypoints"] == [19.5, 9.5, 2, 49.5, 12.5, 2, 60.25, 50.75, 1]
    assert (first["num_keypoints"], first["iscrowd"]) == (3, 0)
    # COCO's boxes are edges; the table had none, so it is the extent of the points.
    assert first["bbox"] == [20, 10, 40.75, 41.25]


@pytest.fixture(scope="module")
def deeplabcut(rich: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What DeepLabCut's own code reads of projects of several animals and of one, and of what a transfer writes."""
    folder, images = tmp_path_factory.mktemp("deeplabcut"), rich.parent / "images"
    convert_annotations(rich, folder / "several", format="deeplabcut", images=images)
    given = folder / "points.csv"
    given.write_text("image,name,x,y\na.png,ear,20.5,10.25\na.png,tail,61,51.5\ne.png,tail,12,13\n", encoding="utf-8")
    convert_annotations(given, folder / "one", format="deeplabcut", images=images)
    known = read_annotations(folder / "one")
    one = PredictedObject(
        category="animal",
        names=("ear", "tail"),
        points=np.array([[10.5, 20.75], [30.5, 40.5]]),
        confidence=np.array([0.9, 0.25]),
    )
    frame = "labeled-data/frames/c.png"
    record = TransferRecord(file=frame, path=images / "c.png", size=SIZES["c.png"], objects=(one,))
    table = folder / "predicted.csv"
    export.write("deeplabcut", table, known, lambda: [record], min_confidence=0.5, info={})
    projects = (folder / name / "config.yaml" for name in ("several", "one"))
    script = Path(__file__).with_name("deeplabcut_reader.py")
    predictions = table.with_suffix(".machinelabels.csv")
    said = run(PYTHON, script, PACKAGES, predictions, *projects, MPLCONFIGDIR=str(folder))
    return json.loads(said.splitlines()[-1])


def test_deeplabcut_reads_a_project_of_several_animals(deeplabcut: dict[str, Any]) -> None:
    several, _ = deeplabcut["projects"]
    assert several["bodyparts"] == list(NAMES)
    assert several["individuals"] == ["individual1", "individual2"]
    assert several["single"] == []
    assert several["columns"][:2] == [["semcorr", "individual1", NAMES[0], coordinate] for coordinate in "xy"]
    missing = [[None, None]] * 3
    assert several["rows"] == {
        # DeepLabCut counts pixels by their centres, as COCO does.
        "labeled-data/frames/a.png": [
            *([19.5, 9.5], [49.5, 12.5], [60.25, 50.75]),
            *([79.5, 59.5], [None, None], [89.5, 69.5]),
        ],
        "labeled-data/day1/b.png": [[9.5, 9.5], [29.5, 19.5], [None, None], *missing],
        "labeled-data/frames/e.png": [[11.5, 12.5], [31.5, 22.5], [None, None], *missing],
    }


def test_deeplabcut_trains_on_a_project_of_one_animal(deeplabcut: dict[str, Any]) -> None:
    _, one = deeplabcut["projects"]
    assert one["bodyparts"] == ["ear", "tail"]
    assert one["columns"] == [["semcorr", name, coordinate] for name in ("ear", "tail") for coordinate in "xy"]
    assert one["rows"] == {
        "labeled-data/frames/a.png": [[20, 9.75], [60.5, 51]],
        "labeled-data/frames/e.png": [[None, None], [11.5, 12.5]],
    }
    # Channels, height and width; a point's number and the pixel that it is in.
    assert one["trained"] == {
        "labeled-data/frames/a.png": [[3, 80, 100], [[0, 20, 9], [1, 60, 51]]],
        "labeled-data/frames/e.png": [[3, 70, 70], [[1, 11, 12]]],
    }


def test_deeplabcut_reads_what_a_transfer_predicts(deeplabcut: dict[str, Any]) -> None:
    read = deeplabcut["predictions"]
    assert read["rows"] == {"labeled-data/frames/c.png": [[10, 20.25, 0.9], [30, 40, 0.25]]}
    assert read["points"] == {"labeled-data/frames/c.png": [[10, 20.25], [30, 40]]}
