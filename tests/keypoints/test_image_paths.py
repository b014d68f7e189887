"""Names of images from other machines and systems lead to the files that they mean, and nowhere else."""

import json
import os
import time
import unicodedata
from pathlib import Path

import pytest

from semcorr.errors import DatasetError
from semcorr.keypoints import read_annotations
from semcorr.keypoints.file_reader import DataFolder
from semcorr.keypoints.image_paths import ImagePaths

NFC = unicodedata.normalize("NFC", "café-été.png")
NFD = unicodedata.normalize("NFD", "café-été.png")


def tree(root: Path, *files: str) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def paths(root: Path, images: str | None = "images") -> ImagePaths:
    folder = DataFolder(root=root, title="Annotations", advice="Correct the file.")
    return ImagePaths(folder, None if images is None else root / images)


@pytest.mark.parametrize(
    "name",
    [
        "day1/a.png",
        "./day1//a.png",
        "day1\\a.png",
        "images\\day1\\a.png",
        "images/day1/a.png",
        "other/../day1/a.png",
        "..\\..\\media\\upload\\day1\\a.png",
        "../../media/upload/4/day1/a.png",
        "C:\\Users\\me\\data\\day1\\a.png",
        "c:/data/day1/a.png",
        "\\\\server\\share\\day1\\a.png",
        "/home/me/data/day1/a.png",
        "file:///home/me/day1/a.png",
        "file://server/share/day1/a.png",
        "file:///C:/data/day1/a.png",
        "FILE:///C:\\data\\day1\\a.png",
        "file:day1/a.png",
        "s3://bucket/day1/a.png",
        "https://host.example/data/day1/a.png?token=1#top",
        "DAY1/A.PNG",
        "C:\\DATA\\DAY1\\a.png",
    ],
)
@pytest.mark.parametrize("images", ["images", None])
def test_the_longest_end_of_a_name_leads_to_the_file(tmp_path: Path, name: str, images: str | None) -> None:
    tree(tmp_path, "images/day1/a.png", "images/day2/a.png", "images/day2/b.png")
    assert paths(tmp_path, images).find(name) == tmp_path / "images" / "day1" / "a.png"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("C:\\x\\y\\a.png", "sub/a.png"),
        ("a.png", "sub/a.png"),
        ("file:///x/with%20blank%20%231.png", "with blank #1.png"),
        ("file:///x/raw%20name.png", "raw%20name.png"),
        ("file:///x/raw name #2?.png", "raw name #2?.png"),
        (NFC, NFD),
        (f"C:\\data\\{NFC.upper()}", NFD),
        ("a:b.png", "a:b.png"),
        ("zip/b.png", "zip\\b.png"),
    ],
)
def test_a_bare_name_is_searched_below_the_folder(tmp_path: Path, name: str, file: str) -> None:
    tree(tmp_path / "images", file, "sub/other.png")
    assert paths(tmp_path).find(name) == tmp_path / "images" / file


def test_what_is_not_there_is_said_to_be_missing_inside_the_folder(tmp_path: Path) -> None:
    tree(tmp_path, "images/a.png", "secret.png", "elsewhere/secret2.png")
    find = paths(tmp_path / "annotations").find
    (tmp_path / "annotations").mkdir()
    inside = tmp_path / "annotations" / "images"
    for name in ("../secret.png", "..\\..\\secret.png", str(tmp_path / "secret.png"), f"file://{tmp_path}/secret.png"):
        path = find(name)
        assert path.is_relative_to(inside), name
        assert ".." not in path.parts
        assert not path.exists()
    assert find("a/../../elsewhere/secret2.png") == inside / "elsewhere" / "secret2.png"


def test_a_link_to_another_folder_is_not_searched(tmp_path: Path) -> None:
    tree(tmp_path, "outside/a.png", "images/b.png")
    (tmp_path / "images" / "link").symlink_to(tmp_path / "outside")
    assert not paths(tmp_path).find("C:\\data\\a.png").exists()
    assert paths(tmp_path).find("link/a.png").is_file()  # by its own path it is what the user has put there


def test_several_files_that_fit_are_refused_by_name(tmp_path: Path) -> None:
    tree(tmp_path / "images", "day1/a.png", "day2/a.png")
    for name in ("C:\\data\\a.png", "a.png", "/x/day3/a.png", "A.png"):
        with pytest.raises(DatasetError, match=r"got 2 that fit equally well: .*day1/a\.png', '.*day2/a\.png'"):
            paths(tmp_path).find(name)


def test_a_file_in_the_folder_that_the_name_says_is_missing_and_no_other_is_taken(tmp_path: Path) -> None:
    tree(tmp_path / "images", "day1/a.png", "day2/b.png", "day3/a.png")
    assert paths(tmp_path).find("day2/a.png") == tmp_path / "images" / "day2" / "a.png"
    assert not paths(tmp_path).find("C:\\data\\day2\\a.png").exists()


def test_the_exact_name_comes_before_other_forms(tmp_path: Path) -> None:
    tree(tmp_path / "images", "sub/a.png", "sub/A.png", f"sub/{NFC}", f"sub/{NFD}")
    find = paths(tmp_path).find
    for name in ("a.png", "A.png", NFC, NFD):
        assert find(name).name == name
    with pytest.raises(DatasetError, match="2 that fit equally well"):
        find("a.PNG")


@pytest.mark.parametrize(
    "names",
    [
        ("C:\\one\\a.png", "C:\\two\\a.png"),
        ("a.png", "./a.png"),
        ("a.png", "A.PNG"),
        ("a.png", "images\\a.png"),
        ("a.png", "link.png"),
    ],
)
def test_two_names_of_one_file_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    tree(tmp_path / "images", "a.png")
    (tmp_path / "images" / "link.png").symlink_to("a.png")
    with pytest.raises(DatasetError, match="a file of its own for every image") as caught:
        paths(tmp_path).find_all(names)
    assert all(repr(name) in str(caught.value) for name in names)


def test_a_file_that_belongs_to_its_own_name_is_nobody_elses(tmp_path: Path) -> None:
    tree(tmp_path / "images", "day1/a.png")
    both = paths(tmp_path).find_all(["day2/a.png", "day1/a.png"])
    assert both["day1/a.png"] == tmp_path / "images" / "day1" / "a.png"
    assert both["day2/a.png"] == tmp_path / "images" / "day2" / "a.png"  # not there
    alone = paths(tmp_path)
    assert alone.find("day2/a.png") == tmp_path / "images" / "day1" / "a.png"
    assert alone.notes == (
        f"image files that are in other folders than their names say: 1, such as 'day2/a.png', which is "
        f"{str(tmp_path / 'images' / 'day1' / 'a.png')!r}",
    )


def test_names_in_another_form_are_noted(tmp_path: Path) -> None:
    tree(tmp_path / "images", "a.png", NFD, "c.png")
    searched = paths(tmp_path)
    searched.find_all(["A.png", NFC, "c.png"])
    assert len(searched.notes) == 1
    assert searched.notes[0].startswith(
        "image names that differ from the file's in case or Unicode normal form: 2, such as 'A.png'"
    )


@pytest.mark.parametrize("name", ["", ".", "..", "/", "\\", "C:\\", "a\0b.png", "file://"])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="expected images by their names"):
        paths(tmp_path, None).find(name)


def test_several_possible_paths_are_tried_in_order(tmp_path: Path) -> None:
    tree(tmp_path / "images", "day2/a.png")
    located = paths(tmp_path).find_all(["x"], possible_paths=lambda name: ["day2/0123abcd-a.png", "day2/a.png"])
    assert located == {"x": tmp_path / "images" / "day2" / "a.png"}


@pytest.mark.parametrize("name", ["x" * 300, "\ud800.png", "a/" * 3000 + "b.png"])
def test_names_that_no_system_has_are_missing_files(tmp_path: Path, name: str) -> None:
    tree(tmp_path / "images", "a.png")
    assert paths(tmp_path).find(name).parts[-1] == name.split("/")[-1]


def test_beside_the_annotations_ends_of_names_are_tried(tmp_path: Path) -> None:
    tree(tmp_path, "named/b.png", "images/a.png", "c.png")
    find = paths(tmp_path, "named").find
    assert find("C:\\data\\a.png") == tmp_path / "images" / "a.png"
    assert find("/data/c.png") == tmp_path / "c.png"


@pytest.mark.slow
def test_many_files_are_indexed_fast(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / "images" / f"d{number}").mkdir(parents=True)
        for one in range(500):
            (tmp_path / "images" / f"d{number}" / f"{number}-{one}.png").touch()
    start = time.perf_counter()
    located = paths(tmp_path).find_all([f"C:\\data\\{number}-{one}.png" for number in range(20) for one in range(500)])
    assert time.perf_counter() - start < 30  # a search for each name would take an hour
    assert all(path.is_file() for path in located.values())


def test_a_huge_folder_that_nobody_named_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.png", "b.png", "c.png")
    monkeypatch.setattr("semcorr.keypoints.image_paths._MOST_FILES", 2)
    with pytest.raises(DatasetError, match="more than 2 files to search: name the images' own folder"):
        paths(tmp_path, None).find("d.png")
    assert not paths(tmp_path, ".").find("d.png").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has its own absolute paths")
def test_annotation_files_with_names_of_windows_are_read(tmp_path: Path) -> None:
    tree(tmp_path, "images/a.png")
    file = tmp_path / "points.csv"
    file.write_text("image,name,x,y\nC:\\data\\a.png,nose,1,2\n", encoding="utf-8")
    (image,) = read_annotations(file, tmp_path / "images").images
    assert (image.file, image.path) == ("C:\\data\\a.png", tmp_path / "images" / "a.png")
    document = {
        "images": [{"id": 1, "file_name": "..\\up\\a.png"}],
        "categories": [{"id": 1, "name": "cat", "keypoints": ["nose"]}],
    }
    coco = tmp_path / "a.json"
    coco.write_text(json.dumps(document), encoding="utf-8")
    assert read_annotations(coco, tmp_path / "images").images[0].path == tmp_path / "images" / "a.png"
