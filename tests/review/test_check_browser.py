"""What a check lists, corrected in a real browser as a person would: by mouse and keyboard, and by finger."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.browsing import PHONE, keep_screenshot
from review.files import AGAIN, EARS, NOSE, OUTSIDE, REVERSED, TWICE
from review.test_browser import counts, heading, saved, serious, state

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow


@pytest.fixture
def command(faulty: Path, start: Callable[..., Any]) -> Any:
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    return start(faulty, "--review", command="check")


def keypoints(path: Path) -> dict[int, list[float]]:
    return {one["id"]: one["keypoints"] for one in json.loads(path.read_text(encoding="utf-8"))["annotations"]}


def names_of(path: Path) -> list[str]:
    names: list[str] = json.loads(path.read_text(encoding="utf-8"))["categories"][0]["keypoints"]
    return names


def find(tab: "Tab", number: int) -> None:
    """Show one of the faces by the name of its file."""
    tab.fill("#name", f"{number + 1:04}.png")
    heading(tab, rf"^1 of 1 · face-{number + 1:04}\.png .*suspicion")
    tab.locator("h1").click()  # keys are for the page again


def on_screen(tab: "Tab", x: float, y: float) -> tuple[float, float]:
    """Where a location of the image is in the window."""
    at: list[float] = tab.locator("#stage").evaluate(
        """(stage, [x, y]) => { const at = new DOMPoint(x, y).matrixTransform(stage.getScreenCTM());
        return [at.x, at.y]; }""",
        [x, y],
    )
    return at[0], at[1]


def put(tab: "Tab", row: int, x: float, y: float) -> None:
    """Choose a point by its row, and click where it belongs, in COCO's pixels."""
    tab.locator("#points button").nth(row).click()
    with tab.expect_response("**/api/objects"):
        tab.mouse.click(*on_screen(tab, x + 0.5, y + 0.5))
    saved(tab)


def test_five_faults_are_corrected(open_tab: Callable[..., "Tab"], command: Any, faulty: Path) -> None:
    names, right = names_of(faulty), keypoints(faulty.with_name("right.json"))
    nose, eye = names.index("nose"), names.index("left eye")
    before, tab = faulty.read_bytes(), open_tab(viewport={"width": 1120, "height": 900})
    heading(tab, "^1 of 5 .* suspicion 1.00 · open")
    counts(tab, "5 open")
    assert not tab.is_visible("#again-open")
    assert tab.locator("#order option").first.inner_text() == "most suspicious first"

    find(tab, EARS)
    tab.wait_for_selector("#reasons >> text=/left and right look exchanged: 'left ear' and 'right ear'/")
    marked = tab.locator("#points button", has=tab.locator(".listed"))
    assert [text.split()[1] + " ear" for text in marked.all_inner_texts()] == ["left ear", "right ear"]
    keep_screenshot(tab, "check-review")
    assert serious(tab) == []
    tab.click("#reasons button")
    saved(tab)
    tab.wait_for_selector("#points >> text=yours")
    tab.keyboard.press("a")
    counts(tab, "4 open · 1 accepted")

    # Two points are exchanged by hand, and it is undone.
    find(tab, NOSE)
    untouched = state(command, NOSE)["points"]
    for key in (str(nose + 1), "x"):
        tab.keyboard.press(key)
    tab.wait_for_selector("#message >> text=/Choose the point to exchange nose with/")
    tab.locator("#points button").nth(0).click()
    saved(tab)
    tab.keyboard.press("Control+z")
    tab.wait_for_selector("#undo:enabled")
    tab.wait_for_selector("#redo:enabled")
    assert state(command, NOSE)["points"] == untouched
    put(tab, nose, *right[NOSE + 1][3 * nose : 3 * nose + 2])
    tab.click("#accept")  # with a point chosen, the whole object
    counts(tab, "3 open · 2 accepted")

    find(tab, REVERSED)
    for key, kind in (("x", "placed"), ("Control+z", "annotated"), ("Control+Shift+Z", "placed")):
        tab.keyboard.press(key)
        tab.wait_for_selector(f"#points .swatch.{kind}")
        saved(tab)
    tab.keyboard.press("a")
    counts(tab, "2 open · 3 accepted")

    find(tab, OUTSIDE)
    put(tab, eye, *right[OUTSIDE + 1][3 * eye : 3 * eye + 2])
    tab.keyboard.press("Escape")
    tab.keyboard.press("a")
    find(tab, TWICE)
    tab.keyboard.press("r")
    counts(tab, "0 open · 4 accepted · 1 rejected")
    tab.click("#write")
    tab.wait_for_selector("#message >> text=/Written: .*annotations.corrected.json/")

    assert faulty.read_bytes() == before
    now = keypoints(faulty.with_name("annotations.corrected.json"))
    assert AGAIN not in now
    placed = {NOSE + 1: nose, OUTSIDE + 1: eye}
    for number, row in placed.items():
        first = slice(3 * row, 3 * row + 3)
        assert now[number][first] == pytest.approx(right[number][first], abs=1.0)
        now[number][first] = right[number][first]
    assert now == right


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_by_finger(open_tab: Callable[..., "Tab"], command: Any, faulty: Path, scheme: str) -> None:
    names, right = names_of(faulty), keypoints(faulty.with_name("right.json"))
    left = names.index("left ear")
    tab = open_tab(color_scheme=scheme, **PHONE)
    find(tab, EARS)
    before = state(command, EARS)["points"]
    tab.locator("#points button").nth(left).tap()
    tab.locator("#exchange").tap()
    tab.wait_for_selector(
        "#message >> text=/Choose the point to exchange left ear with, or Exchange again for right ear/"
    )
    assert tab.get_attribute("#exchange", "aria-pressed") == "true"
    assert serious(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.locator("#exchange").tap()
    saved(tab)
    after = state(command, EARS)["points"]
    assert after[left][:2] == before[names.index("right ear")][:2]
    assert after[left][:2] == [value + 0.5 for value in right[EARS + 1][3 * left : 3 * left + 2]]
    tab.locator("#accept").tap()
    counts(tab, "4 open · 1 accepted")
    tab.locator("#reject").tap()
    counts(tab, "4 open · 0 accepted · 1 rejected")
    tab.locator("#undo").tap()
    counts(tab, "4 open · 1 accepted")
    least = tab.evaluate(
        "Math.min(...[...document.querySelectorAll('button, select')].filter(one => one.getClientRects().length)"
        ".map(one => one.getBoundingClientRect().height))"
    )
    assert least >= 44
    find(tab, REVERSED)
    tab.locator("#reasons button").tap()
    saved(tab)
    assert serious(tab) == []
