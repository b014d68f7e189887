"""What is kept over HTTP: questions before a loss, several pages, reloads, deletion."""

import threading
from pathlib import Path

import pytest

from app.http.conftest import Served
from app.http.test_match import ids, located, png
from app.serving import Client, Visitor
from deadline import DEADLINE


def test_a_question_comes_before_a_loss_and_undo_restores_it(visitor: Visitor) -> None:
    visitor.step("example", category="face")
    visitor.step("example", category="bird")  # an unchanged example is no loss
    visitor.find("dift", "published")
    visitor.step("correct", target=ids(visitor, "targets")[1], point=ids(visitor)[0], x=9.0, y=9.5)
    before = {name: visitor.shown[name] for name in ("points", "targets", "source", "found")}

    def unchanged() -> bool:
        visitor.reload()
        return before == {name: visitor.shown[name] for name in before}

    steps = {
        "example": {"category": "car"},
        "clear-points": {},
        "remove-targets": {},
        "remove-target": {"target": ids(visitor, "targets")[0]},
        "delete-point": {"point": ids(visitor)[0]},
        "discard": {},
    }
    for name, fields in steps.items():
        question = visitor.step(name, **fields)["question"]
        assert question["text"].endswith(".")
        assert question["yes"]
        assert unchanged()
        assert "question" not in visitor.step(name, **fields, sure=True)
        assert not unchanged()
        visitor.step("undo")
        assert unchanged()
    status, answer = visitor.send("source", "red.png", png())
    assert (status, answer["question"]["yes"]) == (200, "Replace the source")
    assert unchanged()
    assert visitor.send("source", "red.png", png(), sure=True)[0] == 200
    assert (visitor.shown["points"], len(visitor.shown["targets"])) == ([], 3)
    visitor.step("undo")
    assert unchanged()


def test_a_reload_shows_everything_and_asks_for_nothing_twice(visitor: Visitor, server: Served) -> None:
    visitor.step("example", category="bird")
    visitor.find("dift", "published")
    visitor.step("correct", target=ids(visitor, "targets")[1], point=ids(visitor)[0], x=9.0, y=9.5)
    reloaded = Visitor(server.host, visitor.key)
    again = reloaded.reload()
    assert again == {name: value for name, value in visitor.shown.items() if name != "message"}
    assert (again["method"], again["preset"], again["undo"]) == ("dift", "published", "match corrected")
    assert reloaded.ask(f"/api/work?since={again['revision']}")[1] == {"revision": again["revision"]}
    reloaded.step("undo")
    assert located(reloaded)[1][0] != (9.0, 9.5)
    status, answer = Visitor(server.host, "a key of a server before").ask("/api/work")
    assert (status, answer["gone"], "no longer on this server" in answer["error"]) == (404, True, True)


def test_a_reloaded_page_continues_to_show_the_run(visitor: Visitor, server: Served) -> None:
    visitor.step("example", category="bird")
    go = threading.Event()
    server.state.queue.submit(lambda job: go.wait(DEADLINE))
    visitor.ask("/api/find", {"method": "dift", "preset": "published", "base": visitor.shown["revision"]})
    reloaded = Visitor(server.host, visitor.key)
    assert reloaded.reload()["job"]["state"] in ("waiting", "running")
    go.set()
    assert "Done with dift, published" in reloaded.follow()["message"]
    assert len(located(reloaded)[0]) == 4


def test_a_step_on_an_outdated_page_is_not_taken(visitor: Visitor, server: Served) -> None:
    visitor.step("example", category="bird")
    other = Visitor(server.host, visitor.key)
    other.reload()
    other.step("delete-point", point=ids(other)[0])
    moved = {"base": visitor.shown["revision"], "point": ids(visitor)[1], "x": 3.5, "y": 4.5}
    status, answer = visitor.ask("/api/work/move-point", moved)
    assert status == 409
    assert "changed on another page" in answer["error"]
    assert [one["id"] for one in answer["work"]["points"]] == ids(other)
    assert other.reload()["points"][0]["x"] != 3.5
    status, answer = visitor.ask("/api/work/move-point", {**moved, "base": answer["work"]["revision"]})
    assert (status, answer["points"][0]["x"]) == (200, 3.5)
    # Images, too.
    assert visitor.ask("/api/work/target?name=a.png&base=1", png())[0] == 409


def test_a_run_that_ends_meanwhile_is_no_reason_to_refuse_a_step(visitor: Visitor) -> None:
    visitor.step("example", category="bird")
    seen = visitor.shown["revision"]
    visitor.find("dift", "published")
    assert visitor.shown["revision"] == seen + 1
    assert visitor.ask("/api/work/undo", {"base": seen})[0] == 409  # but it would undo the run
    point = ids(visitor)[0]
    assert visitor.ask("/api/work/move-point", {"base": seen, "point": point, "x": 3, "y": 4})[0] == 200


def test_a_deleted_work_leaves_nothing(visitor: Visitor, server: Served) -> None:
    visitor.step("example", category="bird")
    visitor.find("dift", "published")
    addresses = [visitor.shown["source"]["address"], visitor.ask("/api/work/export", {})[1]["files"][0]["address"]]
    folders = set(server.works.iterdir())
    assert "for good" in visitor.ask("/api/work/delete", {})[1]["question"]["text"]
    assert visitor.reload()["points"]
    assert visitor.ask("/api/work/delete", {"sure": True}) == (200, {})
    for path, body in (("/api/work", None), ("/api/work/undo", {"base": 1}), ("/api/words", None), ("/api/job", None)):
        status, answer = visitor.ask(path, body)
        assert (status, answer["gone"]) == (404, True)
    for address in addresses:
        assert Client(server.host).ask(f"/{address}")[0] == 404
    (gone,) = folders - set(server.works.iterdir())
    assert not any(path.is_relative_to(gone) for path in Path(server.works).rglob("*"))


def test_a_nearly_full_disk_is_said(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor.step("example", category="bird")
    assert visitor.shown["warning"] == ""
    monkeypatch.setattr("semcorr.app.server.kept_works._LITTLE", 1e30)
    assert "nearly full" in visitor.reload()["warning"]
