"""The page in a real browser: corrections by keyboard and mouse, two windows, names that would break out."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.browsing import hold, still, until
from review.files import SIZE, write_coco

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow

NASTY = '<img src=x onerror="alert(1)">.png'


@pytest.fixture
def predictions(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Forty objects, as many of the first as a parameter says in one image; one file's name is markup."""
    path = write_coco(tmp_path / "data", 41, drawn=False)
    text = path.read_text(encoding="utf-8")
    for number in range(3, 2 + getattr(request, "param", 1)):
        text = text.replace(f'"image_id": {number},', '"image_id": 2,')
    path.write_text(text.replace('"41.png"', json.dumps(NASTY)), encoding="utf-8")
    (path.parent / "images" / "41.png").rename(path.parent / "images" / NASTY)
    return path


@pytest.fixture
def command(predictions: Path, start: Callable[..., Any]) -> Any:
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    return start(predictions)


def saved(tab: "Tab", text: str = r"Saved\.") -> None:
    tab.wait_for_selector(f"#saved >> text=/{text}/")


def heading(tab: "Tab", text: str) -> None:
    tab.wait_for_selector(f"#heading >> text=/{text}/")


def counts(tab: "Tab", text: str) -> None:
    tab.wait_for_selector(f"#counts >> text=/{text}/")


def state(command: Any, number: int) -> dict[str, Any]:
    return command.client.object(number)["state"]


def test_ten_corrections_by_keyboard(open_tab: Callable[..., "Tab"], command: Any, predictions: Path) -> None:
    tab = open_tab()
    assert "key=" not in tab.url
    heading(tab, r"^1 of 40 · 2\.png · cat · score 0\.23 · open")
    # What its points came from: the mean of two votes, and that for the tail.
    tab.wait_for_selector("#sources figcaption >> text=/1\\.png.*0\\.63/")
    tab.keyboard.press("2")
    tab.wait_for_selector("#votes >> text=/speaks for tail/")
    assert tab.inner_text("#sources .vote") == "0.50"
    tab.keyboard.press("Escape")
    # One: move a point by eleven and one pixels, as one step of undo.
    before = state(command, 0)["points"]
    for key in ("1", "Shift+ArrowRight", "ArrowRight", "ArrowDown"):
        tab.keyboard.press(key)
    tab.wait_for_selector("#points button[aria-pressed=true] >> text=yours")
    saved(tab)
    assert state(command, 0)["points"] == [[before[0][0] + 11, before[0][1] + 1, 2, "placed"], *before[1:]]
    tab.keyboard.press("Control+z")
    tab.wait_for_selector("#points button >> nth=0 >> text=doubtful")
    saved(tab)
    assert state(command, 0)["points"] == before
    tab.keyboard.press("Control+Shift+Z")
    tab.wait_for_selector("#points button >> nth=0 >> text=yours")
    saved(tab)
    # Two to four: accept a point, remove one, bring it back and say that it is covered.
    for key in ("2", "a", "3", "r"):
        tab.keyboard.press(key)
    # With no point left to decide on, the object is accepted.
    heading(tab, "accepted")
    saved(tab)
    assert [point and point[3] for point in state(command, 0)["points"]] == ["placed", "accepted", None]
    for key in ("3", "a", "h", "Escape"):
        tab.keyboard.press(key)
    saved(tab)
    tab.wait_for_selector("#points >> text=accepted, covered")
    assert state(command, 0)["points"][2] == [40.5, 45.5, 1, "accepted"]
    # Five to ten: objects, one after the other.
    tab.keyboard.press("ArrowRight")
    for key in ("a", "a", "r", "a", "a", "r"):
        tab.keyboard.press(key)
    heading(tab, r"^8 of 40")
    counts(tab, "33 open · 5 accepted · 2 rejected")
    tab.keyboard.press("Control+z")
    counts(tab, "34 open · 5 accepted · 1 rejected")
    heading(tab, r"^7 of 40 .* open")
    tab.click("#write")
    tab.wait_for_selector("#message >> text=/Written: .*found.corrected.json/")
    document = json.loads(predictions.with_name("found.corrected.json").read_text(encoding="utf-8"))
    accepted = [one["id"] for one in document["annotations"] if one.get("semcorr", {}).get("accepted")]
    assert accepted == [2, 3, 4, 6, 7]
    assert 5 not in [one["id"] for one in document["annotations"]]


@pytest.mark.parametrize("predictions", [3], indirect=True)
def test_a_whole_image_at_once(open_tab: Callable[..., "Tab"], command: Any, predictions: Path) -> None:
    tab = open_tab()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("r")
    heading(tab, r"^3 of 40 · 2\.png")
    tab.keyboard.press("Shift+A")
    counts(tab, "37 open · 2 accepted · 1 rejected")
    heading(tab, r"^4 of 40 · 5\.png")
    tab.click("#undo")
    counts(tab, "39 open · 0 accepted · 1 rejected")
    heading(tab, r"^1 of 40 · 2\.png .* open")
    tab.click("#redo")
    counts(tab, "37 open · 2 accepted · 1 rejected")
    tab.click("#reject-image")
    counts(tab, "37 open · 0 accepted · 3 rejected")
    # An image with one object needs no buttons of its own.
    heading(tab, r"^4 of 40 · 5\.png")
    assert not tab.is_visible("#accept-image")
    # Accept, undo, redo and reject are a line each.
    (journal,) = predictions.with_name("found.json.review").rglob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    second = 2  # by their scores, object 2 is the second
    assert [[one["number"] for one in line["changes"]] for line in lines] == [[second], *[[0, 1]] * 4]
    assert [command.client.object(number)["revision"] for number in (0, 1, 2)] == [5, 5, 1]


def test_a_key_that_is_held_decides_on_one_object(open_tab: Callable[..., "Tab"]) -> None:
    tab = open_tab()
    for _ in range(5):
        tab.keyboard.down("a")  # the browser repeats it
    tab.keyboard.up("a")
    counts(tab, "39 open · 1 accepted")
    heading(tab, "^2 of 40 ")
    # Of lists that are asked for one after the other, the last is shown.
    tab.locator("#name").press_sequentially("12.png")
    heading(tab, r"^1 of 1 · 12\.png")


def test_undo_and_redo_as_fast_as_keys_come(open_tab: Callable[..., "Tab"], command: Any) -> None:
    tab = open_tab()
    before = state(command, 0)["points"]
    for key in ("1", "ArrowRight", "ArrowRight", "2", "ArrowDown", "Escape", "Control+z", "Control+z"):
        tab.keyboard.press(key)
    tab.wait_for_selector("#redo:enabled")  # before anything is saved, there is nothing to undo
    tab.wait_for_selector("#undo:disabled")
    assert state(command, 0)["points"] == before
    for key in ("Control+Shift+Z", "Control+y"):
        tab.keyboard.press(key)
    tab.wait_for_selector("#redo:disabled")
    (x, y), (x2, y2) = before[0][:2], before[1][:2]
    assert state(command, 0)["points"] == [[x + 2, y, 2, "placed"], [x2, y2 + 1, 2, "placed"], before[2]]
    # As with every change, the page says that it is saved when it is.
    with hold(tab, "**/api/objects"):
        tab.keyboard.press("Control+z")
        saved(tab, "Saving")
    saved(tab)
    assert state(command, 0)["points"] == [[x + 2, y, 2, "placed"], *before[1:]]


def pixels_of(tab: "Tab") -> Callable[[float, float], tuple[float, float]]:
    """Where a pixel of the image is in the window."""
    box = tab.locator("#stage").bounding_box()
    assert box is not None
    scale = min(box["width"] / SIZE[0], box["height"] / SIZE[1])
    left, top = box["x"] + (box["width"] - scale * SIZE[0]) / 2, box["y"] + (box["height"] - scale * SIZE[1]) / 2
    return lambda x, y: (left + scale * x, top + scale * y)


def under(tab: "Tab", x: float, y: float) -> list[float]:
    """The pixel of the image that a position of the window shows."""
    located: list[float] = tab.evaluate(
        """position => {
          const matrix = document.getElementById("stage").getScreenCTM().inverse();
          const { x, y } = new DOMPoint(...position).matrixTransform(matrix);
          return [x, y];
        }""",
        [x, y],
    )
    return located


def test_two_fingers_zoom_and_one_drags_what_is_chosen(open_tab: Callable[..., "Tab"], command: Any) -> None:
    tab = open_tab(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    before = state(command, 0)["points"]
    tab.locator("#stage").scroll_into_view_if_needed()
    devtools = tab.context.new_cdp_session(tab)

    def touch(*steps: list[tuple[float, float]]) -> None:
        for number, fingers in enumerate([*steps, []]):
            kind = "touchStart" if number == 0 else "touchMove" if fingers else "touchEnd"
            devtools.send(
                "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in fingers]}
            )

    (x, y), pixel = pixels_of(tab)(30, 30), pixels_of(tab)(1, 0)[0] - pixels_of(tab)(0, 0)[0]
    touch([(x - 20, y), (x + 20, y)], [(x - 30, y), (x + 30, y)], [(x - 50, y), (x + 50, y)])
    assert under(tab, x, y) == pytest.approx((30, 30), abs=0.3)
    assert under(tab, x + 50, y)[0] - 30 == pytest.approx(20 / pixel, rel=0.05)
    # One finger moves the image now, if it does not begin on the chosen point.
    touch([(x, y)], [(x, y + 15)], [(x, y + 30)])
    assert under(tab, x, y + 30) == pytest.approx((30, 30), abs=0.3)
    assert state(command, 0)["points"] == before
    tab.locator("#fit").tap()
    tab.locator("#points button").nth(0).tap()
    tab.locator("#stage").scroll_into_view_if_needed()
    (x, y), (x2, y2) = pixels_of(tab)(*before[0][:2]), pixels_of(tab)(40, 20)
    touch([(x, y)], [((x + x2) / 2, (y + y2) / 2)], [(x2, y2)])
    saved(tab)
    assert state(command, 0)["points"][0] == [pytest.approx(40, abs=0.3), pytest.approx(20, abs=0.3), 2, "placed"]


def test_a_finger_puts_a_point_and_a_swipe_scrolls(open_tab: Callable[..., "Tab"], command: Any) -> None:
    tab = open_tab(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    tab.locator("#points button").nth(1).tap()
    tab.evaluate("document.getElementById('stage').scrollIntoView({block: 'center'})")
    at = pixels_of(tab)
    before, (x, y) = state(command, 0), at(60, 50)
    devtools, scrolled = tab.context.new_cdp_session(tab), tab.evaluate("scrollY")
    for kind, distance in [("touchStart", 0), *(("touchMove", 20 * step) for step in range(1, 11)), ("touchEnd", 0)]:
        fingers = [] if kind == "touchEnd" else [{"x": x, "y": y - distance}]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    until(tab, "least => scrollY > least", scrolled + 50)
    still(tab)
    assert tab.evaluate("scrollY") > scrolled + 50
    assert state(command, 0) == before
    tab.evaluate("document.getElementById('stage').scrollIntoView({block: 'center'})")
    tab.touchscreen.tap(*pixels_of(tab)(60, 50))
    saved(tab)
    point = state(command, 0)["points"][1]
    assert point == [pytest.approx(60, abs=0.5), pytest.approx(50, abs=0.5), 2, "placed"]
    tab.locator("#accept").tap()
    tab.keyboard.press("Escape")
    tab.locator("#reject").tap()
    counts(tab, "1 rejected")


def test_points_by_mouse(open_tab: Callable[..., "Tab"], command: Any) -> None:
    tab = open_tab()
    at = pixels_of(tab)
    tab.mouse.click(*at(70, 50))
    tab.wait_for_selector("#message >> text=/Choose a point first/")
    tab.mouse.move(*at(20.5, 15.5))
    tab.mouse.down()
    tab.mouse.move(*at(25, 20))
    tab.mouse.move(*at(30, 25))
    tab.mouse.up()
    saved(tab)
    x, y, mark, origin = state(command, 0)["points"][0]
    assert (x, y) == (pytest.approx(30, abs=0.2), pytest.approx(25, abs=0.2))
    assert (mark, origin) == (2, "placed")
    # A click near the chosen point, where its own ring takes it, sets it there.
    x, y = at(30, 25)
    with tab.expect_response("**/api/objects"):
        tab.mouse.click(x + 9, y)
    moved = state(command, 0)["points"][0]
    assert moved[:2] == [pytest.approx(30 + 9 / (at(1, 0)[0] - at(0, 0)[0]), abs=0.2), pytest.approx(25, abs=0.2)]
    # A point that there is not is added where one clicks.
    tab.fill("#name", "4.png")
    heading(tab, r"^1 of 4 · 4\.png")
    tab.click("#points button >> nth=2")
    tab.mouse.click(*at(60, 40))
    tab.wait_for_selector("#points button >> nth=2 >> text=yours")
    saved(tab)
    assert state(command, 2)["points"][2][:2] == [pytest.approx(60, abs=0.2), pytest.approx(40, abs=0.2)]
    # The wheel zooms about the pointer; zoomed, a drag moves the image, and no point is set by it.
    points, at = state(command, 2)["points"], pixels_of(tab)
    tab.mouse.move(*at(20, 40))
    tab.mouse.wheel(0, -300)
    (x, y), fit = at(20, 40), tab.get_attribute("#stage", "viewBox")
    assert under(tab, x, y) == pytest.approx((20, 40), abs=0.2)
    assert under(tab, x + 90, y)[0] - 20 < 0.7 * (90 / (at(1, 0)[0] - at(0, 0)[0]))
    tab.mouse.down()
    tab.mouse.move(x + 40, y)
    tab.mouse.move(x + 80, y)
    tab.mouse.up()
    assert under(tab, x + 80, y) == pytest.approx((20, 40), abs=0.2)
    tab.click("#fit")
    assert tab.get_attribute("#stage", "viewBox") != fit
    assert under(tab, *at(20, 40)) == pytest.approx((20, 40), abs=0.2)
    assert state(command, 2)["points"] == points


def test_filters_pages_and_a_name_that_would_break_out(open_tab: Callable[..., "Tab"]) -> None:
    tab = open_tab()
    assert tab.locator(".card").count() == 24
    tab.click("#page-after")
    heading(tab, r"^25 of 40")
    assert tab.locator(".card").count() == 16
    tab.select_option("#order", "confident")
    heading(tab, re.escape("1 of 40 · <img src=x onerror"))
    assert tab.locator(".card .file").first.inner_text() == NASTY
    tab.keyboard.press("a")
    counts(tab, "1 accepted")
    tab.select_option("#decision", "accepted")
    heading(tab, "^1 of 1 ")
    tab.select_option("#decision", "rejected")
    tab.wait_for_selector("#message >> text=/No object is left here/")


def test_no_object_is_decided_on_before_it_is_shown(open_tab: Callable[..., "Tab"], command: Any) -> None:
    tab = open_tab()
    numbers = command.client.ask("/api/list?order=doubtful")[1]["numbers"]
    with hold(tab, re.compile(rf"/api/objects\?numbers=(.*,)?{numbers[24]}(,|$)")):  # the first of the second page
        tab.reload()
        # What is here is shown at once,
        tab.click(".card >> nth=22")
        heading(tab, "^23 of 40")
        tab.keyboard.press("ArrowRight")
        heading(tab, "^24 of 40")
        # and while another one is awaited, which the page says, no action is for it.
        tab.keyboard.press("ArrowRight")
        heading(tab, "^Loading 25 of 40")
        for key in ("a", "Shift+A", "1", "x"):
            tab.keyboard.press(key)
    heading(tab, "^25 of 40 .* open")
    counts(tab, "40 open · 0 accepted")
    tab.keyboard.press("a")
    counts(tab, "39 open · 1 accepted")


def test_an_object_that_cannot_be_loaded_is_asked_for_again(open_tab: Callable[..., "Tab"], command: Any) -> None:
    tab = open_tab()
    numbers = command.client.ask("/api/list?order=doubtful")[1]["numbers"]
    there = re.compile(rf"/api/objects\?numbers=(.*,)?{numbers[24]}(,|$)")  # the first of the second page
    tab.route(there, lambda route: route.abort())
    tab.reload()
    heading(tab, "^1 of 40")
    tab.click("#page-after")
    heading(tab, "^Not loaded: 25 of 40")
    tab.wait_for_selector("#message.wrong >> text=/The server does not answer/")
    tab.keyboard.press("a")
    tab.unroute(there)
    tab.keyboard.press("ArrowLeft")
    heading(tab, "^24 of 40")
    tab.keyboard.press("ArrowRight")
    heading(tab, "^25 of 40 .* open")
    counts(tab, "40 open · 0 accepted")


def test_a_whole_image_is_the_one_that_was_shown(open_tab: Callable[..., "Tab"], command: Any) -> None:
    tab = open_tab()
    first, second, third = command.client.ask("/api/list?order=doubtful")[1]["numbers"][:3]
    with hold(tab, "**/api/objects"):
        tab.keyboard.press("r")
        heading(tab, "^2 of 40")
        tab.keyboard.press("Shift+A")
        tab.keyboard.press("ArrowRight")
        heading(tab, "^3 of 40")
    counts(tab, "38 open · 1 accepted · 1 rejected")
    decisions = [state(command, number)["decision"] for number in (first, second, third)]
    assert decisions == ["rejected", "accepted", "open"]
    heading(tab, "^3 of 40")


def test_two_windows_lose_nothing_and_see_each_other(open_tab: Callable[..., "Tab"], command: Any) -> None:
    first, second = open_tab(), open_tab()
    # Different points of one object, at the same time: both stay.
    for tab, key in ((first, "1"), (second, "2")):
        tab.keyboard.press(key)
        tab.keyboard.press("ArrowRight")
    for tab in (first, second):
        for row in (1, 2):
            tab.wait_for_selector(f"#points li:nth-child({row}) .swatch.placed")
    assert [point[3] for point in state(command, 0)["points"]] == ["placed", "placed", "predicted"]
    # The same object, decided in two ways: the second is refused, says so, and shows the first one's.
    second.evaluate("Object.defineProperty(document, 'hidden', {value: true})")  # it asks for no changes now
    first.keyboard.press("Escape")
    second.keyboard.press("Escape")
    first.keyboard.press("a")
    counts(first, "1 accepted")
    second.keyboard.press("r")
    second.wait_for_selector("#message.wrong >> text=/in another window/")
    assert state(command, 0)["decision"] == "accepted"
    second.keyboard.press("ArrowLeft")
    heading(second, "accepted")


def test_a_page_without_a_server_says_that_nothing_is_saved(open_tab: Callable[..., "Tab"], command: Any) -> None:
    tab = open_tab()
    command.kill()
    tab.keyboard.press("a")
    tab.wait_for_selector("#message.wrong >> text=/server does not answer/")
    saved(tab, r"Not saved\.")
    tab.keyboard.press("ArrowLeft")
    heading(tab, "^1 of 40 .* open")


def serious(tab: "Tab") -> list[str]:
    """What axe-core finds that keeps people out, contrast of less than 4.5:1 included."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    violations = axe.Axe().run(tab).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in violations if one["impact"] in SERIOUS for node in one["nodes"]]


SERIOUS = ("serious", "critical")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("phone", [False, True])
def test_everybody_can_use_it_and_it_fits(open_tab: Callable[..., "Tab"], scheme: str, phone: bool) -> None:
    """Nothing serious that axe-core finds, nothing wider than the window, and controls that a finger hits."""
    options = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True} if phone else {}
    tab = open_tab(color_scheme=scheme, **options)
    tab.click("#points button >> nth=1")
    tab.keyboard.press("ArrowRight")
    saved(tab)
    tab.click("#help summary")
    assert serious(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    least = tab.evaluate(
        "Math.min(...[...document.querySelectorAll('button, select')].filter(one => one.getClientRects().length)"
        ".map(one => one.getBoundingClientRect().height))"
    )
    assert least >= (44 if phone else 24)
    tab.keyboard.press("Escape")
    tab.keyboard.press("r")
    counts(tab, "1 rejected")
    tab.click("#again-open")
    tab.wait_for_selector("#again-start")
    assert serious(tab) == []
    tab.click("#again-close")
    assert serious(tab) == []
