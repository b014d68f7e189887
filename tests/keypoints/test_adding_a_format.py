"""A new annotation format is one file with an AnnotationFormat and one line in the table of formats."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from keypoints import json_lines
from semcorr.errors import DatasetError, SettingsError
from semcorr.keypoints import TransferRecord, read_annotations
from semcorr.keypoints.formats import FORMATS
from semcorr.transfer import export

CAT = '{"image": "a.png", "category": "cat", "points": {"ear": [1, 2], "tail": [3.5, 4], "paw": [5, 6]}}\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "points.jsonl"
    path.write_text(CAT, encoding="utf-8")
    return path


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    # The line in semcorr/keypoints/formats.py that the format takes.
    monkeypatch.setitem(FORMATS, json_lines.FORMAT.name, json_lines.FORMAT)


def test_an_unknown_format_is_refused_with_those_that_are_known(file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"expected COCO or Label Studio or labelme \(\.json\), .* or a table \(\.csv\), got"
    ):
        read_annotations(file)
    with pytest.raises(
        SettingsError, match=r"'json-lines'.* Known: coco, label-studio, cvat, dlib, yolo-pose, sleap, deeplabcut, csv"
    ):
        export.paths_of(tmp_path / "out.jsonl", ["json-lines"])


def test_a_new_format_is_read_by_its_suffix(file: Path, added: None) -> None:
    annotations = read_annotations(file)
    assert (annotations.format, annotations.categories["cat"].keypoints) == ("json-lines", ("ear", "tail", "paw"))
    (cat,) = annotations.images[0].instances
    np.testing.assert_array_equal(cat.points, [[1, 2], [3.5, 4], [5, 6]])
    with pytest.raises(DatasetError, match=r"JSON lines \(\.jsonl\), got"):
        read_annotations(file.with_suffix(".txt"))


def test_a_new_format_is_an_output_of_a_transfer(
    file: Path, added: None, tmp_path: Path, record: Callable[..., TransferRecord]
) -> None:
    paths = export.paths_of(tmp_path / "out.json", ["coco", "json-lines"])
    assert paths == {"coco": tmp_path / "out.json", "json-lines": tmp_path / "out.json-lines.jsonl"}
    known = read_annotations(file)
    (path,) = export.write("json-lines", paths["json-lines"], known, lambda: [record()], min_confidence=0.5, info={})
    assert [json.loads(line)["image"] for line in path.read_text(encoding="utf-8").splitlines()] == ["a.png", "b.png"]
    again = read_annotations(path)
    assert [one.predicted for image in again.images for one in image.instances] == [False, True]
    np.testing.assert_array_equal(again.images[1].instances[0].points, [[10.5, 20.5], [np.nan] * 2, [np.nan] * 2])
