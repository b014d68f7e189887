"""The page on a phone, with fingers: a swipe scrolls, two fingers zoom, a tap adds a point, results come into view."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from app.browsing import (
    PHONE,
    SOURCE,
    Fingers,
    find,
    keep_screenshot,
    load_example,
    on_screen,
    still,
    target,
    until,
    wait_for_points,
    wait_for_text,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow


def part(tab: "Tab", stage: str = SOURCE) -> list[float]:
    """The part of an image that is seen: left, top, width, height."""
    return [float(value) for value in (tab.get_attribute(stage, "viewBox") or "").split()]


def scrolled(tab: "Tab") -> float:
    return float(tab.evaluate("scrollY"))


def test_a_swipe_scrolls_two_fingers_zoom_and_a_tap_adds_a_point(open_tab: Callable[..., "Tab"]) -> None:
    tab = open_tab(**PHONE)
    load_example(tab, "animal")
    fingers = Fingers(tab)
    x, y = map(round, on_screen(tab, SOURCE, 128, 200))
    start = scrolled(tab)
    # A swipe on the image scrolls the page, and neither adds nor moves a point.
    fingers.move(((x, y), (x, y - 150)))
    until(tab, "least => scrollY > least", start + 80)
    still(tab)
    far = scrolled(tab)
    assert far > start + 80
    fingers.move(((x, y - 150), (x + 40, y)))
    until(tab, "far => scrollY < far", far)
    still(tab)
    # Nor one that begins on a point that is not chosen.
    at = on_screen(tab, SOURCE, *location(tab, 0))
    before = scrolled(tab)
    fingers.move((at, (at[0], at[1] - 100)))
    until(tab, "least => scrollY > least", before + 40)
    still(tab)
    assert scrolled(tab) > before + 40
    assert tab.locator(f"{SOURCE} .point").count() == 4
    assert tab.is_disabled("#undo") or tab.get_attribute("#undo", "title") == "Undo: example loaded"
    assert part(tab) == [0, 0, 256, 256]
    # Two fingers that go apart zoom about their middle, and nothing scrolls.
    x, y = map(round, on_screen(tab, SOURCE, 128, 128))
    before = scrolled(tab)
    middle = located_at(tab, x, y)
    fingers.move(((x - 30, y), (x - 120, y)), ((x + 30, y), (x + 120, y)))
    assert part(tab)[2:] == pytest.approx([64, 64], rel=0.02)
    assert located_at(tab, x, y) == pytest.approx(middle, abs=0.5)
    # Zoomed, one finger moves the image along with it.
    fingers.move(((x, y), (x + 40, y - 60)))
    assert located_at(tab, x + 40, y - 60) == pytest.approx(middle, abs=0.5)
    # Two fingers that go side by side move it too.
    fingers.move(((x - 40, y), (x - 40, y - 60)), ((x + 40, y), (x + 40, y - 60)))
    fingers.move(((x - 150, y), (x - 20, y)), ((x + 150, y), (x + 20, y)))
    assert part(tab) == [0, 0, 256, 256]
    fingers.move(((x - 40, y), (x - 40, y - 120)), ((x + 40, y), (x + 40, y - 120)))
    assert scrolled(tab) == before
    assert tab.locator(f"{SOURCE} .point").count() == 4
    # A tap adds a point where the finger was.
    tab.touchscreen.tap(x, y + 30)
    wait_for_points(tab, 5)
    there = located_at(tab, x, y + 30)
    assert location(tab, 4) == pytest.approx(there, abs=1)
    # It is chosen, so a finger moves it.
    with tab.expect_response("**/api/work/move-point"):
        fingers.move(((x, y + 30), (x + 60, y + 60)))
    wait_for_points(tab, 5)
    assert location(tab, 4) == pytest.approx(located_at(tab, x + 60, y + 60), abs=1)


def location(tab: "Tab", number: int) -> list[float]:
    """The location of a point of the source, counted from 0."""
    at: list[float] = tab.eval_on_selector(
        f"{SOURCE} .point[data-point] >> nth={number}",
        "point => { const at = point.transform.baseVal[0].matrix; return [at.e, at.f]; }",
    )
    return at


def located_at(tab: "Tab", x: float, y: float) -> list[float]:
    """The location of the source that is at a point of the screen."""
    at: list[float] = tab.locator(SOURCE).evaluate(
        """(stage, [x, y]) => { const at = new DOMPoint(x, y).matrixTransform(stage.getScreenCTM().inverse());
        return [at.x, at.y]; }""",
        [x, y],
    )
    return at


def fits(tab: "Tab") -> None:
    """Nothing is wider than the screen, and no control is too small for a finger or outside."""
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    controls: list[dict[str, Any]] = tab.evaluate(
        """() => [...document.querySelectorAll('button, a.button, select, summary, .file, .switch, input[type=range]')]
            .filter(one => one.offsetParent)
            .map(one => ({...one.getBoundingClientRect().toJSON(), id: one.id, text: one.textContent}))"""
    )
    assert len(controls) > 10
    for one in controls:
        assert one["height"] >= 44, one
        assert one["width"] >= 44, one
        assert one["left"] >= 0, one
        assert one["right"] <= 390, one


def test_results_come_into_view_on_a_phone(open_tab: Callable[..., "Tab"]) -> None:
    tab = open_tab(**PHONE)
    fits(tab)
    assert "left" not in tab.inner_text("body")
    load_example(tab, "car")
    fits(tab)
    find(tab)
    still(tab)
    # The first target, whole, above the bar with the button.
    seen = tab.locator(target(0)).bounding_box()
    bar = tab.locator("#finder").bounding_box()
    assert seen is not None
    assert bar is not None
    assert seen["y"] >= 0
    assert seen["y"] + seen["height"] <= bar["y"] + 1
    assert tab.locator("#grid figure >> nth=0 >> .point").count() == 4
    keep_screenshot(tab, "app-phone")
    tab.tap("label.switch")
    until(tab, "() => document.querySelectorAll('#grid .heat[href]').length === 3")
    tab.tap("#numbers summary")
    tab.tap("#export")
    tab.wait_for_selector("#files a")
    fits(tab)
    # A match is corrected by two taps: the point, and its true location.
    tab.tap("#grid figure >> nth=2 >> .point >> nth=0")
    tab.wait_for_selector("#chips [aria-pressed=true]:not([data-id=''])")
    tab.touchscreen.tap(*on_screen(tab, target(2), 20, 20))
    tab.wait_for_selector("#grid figure >> nth=2 >> .point.corrected")
    wait_for_text(tab, "set by hand in car-3.png. Undo takes it back")
