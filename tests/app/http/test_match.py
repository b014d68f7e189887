"""The tab *Match* over HTTP: points, images, runs, corrections, undo, export."""

import io
import threading
import zipfile
from typing import Any

import numpy as np
import PIL.Image
import pytest

from app.http.conftest import Served
from app.serving import Client, Visitor
from app.test_images import packed
from deadline import DEADLINE


def png(width: int = 40, height: int = 30, shade: int = 90) -> bytes:
    return packed(PIL.Image.new("RGB", (width, height), (shade, 90, 90)))


def located(visitor: Visitor) -> list[list[tuple[Any, Any]]]:
    """Every point's location in every target."""
    return [[(one["x"], one["y"]) for one in target["points"]] for target in visitor.shown["targets"]]


def points(visitor: Visitor) -> list[tuple[float, float]]:
    return [(one["x"], one["y"]) for one in visitor.shown["points"]]


def ids(visitor: Visitor, of: str = "points") -> list[int]:
    return [one["id"] for one in visitor.shown[of]]


def test_the_page_and_what_it_says_of_itself(server: Served) -> None:
    client = Client(server.host)
    status, page = client.ask("/")
    assert status == 200
    assert b"<!doctype html>" in page.lower()
    assert client.ask("/assets/main.js")[0] == 200
    assert client.ask("/favicon.ico")[0] == 204
    about = client.ask("/api/about")[1]
    assert about["examples"] == ["animal", "bird", "car", "face"]
    limits = {"megabytes": 60, "megapixels": 200, "targets": 3, "points": 4, "regions": 20, "corners": 2000}
    assert about["limits"] == {**limits, "letters": 40}
    assert ".jpg" in about["suffixes"]
    assert (about["model"], about["images"]) == ("toy", "drawings of the toy world, and nothing else")
    # Whoever has no work yet sees an empty one, and none is made for that.
    before = len(server.state.sessions)
    work = client.ask("/api/work")[1]
    assert (work["revision"], work["source"], work["points"], work["job"]) == (0, None, [], None)
    assert len(server.state.sessions) == before


def test_points_are_added_moved_named_and_undone(visitor: Visitor) -> None:
    visitor.step("example", category="animal")
    assert "4 points" in visitor.refused("add-point", x=3.5, y=4.5)  # the limit
    before = points(visitor)
    visitor.step("delete-point", point=ids(visitor)[1])
    assert points(visitor) == [before[0], *before[2:]]
    visitor.step("add-point", x=3.5, y=4.5)
    assert "not there any more" in visitor.refused("move-point", point=7, x=1, y=1)
    visitor.step("move-point", point=ids(visitor)[3], x=10.5, y=1 / 3)
    assert points(visitor)[3] == (10.5, 1 / 3)
    assert "Undone: point moved" in visitor.step("undo")["message"]
    assert points(visitor)[3] == (3.5, 4.5)
    assert visitor.shown["redo"] == "point moved"
    assert "Done again: point moved" in visitor.step("redo")["message"]
    assert points(visitor)[3] == (10.5, 1 / 3)
    assert "nothing to redo" in visitor.step("redo")["message"]
    visitor.step("name-points", text="ear, tail, paw, snout")
    visitor.step("name-point", point=ids(visitor)[2], name="")
    assert [one["label"] for one in visitor.shown["points"]] == ["ear", "tail", "3", "snout"]
    assert [one["number"] for one in visitor.shown["points"]] == [1, 2, 3, 4]
    assert len({one["colour"] for one in visitor.shown["points"]}) == 4
    assert "'ear' twice" in visitor.refused("name-points", text="ear, ear, ear, ear")
    assert visitor.step("clear-points")["question"]["yes"] == "Clear the points"
    assert len(visitor.reload()["points"]) == 4  # nothing is lost before the answer
    visitor.step("clear-points", sure=True)
    visitor.step("remove-targets")  # which hold nothing
    assert visitor.shown["points"] == visitor.shown["targets"] == []
    status, answer = visitor.ask("/api/find", {"method": "dift", "base": visitor.shown["revision"]})
    assert (status, "click at least one point" in answer["error"]) == (422, True)


def test_images_are_read_or_refused_by_name(visitor: Visitor) -> None:
    assert "no source image" in visitor.refused("add-point", x=1, y=1)
    status, answer = visitor.send("source", "first.png", png())
    assert status == 200
    assert "matched on toy, a model for drawings of the toy world" in answer["message"]
    assert (answer["source"]["name"], answer["source"]["size"]) == ("first.png", [40, 30])
    status, answer = visitor.send("source", "broken.png", b"not an image")
    assert (status, "'broken.png' is not an image file" in answer["error"]) == (422, True)
    for number in range(3):
        assert visitor.send("target", f"{number}.png", png(shade=number))[0] == 200
    assert [target["name"] for target in visitor.shown["targets"]] == ["0.png", "1.png", "2.png"]
    status, answer = visitor.send("target", "3.png", png())
    assert (status, "at most 3 targets" in answer["error"]) == (422, True)
    visitor.step("remove-target", target=ids(visitor, "targets")[1])
    assert [target["name"] for target in visitor.shown["targets"]] == ["0.png", "2.png"]
    # The image is served under an address that nobody can guess.
    status, image = visitor.ask(f"/{visitor.shown['source']['address']}")
    assert PIL.Image.open(io.BytesIO(image)).size == (40, 30)


def test_a_large_image_is_scaled_and_all_numbers_are_the_original_s(visitor: Visitor) -> None:
    coarse = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(coarse).resize((800, 600), PIL.Image.Resampling.BICUBIC)
    visitor.send("source", "large.jpg", packed(image, "JPEG"))
    visitor.send("target", "large.png", packed(image.resize((1200, 900))))
    source = visitor.shown["source"]
    assert source["size"] == [800, 600]
    assert source["held"][0] * source["held"][1] <= 10_000
    assert source["note"] == "scaled from 800 × 600 for matching; points are in the original's pixels"
    visitor.step("add-point", x=600.5, y=450.25)
    assert "800 × 600 pixels, got (801, 5)" in visitor.refused("add-point", x=801, y=5)
    assert points(visitor)[0] == pytest.approx((600.5, 450.25))
    assert visitor.find("dift", "published")["state"] == "done"
    # The target is the source enlarged: the match is where the point is, as exactly as the grid of features.
    (match,) = visitor.shown["targets"][0]["points"]
    assert (match["x"], match["y"]) == pytest.approx((900.75, 675.4), abs=90)
    visitor.step("correct", target=ids(visitor, "targets")[0], point=match["id"], x=1199.5, y=0.5)
    assert located(visitor)[0][0] == pytest.approx((1199.5, 0.5))
    names = {one["name"]: one["address"] for one in visitor.ask("/api/work/export", {})[1]["files"]}
    document = visitor.ask(f"/{names['matches.coco.json']}")[1]
    assert [(one["width"], one["height"]) for one in document["images"]] == [(800, 600), (1200, 900)]
    assert document["annotations"][1]["keypoints"] == pytest.approx([1199, 0, 2], abs=0.01)


def test_points_are_matched_corrected_accepted_and_exported(visitor: Visitor) -> None:
    visitor.step("example", category="face")
    assert visitor.shown["found"] is None
    status, answer = visitor.ask("/api/work/export", {})
    assert (status, "nothing to export yet" in answer["error"]) == (422, True)
    job = visitor.find("attention-dift", "fast")
    assert (job["state"], job["kind"], job["number"]) == ("done", "find", 1)
    assert "Done with attention-dift, fast" in job["message"]
    results = visitor.shown["found"]
    assert results["with"] == "attention-dift, fast, on toy"
    assert results["layers"][0] == "all layers together"
    assert {one["state"] for target in visitor.shown["targets"] for one in target["points"]} == {"found"}
    assert {one["state"] for one in visitor.shown["points"]} == {"found"}
    targets, own = ids(visitor, "targets"), ids(visitor)
    heats = {
        visitor.ask(f"/api/work/heat?target={target}&point={point}&layer={layer.replace(' ', '%20')}")[1]
        for target in targets
        for point in (own[0], "all")
        for layer in (results["layers"][0], results["layers"][-1])
    }
    assert len(heats) == 4 * len(targets)
    assert all(heat.startswith(b"\x89PNG") for heat in heats)
    assert visitor.ask(f"/api/work/heat?target={targets[0]}&point={own[0]}&layer=none")[0] == 404
    visitor.step("correct", target=targets[0], point=own[1], x=7.25, y=8.5)
    visitor.step("correct", target=targets[1], point=own[0], x=9.0, y=9.5)
    assert "256 × 256 pixels" in visitor.refused("correct", target=targets[1], point=own[0], x=-9.0, y=9.5)
    assert (located(visitor)[0][1], located(visitor)[1][0]) == ((7.25, 8.5), (9.0, 9.5))
    corrected = visitor.shown["targets"][0]["points"][1]
    assert (corrected["state"], corrected["confidence"]) == ("corrected", None)
    status, answer = visitor.ask("/api/work/export", {})
    assert (status, answer["message"]) == (200, "")
    assert answer["files"][0]["name"] == "semcorr-matches.zip"
    archive = zipfile.ZipFile(io.BytesIO(visitor.ask(f"/{answer['files'][0]['address']}")[1]))
    assert {"matches.csv", "matches.coco.json", "query.safetensors"} < set(archive.namelist())
    visitor.step("undo")  # the page need not have seen that it was exported
    visitor.step("redo")
    visitor.step("accept", target=targets[2])
    assert [one["state"] for one in visitor.shown["targets"][2]["points"]] == ["accepted"] * 4
    visitor.step("accept")
    assert "no prediction to accept" in visitor.refused("accept", point=own[0])
    assert visitor.step("discard", point=own[0])["question"]["yes"] == "Discard"
    visitor.step("discard", point=own[0], sure=True)
    assert [target["points"][0]["state"] for target in visitor.shown["targets"]] == ["found"] * 3
    assert visitor.shown["contents"] == "4 points, 12 matches, 1 correction and 8 acceptances"


def test_a_location_is_given_by_a_person_before_find(visitor: Visitor) -> None:
    visitor.step("example", category="face")
    visitor.step("correct", target=ids(visitor, "targets")[0], point=ids(visitor)[0], x=5, y=6)
    assert located(visitor)[0][0] == (5, 6)
    assert visitor.shown["points"][0]["state"] == "incomplete"
    assert visitor.ask("/api/work/export", {})[0] == 200
    assert visitor.find("dift", "published")["state"] == "done"
    assert located(visitor)[0][0] == (5, 6)


def test_a_point_deleted_during_a_run_gets_no_result_and_the_others_do(visitor: Visitor, server: Served) -> None:
    visitor.step("example", category="bird")
    go = threading.Event()
    server.state.queue.submit(lambda job: go.wait(DEADLINE))
    asked = {"method": "attention-dift", "preset": "fast", "base": visitor.shown["revision"]}
    job = visitor.ask("/api/find", asked)[1]["job"]
    assert (job["state"], job["ahead"]) in (("waiting", 1), ("waiting", 2))
    assert visitor.ask("/api/find", asked)[0] == 503
    visitor.step("delete-point", point=ids(visitor)[0])
    go.set()
    assert "3 matches were for points or targets that changed meanwhile" in visitor.follow()["message"]
    assert len(ids(visitor)) == 3
    assert {one["state"] for target in visitor.shown["targets"] for one in target["points"]} == {"found"}


def test_work_is_cancelled(visitor: Visitor, server: Served) -> None:
    visitor.step("example", category="bird")
    before, go = visitor.shown, threading.Event()
    server.state.queue.submit(lambda job: go.wait(DEADLINE))
    visitor.ask("/api/find", {"method": "dift", "base": before["revision"]})
    assert visitor.ask("/api/cancel", {})[1]["job"]["state"] == "cancelled"
    go.set()
    assert visitor.follow()["state"] == "cancelled"
    assert visitor.shown["revision"] == before["revision"]
    assert visitor.find("dift", "published")["state"] == "done"


def test_a_stray_click_and_find_again_lose_nothing(visitor: Visitor) -> None:
    visitor.step("example", category="face")
    visitor.step("delete-point", point=ids(visitor)[3])
    visitor.find("dift", "published")
    visitor.step("correct", target=ids(visitor, "targets")[1], point=ids(visitor)[0], x=9.0, y=9.5)
    corrected = located(visitor)
    answer = visitor.step("add-point", x=30.5, y=40.5)
    assert "1 point is not found in every target yet" in answer["message"] == visitor.shown["to_find"]
    assert [target[:3] for target in located(visitor)] == corrected
    assert [target[3] for target in located(visitor)] == [(None, None)] * 3
    assert visitor.shown["points"][3]["state"] == "new"
    assert visitor.shown["left_out"] == 3
    visitor.step("undo")
    assert located(visitor) == corrected
    visitor.step("redo")
    visitor.find("dift", "published")
    assert [target[:3] for target in located(visitor)] == corrected
    assert (None, None) not in [target[3] for target in located(visitor)]
    status, answer = visitor.ask("/api/find", {"method": "dift", "base": visitor.shown["revision"]})
    assert (status, "Nothing is left to find" in answer["error"]) == (422, True)
    for point in ids(visitor)[:2]:
        visitor.step("move-point", point=point, x=70.5, y=70.5)
    assert "2 points were moved after they were found: press Find" in visitor.shown["to_find"]
    assert visitor.shown["targets"][0]["points"][0]["state"] == "outdated"
    visitor.step("undo")
    assert "1 point was moved after it was found: press Find" in visitor.shown["to_find"]
    visitor.step("undo")
    assert visitor.shown["to_find"] == ""
    # Another method finds everything anew, but keeps corrections.
    visitor.find("attention-dift", "fast")
    assert located(visitor)[1][0] == (9.0, 9.5)
    assert visitor.shown["method"] == "attention-dift"
    for _ in range(3):  # that run, the one before it, the point
        visitor.step("undo")
    assert located(visitor) == corrected
    visitor.step("undo")
    assert located(visitor)[1][0] != (9.0, 9.5)
