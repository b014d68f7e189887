"""What a person makes of predicted objects: rules of states, the journal, and the file that is written."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keypoints import json_lines
from review.files import ANNOTATED, write_coco
from semcorr.errors import ReviewError, RunError
from semcorr.keypoints import read_annotations
from semcorr.keypoints.formats import FORMATS
from semcorr.review.objects import State
from semcorr.review.review import Review, StaleChangeError


def changed(review: Review, number: int, **changes: Any) -> None:
    one = review.objects[number]
    review.change({number: State(**{**one.state.model_dump(), **changes})}, {number: one.revision})


def written(review: Review) -> dict[str, Any]:
    (path,) = review.write()
    return json.loads(path.read_text(encoding="utf-8"))


def annotation(document: dict[str, Any], number: int) -> dict[str, Any] | None:
    return next((one for one in document["annotations"] if one["id"] == number), None)


def test_the_most_doubtful_come_first_and_filters(predictions: Path) -> None:
    with Review(predictions).open() as review:
        assert review.listed() == [0, 1, 2, 3, 4]  # scores rise with the images
        assert review.listed(order="confident") == [4, 3, 2, 1, 0]
        changed(review, 3, decision="accepted")
        assert review.listed(decision="open") == [0, 1, 2, 4]
        assert review.listed(decision="accepted", category="cat") == [3]
        assert review.listed(category="dog") == []
        assert review.listed(name="4.PN") == [2]
        assert review.counts() == {"open": 4, "accepted": 1}
        assert [image.file for image, _ in review.sources["cat"]] == ["1.png"]
        assert review.has_sources


def test_accepted_points_are_the_persons_and_all_else_stays(predictions: Path) -> None:
    before = json.loads(predictions.read_text(encoding="utf-8"))
    with Review(predictions).open() as review:
        changed(review, 0, decision="accepted")
        document = written(review)
    assert annotation(document, 1) == ANNOTATED
    assert {key: document[key] for key in ("info", "semcorr", "images", "categories")} == {
        key: before[key] for key in ("info", "semcorr", "images", "categories")
    }
    one, old = annotation(document, 2), annotation(before, 2)
    assert one is not None
    assert old is not None
    # All points count as they are shown, those of little confidence too; what was predicted stays to be read.
    assert one["keypoints"] == [20, 15, 2, 50, 30, 2, 40, 45, 2]
    assert one["num_keypoints"] == 3
    assert one["bbox"] == [20.5, 15.5, 30, 30]
    votes = [[0.75], [0.5], [None]]
    assert one["semcorr"] == {"predicted": True, "accepted": True, "points": ["accepted"] * 3, "votes": votes}
    assert (one["keypoints_found"], one["score"]) == (old["keypoints_found"], old["score"])
    # Objects that nobody touched are as they were.
    assert [annotation(document, number) for number in (3, 4, 5, 6)] == [annotation(before, n) for n in (3, 4, 5, 6)]
    again = read_annotations(predictions.with_name("found.corrected.json"))
    assert [image.annotated for image in again.images] == [True, True, False, False, False, False]


def test_points_of_a_person_in_an_open_object_are_distinguished_and_come_back(
    predictions: Path, tmp_path: Path
) -> None:
    output = predictions.with_name("mine.json")
    with Review(predictions, output=output).open() as review:
        ear = review.objects[4].state.points[0]
        changed(review, 4, points=(ear, (70.0, 10.0, 1, "placed"), None))
        changed(review, 3, decision="accepted", points=((1.5, 2.5, 2, "placed"), *review.objects[3].state.points[1:]))
        document = written(review)
    one = annotation(document, 5)
    assert one is not None
    assert one["bbox"] == [1.5, 2.5, 49, 43]  # around the points as they are now
    one = annotation(document, 6)
    assert one is not None
    assert one["bbox"] == [20.5, 10, 49.5, 5.5]
    assert one["keypoints"] == [20, 15, 2, 69.5, 9.5, 1, 0, 0, 0]
    assert one["semcorr"] == {"predicted": True, "points": ["predicted", "placed", None]}
    assert one["keypoints_found"][6:] == [None, None, 0.0]
    with Review(output).open() as review:
        assert [one.instance.id for one in review.objects] == [2, 3, 4, 6]
        (again,) = [one for one in review.objects if one.instance.id == 6]
        assert again.state.points == (ear, (70.0, 10.0, 1, "placed"), None)


def test_of_a_rejected_object_its_own_box_stays(predictions: Path) -> None:
    with Review(predictions).open() as review:
        changed(review, 1, decision="rejected")
        changed(review, 2, decision="rejected")
        document = written(review)
    one = annotation(document, 3)
    assert one is not None
    assert (one["keypoints"], one["bbox"], "semcorr" in one, "score" in one) == ([0] * 9, [5, 5, 70, 50], False, False)
    assert annotation(document, 4) is None


def test_another_category_keeps_points_of_the_same_names(predictions: Path) -> None:
    with Review(predictions).open() as review:
        ear = review.objects[4].state.points[0]
        changed(review, 4, category="dog", points=(ear, None))
        one = annotation(written(review), 6)
    assert one is not None
    assert (one["category_id"], one["keypoints"]) == (8, [20, 15, 2, 0, 0, 0])
    assert one["keypoints_found"] == [20, 15, 0.9, None, None, 0.0]


def test_what_follows_from_a_change(predictions: Path) -> None:
    with Review(predictions).open() as review:
        ear, tail, paw = review.objects[0].state.points
        assert [point and point[2:] for point in (ear, tail, paw)] == [(0, "predicted")] * 3
        # A moved point is no longer the program's, whatever a page says; one that a person accepted is marked.
        changed(review, 0, points=((21.0, 15.5, 2, "predicted"), (*tail[:2], 0, "accepted"), paw))
        assert review.objects[0].state.points == ((21.0, 15.5, 2, "placed"), (50.5, 30.5, 2, "accepted"), paw)
        assert review.objects[0].state.decision == "open"
        # Once every point is a person's, the object is accepted; without points it is rejected.
        changed(review, 0, points=(*review.objects[0].state.points[:2], None))
        assert review.objects[0].state.decision == "accepted"
        changed(review, 0, points=(None, None, None))
        assert review.objects[0].state.decision == "rejected"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": (None,)}, "Expected 3 points of 'cat', got 1"),
        ({"points": (None, (80.5, 3.0, 2, "placed"), None)}, "Expected 'tail' inside the image of 80 x 60"),
        ({"category": "cow"}, "Expected a category of this file, got 'cow'"),
    ],
)
def test_states_that_do_not_fit_are_refused(predictions: Path, changes: dict[str, Any], message: str) -> None:
    with Review(predictions).open() as review:
        with pytest.raises(ReviewError, match=message):
            changed(review, 0, **changes)
        with pytest.raises(ReviewError, match="Expected the number of an object under review, got 5"):
            review.change({5: review.objects[0].state}, {5: 0})
        assert review.revision == 0


def test_a_restart_has_all_that_was_answered(predictions: Path) -> None:
    with Review(predictions).open() as review:
        changed(review, 0, decision="accepted")
        changed(review, 0, decision="rejected")
        changed(review, 2, decision="accepted")
        review.write()
    records = predictions.with_name("found.json.review") / "records"
    with (records / "1-of-1.0.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"revision":5,"changes":[{"number":3,"sta')  # cut short by a kill
    with Review(predictions).open() as review:
        assert [one.state.decision for one in review.objects] == ["rejected", "open", "accepted", "open", "open"]
        changed(review, 3, decision="accepted")
        review.write()  # its own output may be written over
    with Review(predictions).open() as review:
        assert review.objects[3].state.decision == "accepted"


def test_a_change_on_an_old_state_is_refused(predictions: Path) -> None:
    with Review(predictions).open() as review:
        state = review.objects[0].state
        changed(review, 0, decision="accepted")
        with pytest.raises(StaleChangeError, match="in another window"):
            review.change({0: state}, {0: 0})
        assert review.objects[0].state.decision == "accepted"
        assert [one.number for one in review.changed_since(0)[1]] == [0]
        assert review.changed_since(1) == (1, [])


def test_a_full_disk_changes_nothing_and_spoils_no_later_line(
    predictions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Review(predictions).open() as review:
        changed(review, 0, decision="accepted")
        half, real = [], Path.open

        def full(path: Path, *arguments: Any, **options: Any) -> Any:
            if path.suffix == ".jsonl" and not half:
                half.append(path)
                with real(path, "ab") as file:
                    file.write(b'{"revision":2,"chan')
                raise OSError(28, "No space left on device")
            return real(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", full)
        with pytest.raises(RunError, match="No space left"):
            changed(review, 1, decision="accepted")
        assert review.objects[1].state.decision == "open"
        changed(review, 2, decision="accepted")
    with Review(predictions).open() as review:
        assert [one.state.decision for one in review.objects] == ["accepted", "open", "accepted", "open", "open"]


def test_files_that_are_not_the_reviews_own_are_not_written_over(predictions: Path) -> None:
    with pytest.raises(ReviewError, match="is read from"):
        Review(predictions, output=predictions)
    with pytest.raises(ReviewError, match=r"ends in \.json"):
        Review(predictions, output=predictions.with_suffix(".csv"))
    other = predictions.with_name("other.json")
    other.write_text("mine", encoding="utf-8")
    with Review(predictions, output=other).open() as review, pytest.raises(ReviewError, match="did not write it"):
        review.write()
    assert other.read_text(encoding="utf-8") == "mine"
    with Review(predictions, output=other, replace=True).open() as review:
        review.write()
    assert len(read_annotations(other).images) == 6


def test_another_content_and_a_second_process_are_refused(predictions: Path) -> None:
    with (
        Review(predictions).open(),
        pytest.raises(ReviewError, match="by another process"),
        Review(predictions).open(),
    ):
        pass
    predictions.write_text(predictions.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(ReviewError, match=r"another content of 'found\.json'"):
        Review(predictions)


def test_a_file_without_predicted_objects_is_refused(tmp_path: Path) -> None:
    path = write_coco(tmp_path / "data", 1)
    with pytest.raises(ReviewError, match="Expected predicted objects"):
        Review(path)


TABLE = """image,category,object,name,x,y,visible,confidence,predicted,score
1.png,cat,1,ear,10.5,12.5,2,,0,
1.png,cat,1,tail,60.5,40.5,2,,0,
2.png,cat,1,ear,20.5,15.5,2,0.9000,1,0.6
2.png,cat,1,tail,50.5,30.5,0,0.3000,1,0.6
3.png,cat,1,ear,20.25,15.5,0,0.2000,1,0.2
3.png,cat,1,tail,,,0,0.0000,1,0.2
4.png,cat,1,ear,8.5,9.5,2,0.8000,1,0.8
4.png,cat,1,tail,9.5,9.5,2,0.8000,1,0.8
"""


def test_a_table_is_written_as_a_table(tmp_path: Path) -> None:
    write_coco(tmp_path / "data")
    path = tmp_path / "data" / "found.csv"
    path.write_text(TABLE, encoding="utf-8")
    with Review(path).open() as review:
        assert review.listed() == [1, 0, 2]
        changed(review, 0, decision="accepted")
        ear, _ = review.objects[1].state.points
        assert ear == (20.25, 15.5, 0, "predicted")
        changed(review, 1, points=(ear, (33.0, 44.0, 2, "placed")))
        changed(review, 2, decision="rejected")
        (output,) = review.write()
    with output.open(encoding="utf-8") as file:
        rows = [
            [row[key] for key in ("image", "name", "x", "y", "visible", "confidence", "predicted")]
            for row in csv.DictReader(file)
        ]
    assert rows == [
        ["1.png", "ear", "10.5", "12.5", "2", "", "0"],
        ["1.png", "tail", "60.5", "40.5", "2", "", "0"],
        ["2.png", "ear", "20.5", "15.5", "2", "0.9000", "accepted"],
        ["2.png", "tail", "50.5", "30.5", "2", "0.3000", "accepted"],
        ["3.png", "ear", "20.25", "15.5", "0", "0.2000", "1"],
        ["3.png", "tail", "33.0", "44.0", "2", "", "0"],
    ]
    again = read_annotations(output)
    assert [image.instances[0].predicted for image in again.images] == [False, False, True]
    assert again.images[2].instances[0].origins == ("predicted", "placed")


def test_formats_that_hold_no_corrections_become_coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, json_lines.FORMAT.name, json_lines.FORMAT)
    write_coco(tmp_path / "data")
    path = tmp_path / "data" / "found.jsonl"
    lines: list[dict[str, Any]] = [
        {"image": "1.png", "category": "cat", "points": {"ear": [10.5, 12.5]}},
        {"image": "2.png", "category": "cat", "points": {"ear": [20.5, 15.5]}, "predicted": True},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with Review(path).open() as review:
        changed(review, 0, decision="accepted")
        (output,) = review.write()
    assert output.name == "found.corrected.json"
    again = read_annotations(output, tmp_path / "data" / "images")
    assert [image.annotated for image in again.images] == [True, True]
    np.testing.assert_allclose(again.images[1].instances[0].points, [[20.5, 15.5]])
