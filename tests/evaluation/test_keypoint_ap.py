"""Predicted key-points against true ones: counted by hand, and average precision against a closed form."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semcorr.cli.main import main
from semcorr.errors import DatasetError, SettingsError
from semcorr.evaluation.metrics.keypoint_ap import score

KINDS = [{"id": 1, "name": "cat", "keypoints": ["ear", "tail"]}]


def annotation(number: int, image: int, keypoints: list[float], **more: Any) -> dict[str, Any]:
    box = {"bbox": [0, 0, 100, 50], "area": 5000, "iscrowd": 0, "num_keypoints": 2}
    return {"id": number, "image_id": image, "category_id": 1, "keypoints": keypoints, **box, **more}


def save(path: Path, objects: list[dict[str, Any]], images: int = 2) -> Path:
    listed = [{"id": number, "file_name": f"{number}.png"} for number in range(1, images + 1)]
    path.write_text(json.dumps({"images": listed, "categories": KINDS, "annotations": objects}), encoding="utf-8")
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return save(
        tmp_path / "truth.json", [annotation(1, 1, [10, 10, 2, 50, 20, 2]), annotation(2, 2, [30, 30, 2, 60, 40, 1])]
    )


def test_by_hand(truth: Path, tmp_path: Path) -> None:
    # Of boxes 100 long: 4 off (right at 0.05 and 0.1), 8 off (at 0.1 only), 20 off (wrong). The covered tail is none.
    first = annotation(1, 1, [0] * 6, keypoints_found=[14, 10, 0.9, 50, 28, 0.6], score=0.75)
    second = annotation(2, 2, [0] * 6, keypoints_found=[50, 30, 0.2, 60, 40, 0.8], score=0.5)
    scores = score(save(tmp_path / "found.json", [first, second]), truth)
    assert (scores.objects, scores.points, scores.predicted_points) == (2, 3, 3)
    assert scores.pck == {0.05: pytest.approx(1 / 3), 0.1: pytest.approx(2 / 3)}
    assert scores.per_image == {0.05: pytest.approx(1 / 4), 0.1: pytest.approx(1 / 2)}
    assert scores.risk == pytest.approx((0 + 0 + 1 / 3) / 3)  # the wrong one is the least confident
    assert scores.overall_risk == pytest.approx(1 / 3)
    assert scores.error == pytest.approx((0.1 + 0.4 + 0.2) / 3)


def test_points_without_a_prediction_are_wrong(truth: Path, tmp_path: Path) -> None:
    first = annotation(1, 1, [0] * 6, keypoints_found=[10, 10, 0.9, None, None, 0.0], score=0.9)
    scores = score(save(tmp_path / "found.json", [first]), truth)
    assert (scores.points, scores.predicted_points) == (3, 1)
    assert scores.pck[0.1] == pytest.approx(1 / 3)


def test_images_that_are_not_in_both_files_do_not_count(truth: Path, tmp_path: Path) -> None:
    first = annotation(1, 1, [10, 10, 2, 50, 20, 2])
    scores = score(save(tmp_path / "found.json", [first], images=1), truth)
    assert (scores.objects, scores.points, scores.pck[0.05]) == (1, 2, 1.0)
    assert scores.precision["AP"] == pytest.approx(1.0)


def test_average_precision_is_cocos(tmp_path: Path) -> None:
    """The similarity is exp(-d^2 / (2 area (2 sigma)^2)): 0.72 passes the thresholds from 0.5 to 0.7, 5 of 10."""
    sigma, area = 0.05, 5000
    apart = np.sqrt(-np.log(0.72) * 2 * area * (2 * sigma) ** 2)
    true = save(tmp_path / "truth.json", [annotation(1, 1, [10, 10, 2, 50, 20, 2])], images=1)
    predictions = annotation(1, 1, [10 + apart, 10, 2, 50, 20 + apart, 2], score=0.5)
    scores = score(save(tmp_path / "found.json", [predictions], images=1), true, sigma=sigma)
    assert scores.precision == {
        "AP": pytest.approx(0.5),
        "AP50": pytest.approx(1.0),
        "AP75": pytest.approx(0.0),
        "AR": pytest.approx(0.5),
    }


def test_the_object_that_overlaps_most_is_compared(truth: Path, tmp_path: Path) -> None:
    far = annotation(1, 1, [90, 45, 2, 90, 45, 2], bbox=[80, 40, 20, 10])
    near = annotation(2, 1, [10, 10, 2, 50, 20, 2], bbox=[5, 5, 90, 45])
    scores = score(save(tmp_path / "found.json", [far, near], images=1), truth)
    assert scores.pck[0.05] == 1.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected JSON in"),
        ("[]", "expected a JSON object in"),
        (json.dumps({"images": [], "categories": KINDS, "annotations": [{"category_id": 5}]}), "got category_id 5 in"),
        (json.dumps({"images": [], "categories": KINDS, "annotations": []}), "Nothing in"),
    ],
)
def test_broken_files_are_refused(truth: Path, tmp_path: Path, content: str, message: str) -> None:
    predictions = tmp_path / "found.json"
    predictions.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        score(predictions, truth)


def test_missing_files_and_senseless_settings_are_refused(truth: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="which is not there"):
        score(tmp_path / "no.json", truth)
    with pytest.raises(SettingsError, match="above 0"):
        score(truth, truth, sigma=0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [0, 0, 1]}, "'bbox' of annotation 1 as 4 numbers"),
        ({"bbox": [0, 0, 1e300, 1]}, "positions in an image of annotation 1"),
        ({"bbox": [0, 0, 10**400, 1]}, "'bbox' of annotation 1 as 4 numbers"),
        ({"keypoints": [1e200, 0, 2, 0, 0, 0]}, "positions in an image of annotation 1"),
    ],
)
def test_numbers_that_are_no_positions_are_refused(
    truth: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        score(save(tmp_path / "found.json", [{**annotation(1, 1, [10, 10, 2, 50, 20, 2]), **change}]), truth)


def test_truth_without_visible_points_or_sizes(truth: Path, tmp_path: Path) -> None:
    hidden = save(tmp_path / "hidden.json", [annotation(1, 1, [10, 10, 1, 50, 20, 1])])
    with pytest.raises(DatasetError, match="Expected key-points that can be seen"):
        score(truth, hidden)
    flat = save(tmp_path / "flat.json", [{**annotation(1, 1, [10, 10, 2, 50, 20, 2]), "bbox": [0, 0, 0, 0]}])
    assert score(truth, flat).pck[0.1] == 1.0


def test_a_category_annotated_in_other_images_only_has_no_precision(tmp_path: Path) -> None:
    """One of two categories is true in an image of one file alone, or has no points: the mean is of the other."""
    predictions = write(tmp_path / "found.json", [cat(1, 1)], 1)
    for other in (dog(2, 2), dog(2, 1, keypoints=[0, 0, 0], num_keypoints=0)):
        truth = write(tmp_path / "truth.json", [cat(1, 1), other], 2)
        assert score(predictions, truth).precision["AP"] == pytest.approx(1.0)


DOG = {"id": 2, "name": "dog", "keypoints": ["nose"]}


def write(path: Path, objects: list[dict[str, Any]], images: int) -> Path:
    """Cats (1) and dogs (2)."""
    content = json.loads(save(path, objects, images=images).read_text())
    path.write_text(json.dumps(content | {"categories": [*KINDS, DOG]}))
    return path


def cat(number: int, image: int, **more: Any) -> dict[str, Any]:
    return annotation(number, image, [10, 10, 2, 50, 20, 2], **more)


def dog(number: int, image: int, **more: Any) -> dict[str, Any]:
    return {**annotation(number, image, [5, 5, 2]), "category_id": 2, **more}


def test_objects_that_belong_to_no_true_one_are_counted(tmp_path: Path) -> None:
    """Of images 1 to 4, the last is not in the truth: nothing is known of it. A box without key-points is an object."""
    true = write(tmp_path / "truth.json", [cat(1, 1), cat(2, 2), {**cat(3, 3), "keypoints": None}], images=3)
    predicted = [
        *(cat(1, 1), dog(2, 1)),  # a dog that is not there
        *(cat(3, 2), cat(4, 2, bbox=[5, 5, 9, 9]), cat(5, 2, bbox=[1, 1, 9, 9])),  # two cats too many
        *(cat(6, 3), dog(7, 3, keypoints=[0, 0, 0], keypoints_found=[3, 3, 0.1])),  # a dog below the threshold
        *(dog(8, 4), dog(9, 2, keypoints=[0, 0, 0])),  # an unknown image; a box that nobody filled
    ]
    scores = score(write(tmp_path / "found.json", predicted, images=4), true)
    assert scores.extra == {"1.png": {"dog": 1}, "2.png": {"cat": 2}, "3.png": {"dog": 1}}
    assert (scores.images, scores.wrong_category, scores.surplus) == (3, 2, 2)
    document = json.loads(json.dumps(scores.to_dict()))
    assert document["extra_objects"] == 4
    assert document["extra"]["2.png"] == {"cat": 2}
    assert scores.pck[0.1] == 1.0


def test_a_crowd_takes_any_number(tmp_path: Path) -> None:
    true = write(tmp_path / "truth.json", [cat(1, 1), cat(2, 1, iscrowd=1)], images=1)
    scores = score(write(tmp_path / "found.json", [cat(1, 1), cat(2, 1), cat(3, 1), cat(4, 1)], images=1), true)
    assert (scores.extra, scores.surplus) == ({}, 0)


def test_wrong_categories_alone_are_an_answer(tmp_path: Path) -> None:
    true = write(tmp_path / "truth.json", [cat(1, 1)], images=1)
    scores = score(write(tmp_path / "found.json", [dog(1, 1)], images=1), true)
    assert (scores.pck[0.1], scores.predicted_points, scores.wrong_category) == (0, 0, 1)
    assert scores.precision["AP"] == 0


@pytest.mark.parametrize("image", [1, 2])
def test_extra_objects_lower_average_precision(tmp_path: Path, image: int) -> None:
    """A false cat that is surer than the true one, in its image or one without cats: 1 of 2 right at full recall."""
    true = write(tmp_path / "truth.json", [cat(1, 1), dog(2, 2)], images=2)
    away = annotation(2, image, [90, 45, 2, 5, 45, 2], bbox=[0, 0, 100, 50], score=0.9)
    predicted = [cat(1, 1, score=0.5), dog(3, 2, score=0.5)]
    alone, more = (
        score(write(tmp_path / "found.json", objects, images=2), true) for objects in (predicted, [*predicted, away])
    )
    assert alone.precision["AP"] == pytest.approx(1.0)
    assert more.precision["AP"] == pytest.approx((0.5 + 1) / 2)
    assert (alone.surplus + alone.wrong_category, more.surplus + more.wrong_category) == (0, 1)


def test_extra_objects_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    true = write(tmp_path / "truth.json", [cat(n, n) for n in range(1, 13)], images=12)
    predictions = write(tmp_path / "found.json", [one(n, n) for n in range(1, 13) for one in (cat, dog)], images=12)
    assert main(["score", str(predictions), str(true)]) == 0
    out = capsys.readouterr().out
    assert "12 in 12 of 12 images" in out
    assert "1 dog" in out
    assert "and 2 images more" in out
    assert main(["score", str(predictions), str(true), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["extra_objects"], document["wrong_category"], document["surplus"]) == (12, 12, 0)
    assert document["extra"]["12.png"] == {"dog": 1}


@pytest.mark.parametrize("first", [True, False])
def test_a_root_category_of_the_same_name_hides_nothing(truth: Path, tmp_path: Path, first: bool) -> None:
    document = json.loads(truth.read_text(encoding="utf-8"))
    document["categories"].insert(0 if first else 1, {"id": 0, "name": "cat", "supercategory": "none"})
    truth.write_text(json.dumps(document), encoding="utf-8")
    predictions = save(tmp_path / "found.json", [annotation(1, 1, [10, 10, 2, 50, 20, 2])], images=1)
    assert score(predictions, truth).pck[0.05] == 1.0
    assert score(truth, predictions).pck[0.05] == 1.0


def test_predicted_objects_are_no_truth(truth: Path, tmp_path: Path) -> None:
    document = json.loads(truth.read_text(encoding="utf-8"))
    document["annotations"][1]["semcorr"] = {"predicted": True}
    truth.write_text(json.dumps(document), encoding="utf-8")
    predictions = [annotation(1, 1, [10, 10, 2, 50, 20, 2]), annotation(2, 2, [90, 90, 2, 90, 90, 2])]
    scores = score(save(tmp_path / "found.json", predictions), truth)
    assert (scores.objects, scores.points, scores.pck[0.05]) == (1, 2, 1.0)
    assert scores.surplus + scores.wrong_category == 0  # that it is there is known
    document["annotations"][1]["semcorr"]["accepted"] = True
    truth.write_text(json.dumps(document), encoding="utf-8")
    assert score(save(tmp_path / "found.json", predictions), truth).points == 3


def test_unknown_marks_in_the_truth_are_refused(tmp_path: Path) -> None:
    predictions = save(tmp_path / "found.json", [annotation(1, 1, [10, 10, 0.9, 50, 20, 0.8])])
    truth = save(tmp_path / "truth.json", [annotation(1, 1, [10, 10, 2, 50, 20, 0.8])])
    with pytest.raises(DatasetError, match=r"got 0\.8 for 'tail' of annotation 1"):
        score(predictions, truth)


def test_files_of_images_of_other_sizes_are_refused(truth: Path, tmp_path: Path) -> None:
    predictions = save(tmp_path / "found.json", [annotation(1, 1, [10, 10, 2, 50, 20, 2])])
    for path, size in ((truth, (200, 100)), (predictions, (100, 50))):
        document = json.loads(path.read_text(encoding="utf-8"))
        document["images"][0] |= {"width": size[0], "height": size[1]}
        path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"declares 100 x 50 pixels for '1.png', and .* 200 x 100"):
        score(predictions, truth)
