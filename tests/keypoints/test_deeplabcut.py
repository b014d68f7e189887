"""DeepLabCut's projects: tables of one and of several animals, of every age; written back beside a person's labels."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from keypoints.rich import write_rich
from semcorr.errors import DatasetError, SettingsError, TransferError
from semcorr.keypoints import Annotations, Category, PredictedObject, TransferRecord, read_annotations
from semcorr.keypoints.base import AnnotatedImage, instance_of
from semcorr.keypoints.convert import convert_annotations
from semcorr.transfer import export
from semcorr.transfer.file_transfer import TransferOutput

ONE = """scorer,me,me,me,me
bodyparts,snout,snout,tail,tail
coords,x,y,x,y
labeled-data/day1/img0.png,1.25,2,30.0,40
labeled-data/day1/img1.png,,,5,6
labeled-data/day1/img2.png,,,,
"""
SEVERAL = """scorer,,,me,me,me,me,me,me,me,me
individuals,,,mus1,mus1,mus1,mus1,mus2,mus2,single,single
bodyparts,,,snout,snout,tail,tail,snout,snout,corner,corner
coords,,,x,y,x,y,x,y,x,y
labeled-data,day1,img0.png,1,2,3,4,5,6,7,8
labeled-data,day1,img1.png,,,,,9,10,,
labeled-data,day1,img2.png,,,,,,,,
"""

Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Makes a project of videos with a table each, and frames; returns its folder."""

    def make(tables: dict[str, str], *, frames: int = 3, scorer: str = "me", **config: Any) -> Path:
        root = tmp_path / "project"
        for video, text in tables.items():
            folder = root / "labeled-data" / video
            folder.mkdir(parents=True, exist_ok=True)
            if text:
                (folder / f"CollectedData_{scorer}.csv").write_text(text, encoding="utf-8")
            for number in range(frames):
                Image.new("RGB", (50, 45), (number, 0, 0)).save(folder / f"img{number}.png")
        if config:
            (root / "config.yaml").write_text(yaml.safe_dump({"scorer": scorer, **config}), encoding="utf-8")
        return root

    return make


def marked(annotations: Annotations) -> dict[str, list[tuple[str, object, list[list[float]]]]]:
    """Category, id and points of each object, by image; (-1, -1) for missing points."""
    return {
        image.file: [(one.category, one.id, np.nan_to_num(one.points, nan=-1).tolist()) for one in image.instances]
        for image in annotations.images
    }


def predicted(category: str = "animal", names: tuple[str, ...] = ("snout", "tail"), **changes: Any) -> PredictedObject:
    values = {
        "points": np.array([[10.5, 20.5], [30.25, 40.75]])[: len(names)],
        "confidence": np.array([0.9, 0.3])[: len(names)],
    }
    return PredictedObject(category=category, names=names, **{**values, **changes})


def record_of(file: str, *objects: PredictedObject) -> TransferRecord:
    return TransferRecord(file=file, path=Path(file), size=(50, 45), objects=objects)


def written(folder: Path, known: Annotations, *records: TransferRecord) -> list[Path]:
    return export.write(
        "deeplabcut", folder / "out.csv", known, lambda: records, min_confidence=0.5, info={"method": "dift"}
    )


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


# Read.


@pytest.mark.parametrize("name", ["", "config.yaml", "labeled-data", "labeled-data/day1", "labeled-data/day1/{}"])
def test_a_project_its_configuration_a_video_and_a_table_are_the_same(project: Project, name: str) -> None:
    root = project({"day1": ONE}, bodyparts=["tail", "snout"], skeleton=[["snout", "tail"], ["snout", "ear"]])
    annotations = read_annotations(root / name.format("CollectedData_me.csv"))
    # The configuration's order; half a pixel, since DeepLabCut counts pixels by their centres.
    assert annotations.categories == {
        "animal": Category(id=1, name="animal", keypoints=("tail", "snout"), skeleton=((2, 1),))
    }
    assert marked(annotations) == {
        "labeled-data/day1/img0.png": [("animal", "animal", [[30.5, 40.5], [1.75, 2.5]])],
        "labeled-data/day1/img1.png": [("animal", "animal", [[5.5, 6.5], [-1, -1]])],
        "labeled-data/day1/img2.png": [],
    }
    assert annotations.images[1].instances[0].visibility.tolist() == [2, 0]
    assert [image.path for image in annotations.images] == [
        root / "labeled-data" / "day1" / f"img{number}.png" for number in range(3)
    ]
    assert (annotations.format, annotations.notes) == ("deeplabcut", ())


def test_several_animals_are_objects_and_what_there_is_one_of_is_another_category(project: Project) -> None:
    root = project(
        {"day1": SEVERAL},
        bodyparts="MULTI!",
        multianimalbodyparts=["tail", "snout"],
        uniquebodyparts=["corner"],
        multianimalproject=True,
    )
    annotations = read_annotations(root)
    assert {name: one.keypoints for name, one in annotations.categories.items()} == {
        "animal": ("tail", "snout"),
        "single": ("corner",),
    }
    assert marked(annotations) == {
        "labeled-data/day1/img0.png": [
            ("animal", "mus1", [[3.5, 4.5], [1.5, 2.5]]),
            ("animal", "mus2", [[-1, -1], [5.5, 6.5]]),
            ("single", "single", [[7.5, 8.5]]),
        ],
        "labeled-data/day1/img1.png": [("animal", "mus2", [[-1, -1], [9.5, 10.5]])],
        "labeled-data/day1/img2.png": [],
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("scorer", "Scorer").replace("bodyparts", "BodyParts").replace("coords,x", "Coords,X"),
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.replace(",,,\n", ",,,\n\n"),
        lambda text: text.replace("\n", ",,\n"),  # a spreadsheet's commas
        lambda text: text.replace(",,,\n", ",NaN,nan,,\n"),
        lambda text: text.replace("labeled-data/day1/", "C:\\work\\project\\labeled-data\\day1\\"),
        lambda text: text.replace("labeled-data/", "/home/me/labeled-data/old/labeled-data/"),
        lambda text: (
            text.replace("labeled-data/day1/", "labeled-data,day1,")
            .replace("scorer", "scorer,,")
            .replace("bodyparts", "bodyparts,,")
            .replace("coords", "coords,,")
        ),
    ],
)
def test_tables_as_spreadsheets_other_systems_and_later_versions_write_them(
    project: Project, change: Callable[[str], str]
) -> None:
    usual = read_annotations(project({"day1": ONE}))
    annotations = read_annotations(project({"day1": change(ONE)}))
    assert marked(annotations) == marked(usual)
    assert [image.path for image in annotations.images] == [image.path for image in usual.images]


def test_frames_that_no_table_names_are_images_without_points(project: Project) -> None:
    root = project({"day1": ONE, "day2": ""}, frames=4)
    for folder in ("day1_labeled", "day2_labeled"):  # copies with the labels drawn into them
        (root / "labeled-data" / folder).mkdir()
        Image.new("RGB", (50, 45)).save(root / "labeled-data" / folder / "img0_bodypart.png")
    (root / "labeled-data" / "day1" / "._img0.png").write_bytes(b"of a Mac")
    (root / "labeled-data" / "day1" / "notes.txt").write_text("", encoding="utf-8")
    files = [image.file for image in read_annotations(root).images]
    assert files == [f"labeled-data/{video}/img{number}.png" for video in ("day1", "day2") for number in range(4)]
    # One table stands for its own video.
    table = root / "labeled-data" / "day1" / "CollectedData_me.csv"
    assert len(read_annotations(table).images) == 4


def test_frames_of_the_same_name_in_other_videos_are_never_taken(project: Project) -> None:
    other = ONE.replace("day1", "day2")
    root = project({"day1": ONE, "day2": other})
    for path in (root / "labeled-data" / "day2").glob("*.png"):
        path.unlink()
    known = {image.file: image.path for image in read_annotations(root).images}
    assert len(known) == 6
    assert all(path.parts[-2:] == tuple(file.split("/")[-2:]) for file, path in known.items())
    assert [path.is_file() for path in known.values()] == [True] * 3 + [False] * 3
    # Nor where the folder is gone, or the table lies elsewhere.
    table = root / "both.csv"
    table.write_text(ONE + "".join(other.splitlines(keepends=True)[3:]).replace("day2", "day3"), encoding="utf-8")
    known = {image.file: image.path for image in read_annotations(table, root).images}
    assert [path.is_file() for path in known.values()] == [True] * 3 + [False] * 3


def test_a_table_names_the_frames_that_it_lies_beside(project: Project) -> None:
    root = project({"renamed": ONE, "day2": ONE.replace("day1", "day2")})
    annotations = read_annotations(root)
    assert [image.path.parent.name for image in annotations.images] == ["day2"] * 3 + ["renamed"] * 3
    assert len(annotations.notes) == 1
    assert "names the video 'day1', and its frames are taken from 'renamed'" in annotations.notes[0]


def test_a_table_without_a_project(project: Project, tmp_path: Path) -> None:
    root = project({"day1": ONE})
    table = tmp_path / "elsewhere" / "labels.csv"
    table.parent.mkdir()
    table.write_text(ONE, encoding="utf-8")
    frames = root / "labeled-data" / "day1"
    for images in (root, frames.parent, frames):
        assert [image.path for image in read_annotations(table, images).images] == sorted(frames.glob("*.png"))
    assert not any(image.path.is_file() for image in read_annotations(table).images)


def test_whose_labels_count(project: Project) -> None:
    root = project({"day1": ONE}, bodyparts=["snout", "tail"])
    folder = root / "labeled-data" / "day1"
    (folder / "CollectedData_you.csv").write_text(ONE.replace("1.25", "9"), encoding="utf-8")
    (folder / "CollectedData_out.machinelabels.csv").write_text(MACHINE, encoding="utf-8")  # of another table
    annotations = read_annotations(root / "config.yaml", root)
    assert marked(annotations)["labeled-data/day1/img0.png"][0][2][0] == [1.75, 2.5]
    assert annotations.notes == ("labels of others than the scorer in 'day1' are not read: CollectedData_you.csv",)
    (root / "config.yaml").unlink()
    with pytest.raises(DatasetError, match=r"labels of one person in .*got CollectedData_me.csv, CollectedData_you"):
        read_annotations(root)
    assert marked(read_annotations(folder / "CollectedData_you.csv"))["labeled-data/day1/img0.png"][0][2][0][0] == 9.5
    (folder / "CollectedData_me.csv").unlink()
    (root / "config.yaml").write_text("scorer: me\nbodyparts: [snout, tail]\n", encoding="utf-8")
    assert "'CollectedData_you.csv' in 'day1' is read, though config.yaml names" in read_annotations(root).notes[0]


MACHINE = """scorer,DLC,DLC,DLC,DLC,DLC,DLC
bodyparts,snout,snout,snout,tail,tail,tail
coords,x,y,likelihood,x,y,likelihood
labeled-data/day1/img0.png,1,2,0.5,3,4,1
labeled-data/day1/img1.png,1,2,7,,,0
"""


def test_points_with_a_likelihood_are_predictions(project: Project) -> None:
    annotations = read_annotations(project({"day1": MACHINE}) / "labeled-data/day1/CollectedData_me.csv")
    (first,), (second,) = (image.instances for image in annotations.images[:2])
    assert (first.predicted, first.annotated, first.score) == (True, False, 0.75)
    assert (second.predicted, second.score) == (True, None)  # no probability
    assert annotations.notes == (
        "objects that are predicted and not annotated (by their likelihood): 2; no points are carried over from them",
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bodyparts,", "parts,", "headings that begin with scorer"),
        (",", ";", "Separate the columns by commas"),
        (",", "\t", "Separate the columns by commas"),
        ("labeled-data/day1/img1.png", "labeled-data/day1/img0.png", "every image once in line 5"),
        ("labeled-data/day1/img1.png", "C:\\x\\labeled-data\\day1\\img0.png", "every image once in line 5"),
        ("labeled-data/day1/img1.png", "", "the name of an image in line 5"),
        ("labeled-data/day1/img1.png", "12", "a row for each frame of a video"),
        ("labeled-data/day1/img1.png,,,5,6", "labeled-data/day1/img1.png,,,5,", "x and y of 'tail' in line 5"),
        ("30.0", "left", "x and y of 'tail' in line 4"),
        ("30.0", "inf", "x and y of 'tail' in line 4"),
        ("30.0", '"30,0"', "x and y of 'tail' in line 4"),
        ("1.25,2,30.0,40", "1.25,2,30.0,40,50", "as many cells as headings in line 4"),
        ("coords,x,y,x,y", "coords,x,y,x,z", "above every column"),
        ("coords,x,y,x,y", "coords,x,y,x,x", "every column once"),
        ("snout,snout,tail,tail", "snout,snout,tail,ear", "x and y of every body part"),
        ("me,me,me,me", "me,me,you,you", "labels of one scorer"),
        ("scorer,me", "scorer,,me", "one or three columns for the image"),
        ("30.0", '"30', "a table"),
    ],
)
def test_broken_tables_are_refused(project: Project, old: str, new: str, message: str) -> None:
    text = ONE.replace(old, new)
    if message.startswith("one or three"):
        text = text.replace("bodyparts,", "bodyparts,,").replace("coords,", "coords,,")
    with pytest.raises(DatasetError, match=message):
        read_annotations(project({"day1": text}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "expected YAML"),
        ("- a", "configuration, with bodyparts"),
        ("scorer: me", "configuration, with bodyparts"),
        ("bodyparts: !!python/object/apply:os.getcwd []", "expected YAML"),
        ("date: 2024-13-45\nbodyparts: []", "expected YAML"),
        ("[" * 3000, "expected YAML"),
    ],
)
def test_broken_configurations_are_refused(project: Project, text: str, message: str) -> None:
    root = project({"day1": ONE})
    (root / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_annotations(root)


def test_what_is_no_project_is_refused(project: Project, tmp_path: Path) -> None:
    root = project({"day1": ONE})
    table = root / "labeled-data" / "day1" / "CollectedData_me.csv"
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DatasetError, match=r"got the folder '.*nothing'"):
        read_annotations(tmp_path / "nothing")
    with pytest.raises(DatasetError, match=r"expected the file '.*other.yaml'"):
        read_annotations(root / "other.yaml")
    with pytest.raises(DatasetError, match=r"\(\.h5\) of a table, which is not read: name '.*CollectedData_me.csv'"):
        read_annotations(table.with_suffix(".h5"))
    other = root / "labeled-data" / "day2" / table.name
    other.parent.mkdir()
    other.write_bytes(table.read_bytes())
    with pytest.raises(DatasetError, match="every image in one table"):
        read_annotations(root)
    other.write_text(SEVERAL.replace("day1", "day2"), encoding="utf-8")
    with pytest.raises(DatasetError, match="a row of individuals, or none"):
        read_annotations(root)
    for path in root.rglob("*.csv"):
        path.unlink()
    with pytest.raises(DatasetError, match="label a few frames in DeepLabCut first"):
        read_annotations(root)
    table.with_suffix(".h5").write_bytes(b"")
    with pytest.raises(DatasetError, match="save the table beside it in DeepLabCut"):
        read_annotations(root)


# Written.


def test_predictions_are_added_and_a_persons_points_keep_their_text(project: Project, tmp_path: Path) -> None:
    root = project({"day1": ONE.replace("1.25", "1.250000000000000017")}, frames=4)
    known = read_annotations(root)
    records = [record_of(f"labeled-data/day1/img{number}.png", predicted()) for number in (2, 3)]
    path, beside = written(tmp_path, known, *records)
    assert cells(path) == [
        ["scorer", *["me"] * 4],
        ["bodyparts", "snout", "snout", "tail", "tail"],
        ["coords", "x", "y", "x", "y"],
        ["labeled-data/day1/img0.png", "1.250000000000000017", "2", "30.0", "40"],
        ["labeled-data/day1/img1.png", "", "", "5", "6"],
        ["labeled-data/day1/img2.png", "10.00", "20.00", "", ""],  # the tail is uncertain
        ["labeled-data/day1/img3.png", "10.00", "20.00", "", ""],
    ]
    assert beside.name == "out.machinelabels.csv"
    assert cells(beside)[2:] == [
        ["coords", *["x", "y", "likelihood"] * 2],
        ["labeled-data/day1/img2.png", "10.00", "20.00", "0.9000", "29.75", "40.25", "0.3000"],
        ["labeled-data/day1/img3.png", "10.00", "20.00", "0.9000", "29.75", "40.25", "0.3000"],
    ]
    again = read_annotations(path, root)
    assert [[one.predicted for one in image.instances] for image in again.images] == [[False], [False], [True], [True]]
    assert again.images[2].instances[0].score == pytest.approx(0.6)
    assert marked(again)["labeled-data/day1/img2.png"] == [("animal", "animal", [[10.5, 20.5], [-1, -1]])]
    # A second round keeps what it does not do again.
    better = predicted(id="animal", confidence=np.array([0.8, 0.7]))
    (tmp_path / "again").mkdir()
    path, beside = written(tmp_path / "again", again, record_of("labeled-data/day1/img2.png", better))
    assert [row[3:] for row in cells(path)[5:]] == [["29.75", "40.25"], ["", ""]]
    assert [row[3] for row in cells(beside)[3:]] == ["0.8000", "0.9000"]
    # What a person moves is annotated from then on.
    path.write_text(path.read_text(encoding="utf-8").replace("29.75", "29"), encoding="utf-8")
    moved = read_annotations(path, root)
    assert [one.predicted for image in moved.images for one in image.instances] == [False, False, False, True]


def test_predictions_take_the_first_individual_that_has_no_points(project: Project, tmp_path: Path) -> None:
    root = project({"day1": SEVERAL})
    known = read_annotations(root)
    corner = predicted("single", ("corner",))
    records = [
        record_of("labeled-data/day1/img1.png", predicted()),  # beside the annotated mus2
        record_of("labeled-data/day1/img2.png", predicted(), corner),
    ]
    path, _ = written(tmp_path, known, *records)
    assert cells(path)[4:] == [
        ["labeled-data", "day1", "img0.png", *"12345678"],
        ["labeled-data", "day1", "img1.png", "10.00", "20.00", "", "", "9", "10", "", ""],
        ["labeled-data", "day1", "img2.png", "10.00", "20.00", "", "", "", "", "10.00", "20.00"],
    ]
    again = read_annotations(path, root)
    assert [(one.id, one.predicted) for one in again.images[1].instances] == [("mus1", True), ("mus2", False)]
    # Of one animal, what a person annotated is not written over.
    root = project({"day1": ONE})
    path, beside = written(tmp_path, read_annotations(root), record_of("labeled-data/day1/img0.png", predicted()))
    assert cells(path)[3][1:] == ["1.25", "2", "30.0", "40"]
    assert len(cells(beside)) == 3


def test_a_project_of_several_videos_gets_a_table_for_each(project: Project, tmp_path: Path) -> None:
    root = project({"day1": ONE, "day2": ONE.replace("day1", "day2")})
    known = read_annotations(root)
    files = written(tmp_path, known, record_of("labeled-data/day2/img2.png", predicted()))
    assert [path.relative_to(tmp_path).as_posix() for path in files] == [
        "out.csv",
        "out.machinelabels.csv",
        "out.labeled-data/day1/CollectedData_me.csv",
        "out.labeled-data/day2/CollectedData_me.csv",
    ]
    assert cells(files[2]) == cells(root / "labeled-data" / "day1" / "CollectedData_me.csv")
    assert cells(files[3])[5] == ["labeled-data/day2/img2.png", "10.00", "20.00", "", ""]
    assert [row[0] for row in cells(files[0])[3:]] == [image.file for image in known.images]
    # None of them is written over unasked.
    output = TransferOutput(path=tmp_path / "other.csv", formats=("deeplabcut",))
    output.check(known.sources, known)
    files[3].rename(files[3].with_name("x"))
    files[2].parents[1].rename(tmp_path / "other.labeled-data")
    with pytest.raises(TransferError, match=r"other.labeled-data/day1/CollectedData_me.csv' exists"):
        output.check(known.sources, known)
    own = TransferOutput(path=root / "labeled-data/day1/CollectedData_me.csv", formats=("deeplabcut",), replace=True)
    with pytest.raises(TransferError, match="is read from and cannot be written to"):
        own.check(known.sources, known)


def test_a_scorer_cannot_lead_out_of_the_folder(project: Project, tmp_path: Path) -> None:
    text = ONE.replace("me", "../../me")
    known = read_annotations(project({"day1": text, "day2": text.replace("day1", "day2")}))
    files = written(tmp_path / "deep" / "down", known, record_of("labeled-data/day2/img2.png", predicted()))
    assert all(path.is_relative_to(tmp_path / "deep" / "down") for path in files)
    assert not any(".." in path.parts for path in files)


def other_format(tmp_path: Path, *categories: Category) -> Annotations:
    frames = tmp_path / "p" / "labeled-data" / "day1"
    cat, *more = categories
    first = [instance_of(cat, {"snout": (2, 3, 1)}, (0, 0, 9, 9), id=1)]
    first += [instance_of(one, {"snout": (4, 5.25, 2)}, id=2) for one in more]
    return Annotations(
        path=tmp_path / "a.json",
        categories={one.name: one for one in categories},
        images=[
            AnnotatedImage(file="a.png", path=frames / "a.png", instances=tuple(first)),
            AnnotatedImage(
                file="b.png", path=tmp_path / "b.png", instances=(instance_of(cat, {}, (1, 1, 5, 5), id=3),)
            ),
        ],
    )


def test_other_formats_become_tables_of_one_or_several_individuals(tmp_path: Path) -> None:
    cat = Category(id=1, name="cat", keypoints=("snout", "tail"))
    target = record_of("b.png", predicted("cat", box=(1.0, 1.0, 5.0, 5.0), id=3))
    path, _ = written(tmp_path, other_format(tmp_path, cat), target)
    assert cells(path) == [
        ["scorer", "", "", *["semcorr"] * 4],
        ["bodyparts", "", "", "snout", "snout", "tail", "tail"],
        ["coords", "", "", "x", "y", "x", "y"],
        ["labeled-data", "day1", "a.png", "1.5", "2.5", "", ""],
        ["", "", "b.png", "10.00", "20.00", "", ""],
    ]
    again = read_annotations(path)
    assert marked(again) == {
        "labeled-data/day1/a.png": [("animal", "animal", [[2, 3], [-1, -1]])],
        "b.png": [("animal", "animal", [[10.5, 20.5], [-1, -1]])],
    }
    dog = Category(id=2, name="dog", keypoints=("snout",))
    two = record_of("b.png", predicted("cat"), predicted("cat"))
    path, _ = written(tmp_path, other_format(tmp_path, cat, dog), two)
    assert cells(path)[1][3:] == [*["cat1"] * 4, *["cat2"] * 4, "dog", "dog"]
    assert cells(path)[4] == ["labeled-data", "day1", "a.png", "1.5", "2.5", *[""] * 6, "3.5", "4.75"]
    assert cells(path)[5][3:] == ["10.00", "20.00", "", "", "10.00", "20.00", *[""] * 4]
    assert [one.id for one in read_annotations(path).images[0].instances] == ["cat1", "dog"]


# The real one.


def test_the_real_one(photographs: Path) -> None:
    root = photographs / "mouse-open-field"
    table = root / "labeled-data" / "m4s1" / "CollectedData_Pranav.csv"
    annotations = read_annotations(root)
    names = ("snout", "leftear", "rightear", "tailbase")
    assert annotations.categories["animal"].keypoints == names
    rows = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()[3:]]
    assert len(rows) == len(annotations.images) == 116
    for row, image in zip(rows, annotations.images, strict=True):
        (instance,) = image.instances
        np.testing.assert_array_equal(instance.points, np.array(row[1:], dtype=float).reshape(4, 2) + 0.5)
        assert image.file == row[0]
        assert image.path == root / row[0]
        assert image.path.is_file()
        assert instance.annotated


def test_the_real_one_is_written_as_it_was(photographs: Path, tmp_path: Path) -> None:
    root = photographs / "mouse-open-field"
    path, _ = written(tmp_path, read_annotations(root))
    assert path.read_bytes() == (root / "labeled-data/m4s1/CollectedData_Pranav.csv").read_bytes()


def test_a_new_project_from_another_format(tmp_path: Path) -> None:
    rich = write_rich(tmp_path / "given")
    images = rich.parent / "images"
    done = convert_annotations(rich, tmp_path / "cats", format="deeplabcut", images=images)
    assert done.files == (tmp_path / "cats" / "config.yaml", tmp_path / "cats" / "labeled-data")
    again = read_annotations(tmp_path / "cats")
    assert [image.file for image in again.images] == [
        "labeled-data/day1/b.png",
        "labeled-data/frames/a.png",
        "labeled-data/frames/e.png",
    ]
    assert all(image.path.is_file() for image in again.images)
    category = again.categories["animal"]
    assert (category.keypoints, category.skeleton) == (("right ear", "left ear", "tail"), ((1, 3), (2, 3)))
    np.testing.assert_allclose(again.images[1].instances[0].points, [[20, 10], [50, 13], [60.75, 51.25]])
    assert [one.predicted for image in again.images for one in image.instances] == [True, False, False, False]
    # What DeepLabCut's own conversion reads the table with.
    table = tmp_path / "cats" / "labeled-data" / "frames" / "CollectedData_semcorr.csv"
    labels = pd.read_csv(table, header=[0, 1, 2, 3], index_col=[0, 1, 2])
    assert labels.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert labels.loc["labeled-data", "frames", "a.png"]["semcorr", "individual2", "tail", "y"] == 69.5
    config = yaml.safe_load(done.files[0].read_text(encoding="utf-8"))
    assert [Path(video).stem for video in config["video_sets"]] == ["frames", "day1"]
    with pytest.raises(SettingsError, match="labeled-data' exists"):
        convert_annotations(rich, tmp_path / "cats", format="deeplabcut", images=images, replace_existing=True)
