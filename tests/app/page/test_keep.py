"""What the page keeps: questions before a loss, reloads, several pages of one browser, closed pages."""

import threading
from typing import Any

import PIL.Image

from app.page.visitor import ALL, Visitor
from semcorr.app.state import AppState


def test_a_question_comes_before_a_loss_and_undo_restores_it(visitor: Visitor, state: AppState) -> None:
    visitor.do("example-face", "click")
    visitor.do("example-bird", "click")  # an unchanged example is no loss
    visitor.do("find", "click", "dift", "published", *ALL)
    visitor.do("targets", "drag", *ALL, panel=1, index=0, x=9.0, y=9.5)
    before = visitor.work
    PIL.Image.new("RGB", (40, 30), "red").save(state.folder / "red.png")
    steps: list[tuple[str, str, list[Any]]] = [
        ("example-car", "click", []),
        ("source-upload", "upload", [str(state.folder / "red.png")]),
        ("clear", "click", []),
        ("remove", "click", [*ALL]),
        ("delete", "click", ["1 beak", ALL[1]]),
        ("discard", "click", [*ALL]),
    ]
    for part, trigger, values in steps:
        PIL.Image.new("RGB", (40, 30), "red").save(state.folder / "red.png")
        visitor.do(part, trigger, *values)
        assert visitor.work is before
        visitor.answer("refuse")
        assert "Nothing was changed" in visitor.seen["status"]
        assert visitor.work is before
        PIL.Image.new("RGB", (40, 30), "red").save(state.folder / "red.png")
        visitor.do(part, trigger, *values)
        visitor.answer("confirm")
        assert visitor.work is not before
        visitor.do("undo", "click", *ALL)
        assert visitor.work is before
    # An answer to an earlier question does nothing.
    visitor.do("clear", "click")
    old = visitor.seen["keeper"]["question"]["token"]
    visitor.do("remove", "click", *ALL)
    visitor.do("keeper", "confirm", *ALL, token=old)
    visitor.do("keeper", "confirm", *ALL, token=None)
    assert visitor.work is before


def test_a_reload_brings_everything_back_and_says_when_it_cannot(visitor: Visitor, page: Any, state: AppState) -> None:
    visitor.do("keeper", "open", key=None, held=False)
    assert visitor.seen["keeper"]["key"] == visitor.key
    visitor.do("example-bird", "click")
    visitor.do("find", "click", "dift", "published", *ALL)
    visitor.do("targets", "drag", *ALL, panel=1, index=0, x=9.0, y=9.5)
    visitor.do("point", "input", *ALL)  # the selection belongs to the page, and is not kept
    assert visitor.seen["keeper"]["holds"]
    key = visitor.key
    visitor.close()
    reloaded = Visitor(page, state, f"{visitor.name} again", {})
    reloaded.do("keeper", "open", key=key, held=True)
    for part in ("source", "targets", "table", "legend", "names"):
        assert reloaded.seen[part] == visitor.seen[part]
    assert [reloaded.seen[name]["value"] for name in ("method", "preset")] == ["dift", "published"]
    assert "12 matches and 1 correction" in reloaded.seen["status"]
    reloaded.do("undo", "click", *ALL)
    assert not reloaded.work.decisions
    elsewhere = Visitor(page, state, f"{visitor.name} elsewhere", {})
    elsewhere.do("keeper", "open", key="a key of a server before", held=True)
    assert "no longer on this server" in elsewhere.seen["status"]
    assert elsewhere.seen["source"]["panels"] == []
    assert elsewhere.seen["keeper"]["key"] not in ("a key of a server before", key)
    for nonsense in (7, ["x"], {"a": 1}, ""):
        elsewhere.do("keeper", "open", key=nonsense, held=False)
        assert elsewhere.work.source is None


def test_a_reloaded_page_continues_to_show_the_run(visitor: Visitor, page: Any, state: AppState) -> None:
    visitor.do("keeper", "open", key=None, held=False)
    visitor.do("example-bird", "click")
    go = threading.Event()
    state.queue.submit(lambda job: go.wait(60))
    updates = visitor.steps("find", "click", "dift", "published", *ALL)
    next(updates)
    key = visitor.key
    visitor.close()
    reloaded = Visitor(page, state, f"{visitor.name} again", {})
    opening = reloaded.steps("keeper", "open", key=key, held=True)
    next(opening)
    assert next(opening)["find"]["interactive"] is False
    go.set()
    last = list(opening)[-1]
    assert "Done with dift, published" in last["status"]
    assert len(reloaded.work.matches) == 12


def test_a_step_on_an_outdated_page_is_not_taken(visitor: Visitor, page: Any, state: AppState) -> None:
    visitor.do("keeper", "open", key=None, held=False)
    visitor.do("example-bird", "click")
    other = Visitor(page, state, f"{visitor.name} beside", {})
    other.do("keeper", "open", key=visitor.key, held=True)
    other.do("delete", "click", "1 beak", ALL[1])
    after = visitor.work
    assert len(after.points) == 3
    visitor.do("source", "drag", *ALL, index=0, x=3.5, y=4.5)
    assert visitor.work is after
    assert "changed on another page" in visitor.seen["status"]
    assert len(visitor.seen["source"]["panels"][0]["points"]) == 3
    visitor.do("source", "drag", *ALL, index=0, x=3.5, y=4.5)
    assert visitor.work.points[0] == (3.5, 4.5)


def test_a_closed_page_leaves_no_workspace_that_nobody_can_reach(visitor: Visitor) -> None:
    visitor.do("example-bird", "click")
    visitor.close()
    assert visitor.work.source is None
