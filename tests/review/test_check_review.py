"""``semcorr check --review``: what is on the page, what a person makes of it, and how the command ends."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from review.files import AGAIN, EARS, NOSE, OUTSIDE, REVERSED, TWICE, Client
from semcorr.cli.main import main
from semcorr.errors import ReviewError
from semcorr.keypoints.check import check_annotations
from semcorr.review.objects import State
from semcorr.review.review import Review


def opened(path: Path, **options: Any) -> Review:
    return Review(path, findings=check_annotations(path).findings, **options)


def annotation(path: Path, number: int) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    (one,) = [one for one in content["annotations"] if one["id"] == number]
    return one


def reordered(one: dict[str, Any], order: Sequence[int]) -> dict[str, Any]:
    points = one["state"]["points"]
    return {"points": [[*points[row][:3], "placed"] for row in order]}


def test_what_is_listed_is_there_with_its_reasons_the_most_suspicious_first(check_client: Client, faulty: Path) -> None:
    about = check_client.ask("/api/about")[1]
    assert (about["check"], about["again"], about["counts"]) == (True, False, {"open": 5})
    names = about["categories"][0]["keypoints"]
    left, right, nose, eye = map(names.index, ("left ear", "right ear", "nose", "left eye"))
    assert about["categories"][0]["mirrored"][left] == right
    listed = check_client.ask("/api/list")[1]["numbers"]
    objects = {one["file"]: one for one in map(check_client.object, listed)}
    suspicions = [check_client.object(number)["reasons"][0]["suspicion"] for number in listed]
    assert suspicions == sorted(suspicions, reverse=True)
    assert check_client.ask("/api/list?order=confident")[1]["numbers"][-1] in listed[:2]
    by_number = {number: objects[f"face-{number + 1:04}.png"] for number in (EARS, NOSE, REVERSED, OUTSIDE, TWICE)}
    assert len(objects) == len(by_number)
    assert all(
        one["annotated"] and {point[3] for point in one["state"]["points"]} == {"annotated"} for one in objects.values()
    )
    (ears,), (nose_moved,) = by_number[EARS]["reasons"], by_number[NOSE]["reasons"]
    assert (ears["kind"], set(ears["points"])) == ("exchanged", {left, right})
    assert [ears["exchange"][row] for row in (left, right, nose)] == [right, left, nose]
    assert (nose_moved["kind"], nose_moved["points"][0], nose_moved["exchange"]) == ("far", nose, None)
    assert by_number[REVERSED]["reasons"][0]["exchange"] == list(range(len(names)))[::-1]
    assert (by_number[OUTSIDE]["reasons"][0]["kind"], by_number[OUTSIDE]["reasons"][0]["points"]) == ("outside", [eye])
    # Of what is there twice the second is listed, and it is alone: what nobody suspects is not decided on with it.
    assert by_number[TWICE]["reasons"][0]["reason"].startswith("it is the same object as object")
    assert by_number[TWICE]["beside"] == [by_number[TWICE]["number"]]
    # Examples are such that nothing is listed about.
    sources = check_client.ask(f"/api/sources?number={listed[0]}")[1]
    assert not sources["recorded"]
    assert {one["file"] for one in sources["sources"]}.isdisjoint({*objects} - {by_number[TWICE]["file"]})
    assert check_client.ask("/api/again")[0] == check_client.ask("/api/again", {"below": 1})[0] == 404
    assert check_client.ask("/api/objects?numbers=0,1")[1] == {"objects": []}


def test_corrections_are_journaled_and_written_beside_the_input(check_client: Client, faulty: Path) -> None:
    before, right = faulty.read_bytes(), faulty.with_name("right.json")
    for number in (EARS, REVERSED):
        one = check_client.object(number)
        assert check_client.change(number, 0, **reordered(one, one["reasons"][0]["exchange"]))[0] == 200
        # It stays open until a person accepts it.
        assert check_client.object(number)["state"]["decision"] == "open"
    assert check_client.change(TWICE + 1, 0, decision="rejected")[0] == 200
    assert check_client.change(OUTSIDE, 0, decision="accepted")[0] == 200
    points = check_client.object(NOSE)["state"]["points"]
    assert check_client.change(NOSE, 0, points=[[1000.0, 5.0, 2, "placed"], *points[1:]])[0] == 422
    status, answer, _ = check_client.ask("/api/write", {})
    assert (status, answer["files"]) == (200, [str(faulty.with_name("annotations.corrected.json"))])
    assert faulty.read_bytes() == before
    output = Path(answer["files"][0])
    now, was = (json.loads(path.read_text(encoding="utf-8")) for path in (output, faulty))
    expected = json.loads(right.read_text(encoding="utf-8"))["annotations"]
    # Two are put right, one is taken out, and all others are as they were: that which is right as it is as well.
    for number in (NOSE, OUTSIDE):
        expected[number] = was["annotations"][number]
    assert now == {**was, "annotations": expected}


def test_a_review_goes_on_whatever_is_listed(faulty: Path) -> None:
    """Objects have the numbers of the file, so corrections belong to them whatever a later check lists."""
    with opened(faulty).open() as review:
        one = review.by_number[NOSE]
        review.change({NOSE: State(**{**one.state.model_dump(), "decision": "rejected"})}, {NOSE: 0})
    findings = [one for one in check_annotations(faulty).findings if one.kind == "exchanged"]
    with Review(faulty, findings=findings).open() as review:
        assert {one.number for one in review.objects} == {EARS, REVERSED}
        assert review.all_objects[NOSE].state.decision == "rejected"
        (output,) = review.write()
    ids = {one["id"] for one in json.loads(output.read_text(encoding="utf-8"))["annotations"]}
    assert {one["id"] for one in json.loads(faulty.read_text(encoding="utf-8"))["annotations"]} - ids == {NOSE + 1}


def test_predictions_and_annotations_of_a_file_have_one_review(predictions: Path) -> None:
    """What is corrected among the annotated objects is written with what is corrected among the predicted ones."""
    content = json.loads(predictions.read_text(encoding="utf-8"))
    content["annotations"][0]["keypoints"][0] = 200
    predictions.write_text(json.dumps(content), encoding="utf-8")
    with opened(predictions).open() as review:
        (one,) = [one for one in review.objects if not one.instance.predicted]
        points = ((30.5, 12.5, 2, "placed"), *one.state.points[1:])
        review.change({one.number: State(**{**one.state.model_dump(), "points": points})}, {one.number: 0})
    with Review(predictions).open() as review:
        assert [one.number for one in review.objects] == [0, 1, 2, 3, 4]
        review.change({0: State(**{**review.objects[0].state.model_dump(), "decision": "accepted"})}, {0: 0})
        (output,) = review.write()
    assert annotation(output, 1)["keypoints"] == [30, 12, 2, *content["annotations"][0]["keypoints"][3:]]
    assert annotation(output, 2)["semcorr"]["accepted"]


def test_the_command_writes_without_a_page(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(faulty).open() as review:
        one = review.by_number[TWICE + 1]
        review.change({one.number: State(**{**one.state.model_dump(), "decision": "rejected"})}, {one.number: 0})
    output = faulty.with_name("mine.json")
    assert main(["check", str(faulty), "--review", "--write", "-o", str(output)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("1.00  ")
    assert f"Written: {output}" in printed.replace("\n", "")
    assert AGAIN not in {one["id"] for one in json.loads(output.read_text(encoding="utf-8"))["annotations"]}
    before = faulty.read_bytes()
    assert main(["check", str(faulty), "--review", "--write", "-o", str(faulty)]) == 2
    assert "is read from and cannot be written to" in capsys.readouterr().err
    assert main(["check", str(faulty), "-o", str(output)]) == 2
    assert "Add --review" in capsys.readouterr().err
    assert faulty.read_bytes() == before


def test_without_anything_to_correct_no_page_opens(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(faulty.with_name("right.json").read_text(encoding="utf-8"))
    del content["annotations"][1:], content["images"][1:]
    faulty.write_text(json.dumps(content), encoding="utf-8")
    assert main(["check", str(faulty), "--review"]) == 0
    assert capsys.readouterr().out.endswith("nothing is suspicious.\n")
    with pytest.raises(ReviewError, match="Expected entries of a check about objects"):
        opened(faulty)
    # What is about a category alone cannot be corrected here.
    known = content["categories"][0]["keypoints"]
    content["categories"].append({"id": 8, "name": "turned", "keypoints": known[::-1]})
    faulty.write_text(json.dumps(content), encoding="utf-8")
    assert main(["check", str(faulty), "--review"]) == 1
    assert "there is nothing to correct on a page" in capsys.readouterr().out.replace("\n", " ")
    assert not faulty.with_name("annotations.json.review").exists()


def test_what_is_listed_about_an_image_is_about_its_objects(faulty: Path) -> None:
    content = json.loads(faulty.read_text(encoding="utf-8"))
    content["images"][5]["width"] = 300
    faulty.write_text(json.dumps(content), encoding="utf-8")
    review = opened(faulty)
    (one,) = [one for one in review.objects if review.image_of(one).file == "face-0006.png"]
    assert review.reasons[one.number][0].kind == "size"
