"""Exported files, read again by other means than wrote them."""

import csv
import dataclasses
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.app import changes, export
from semcorr.app.images import HeldImage
from semcorr.app.limits import Limits
from semcorr.app.view import summarize_warnings
from semcorr.app.workspace import DescribedPoint, FindResult, Match, Prediction, Workspace
from semcorr.errors import PointError
from semcorr.imaging.image import Image, load_image
from semcorr.keypoints import read_annotations
from semcorr.matchers.load import load_matcher
from semcorr.matchers.results import Matches, Query


def noise_image(width: int, height: int, name: str) -> Image:
    noise = np.random.default_rng(width).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return load_image(noise, name=name)


@pytest.fixture(scope="module")
def work() -> Workspace:
    """A result with known numbers; the query is a real one, so that it can be used again."""
    source, target = noise_image(64, 48, "a.png"), noise_image(50, 80, "a.png")
    points = ((10.5, 20.5), (3.25, 40.0))
    query = load_matcher("dift", "toy", samples=1).describe(source, np.array(points))
    matches = Matches(
        points=np.array([[5.5, 6.5], [40.0, 70.25]]),
        confidence=np.array([0.25, 0.75]),
        heatmaps=np.random.default_rng(0).random((2, 8, 8), dtype=np.float32),
        image_size=target.size,
        image_sha256=target.sha256,
        query_points=np.array(points),
    )
    made = changes.name_points(changes.new_workspace(source, dict(zip("ab", points, strict=True)), [target]), "=nose")
    (to,), prediction = made.target_ids, Prediction(image=target, matches=matches)
    outcome = FindResult(
        start=made,
        label="dift",
        described={one: DescribedPoint(query=query, index=at, label="dift") for at, one in enumerate(made.ids)},
        matches={(to, one): Match(prediction=prediction, index=at, label="dift") for at, one in enumerate(made.ids)},
    )
    return changes.correct(changes.merge(made, outcome)[0], 0, 1, 30.5, 60.5)


def test_the_csv_has_every_point_and_says_what_was_corrected(work: Workspace) -> None:
    rows = list(csv.DictReader(io.StringIO(export.export(work)["matches.csv"].decode())))
    assert [(row["image"], row["role"], row["point"]) for row in rows] == [
        ("a.png", "source", "1"),
        ("a.png", "source", "2"),
        ("a-2.png", "target", "1"),
        ("a-2.png", "target", "2"),
    ]
    assert [(float(row["x"]), float(row["y"])) for row in rows] == [(10.5, 20.5), (3.25, 40), (5.5, 6.5), (30.5, 60.5)]
    assert [row["corrected"] for row in rows] == ["", "", "no", "yes"]
    assert [row["semcorr"] for row in rows] == ["", "", "predicted", "accepted"]
    assert rows[2]["confidence"] == "0.2500"
    assert rows[3]["confidence"] == ""
    assert rows[2]["calibrated"] == "no"
    assert rows[0]["name"] == "'=nose"  # no spreadsheet takes it for a formula


def test_the_coco_file_counts_pixels_as_coco_does(work: Workspace, tmp_path: Path) -> None:
    data = export.export(work)["matches.coco.json"]
    document = json.loads(data)
    assert [image["file_name"] for image in document["images"]] == ["a.png", "a-2.png"]
    assert (document["images"][1]["width"], document["images"][1]["height"]) == (50, 80)
    # COCO's x names a pixel: the middle of the first one is 0.
    assert document["annotations"][0]["keypoints"] == [10, 20, 2, 2.75, 39.5, 2]
    assert document["annotations"][1]["keypoints"] == [5, 6, 2, 30, 60, 2]
    assert document["annotations"][1]["corrected"] == [2]
    assert document["annotations"][1]["calibration"] == "uncalibrated"
    assert document["annotations"][1]["confidence"] == [0.25, 0.75]
    (tmp_path / "matches.json").write_bytes(data)
    read = read_annotations(tmp_path / "matches.json")
    assert read.images[1].instances[0].points.tolist() == [[5.5, 6.5], [30.5, 60.5]]


def test_the_query_can_be_located_again_and_the_archive_holds_all(work: Workspace, tmp_path: Path) -> None:
    files = export.export(work)
    (tmp_path / "query.safetensors").write_bytes(files["query.safetensors"])
    query = Query.load(tmp_path / "query.safetensors")
    assert query.names == ("=nose", "2")
    matches = load_matcher("dift", "toy", samples=1).locate(query, work.targets[0])
    assert matches.points.shape == (2, 2)
    with zipfile.ZipFile(io.BytesIO(files["semcorr-matches.zip"])) as packed:
        assert set(packed.namelist()) == {"matches.csv", "matches.coco.json", "query.safetensors", "a-2-matches.png"}
        figure = PIL.Image.open(io.BytesIO(packed.read("a-2-matches.png")))
        assert figure.width > 500
    assert export.in_order(list(files))[0] == "semcorr-matches.zip"


def test_an_object_is_predicted_until_a_person_decided_on_every_point(work: Workspace, tmp_path: Path) -> None:
    def mark(changed: Workspace) -> tuple[object, object]:
        target = json.loads(export.export(changed)["matches.coco.json"])["annotations"][1]
        return target["semcorr"], target["accepted"]

    def supports(changed: Workspace) -> list[bool]:
        (tmp_path / "matches.json").write_bytes(export.export(changed)["matches.coco.json"])
        read = read_annotations(tmp_path / "matches.json").images
        return [instance.annotated for one in read for instance in one.instances]

    assert mark(work) == ({"predicted": True}, [])
    assert supports(work) == [True, False]
    accepted = changes.accept(work, None)
    assert mark(accepted) == ({"accepted": True}, [1])
    assert supports(accepted) == [True, True]
    rows = list(csv.DictReader(io.StringIO(export.export(accepted)["matches.csv"].decode())))
    assert [(row["corrected"], row["semcorr"]) for row in rows[2:]] == [("no", "accepted"), ("yes", "accepted")]


def test_missing_and_outdated_points_are_left_out_and_counted(work: Workspace, tmp_path: Path) -> None:
    more = changes.add_point(work, 7.5, 8.5, Limits())
    moved = changes.move_point(more, 0, 1.5, 2.5)
    assert (export.count_left_out(work), export.count_left_out(more), export.count_left_out(moved)) == (0, 1, 2)
    files = export.export(moved)
    rows = list(csv.DictReader(io.StringIO(files["matches.csv"].decode())))
    assert [(row["role"], row["point"]) for row in rows] == [
        ("source", "1"),
        ("source", "2"),
        ("source", "3"),
        ("target", "2"),
    ]
    target = json.loads(files["matches.coco.json"])["annotations"][1]
    assert target["keypoints"] == [0, 0, 0, 30, 60, 2, 0, 0, 0]
    assert target["num_keypoints"] == 1
    assert target["semcorr"] == {"accepted": True}
    (tmp_path / "query.safetensors").write_bytes(files["query.safetensors"])
    assert Query.load(tmp_path / "query.safetensors").points.tolist() == [[3.25, 40.0]]


def test_points_described_at_different_times_come_as_one_query(work: Workspace, tmp_path: Path) -> None:
    assert work.source is not None
    more = changes.add_point(work, 30.5, 8.5, Limits())
    new = load_matcher("dift", "toy", samples=1).describe(work.source, np.array([(30.5, 8.5)]))
    both = dataclasses.replace(
        more, described={more.ids[2]: DescribedPoint(query=new, index=0, label="dift"), **more.described}
    )
    files = export.query_files(both)
    assert list(files) == ["query.safetensors"]
    (tmp_path / "query.safetensors").write_bytes(files["query.safetensors"])
    query = Query.load(tmp_path / "query.safetensors")
    assert query.points.tolist() == [[10.5, 20.5], [3.25, 40.0], [30.5, 8.5]]
    together = load_matcher("dift", "toy", samples=1).describe(work.source, query.points.copy())
    for name, tensor in together.tensors.items():
        np.testing.assert_allclose(query.tensors[name], tensor, rtol=1e-4, atol=1e-5)
    other = load_matcher("dift", "toy", samples=2).describe(work.source, np.array([(30.5, 8.5)]))
    apart = dataclasses.replace(
        more, described={**more.described, more.ids[2]: DescribedPoint(query=other, index=0, label="x")}
    )
    assert list(export.query_files(apart)) == ["query-1.safetensors", "query-2.safetensors"]


def test_a_location_that_only_a_person_gave_is_exported(work: Workspace) -> None:
    blank = dataclasses.replace(work, described={}, matches={}, decisions={})
    document = json.loads(export.export(changes.correct(blank, 0, 0, 7.5, 8.5))["matches.coco.json"])
    assert document["annotations"][1]["keypoints"] == [7, 8, 2, 0, 0, 0]
    assert document["annotations"][1]["confidence"] == [None, None]


def test_numbers_are_in_pixels_of_the_images_that_were_sent(work: Workspace, tmp_path: Path) -> None:
    """A source of 640 × 144 and a target of 100 × 80 pixels, held as what they are in ``work``."""
    assert work.source is not None
    source = HeldImage(pixels=work.source.pixels, name="a.png", original=(640, 144))
    target = HeldImage(pixels=work.targets[0].pixels, name="b.png", original=(100, 80))
    files = export.export(dataclasses.replace(work, source=source, targets=(target,)))
    rows = list(csv.DictReader(io.StringIO(files["matches.csv"].decode())))
    assert [(float(row["x"]), float(row["y"])) for row in rows] == [(105, 61.5), (32.5, 120), (11, 6.5), (61, 60.5)]
    document = json.loads(files["matches.coco.json"])
    assert [(one["width"], one["height"]) for one in document["images"]] == [(640, 144), (100, 80)]
    assert document["annotations"][1]["keypoints"] == [10.5, 6, 2, 60.5, 60, 2]
    (tmp_path / "query.safetensors").write_bytes(files["query.safetensors"])
    query = Query.load(tmp_path / "query.safetensors")
    assert (query.image_size, query.points.tolist()) == ((640, 144), [[105, 61.5], [32.5, 120]])


def test_an_empty_export_is_refused(work: Workspace) -> None:
    with pytest.raises(PointError, match="press Find first"):
        export.export(changes.clear_points(work))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("..\\..\\evil.png", "_.._evil.png"),
        ("../../evil.png", "evil.png"),
        ("C:evil.png", "C_evil.png"),
        ("a\nb.png", "a_b.png"),
        ("..", "image"),
    ],
)
def test_names_in_the_archive_lead_nowhere(work: Workspace, name: str, kept: str) -> None:
    strange = dataclasses.replace(work, source=noise_image(64, 48, name))
    assert export.image_names(strange)[0] == kept
    packed = zipfile.ZipFile(io.BytesIO(export.export(strange)["semcorr-matches.zip"])).namelist()
    assert not any(set(one) & set("\\/:\n") or one.startswith("..") for one in packed)


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "\t=", "\r=", "\n=", " ="])
def test_no_name_is_a_formula(work: Workspace, first: str) -> None:
    named = dataclasses.replace(work, names=(f"{first}1+1", "a\r=2+2\n=3+3"))
    text = export.csv_file(named).decode()
    assert "\r" not in text
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == 5
    assert rows[1][3] == f"'{first.strip()}1+1"
    assert rows[2][3] == "a =2+2 =3+3"


def test_the_page_shows_the_warnings_of_a_result() -> None:
    assert summarize_warnings(()) == ""
    message = summarize_warnings(("described in float32, because float16 overflowed",))
    assert message == "1 warning: described in float32, because float16 overflowed."
