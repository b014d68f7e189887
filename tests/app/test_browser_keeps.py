"""A user's work stays: stray clicks, *Find* again, reloads and undo, in a real browser."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.browsing import (
    PATIENCE,
    choose,
    choose_method,
    click_pixel,
    exported,
    find,
    rows_of,
    save_image,
    send,
    wait_for_text,
)
from app.serving import Page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow

POINTS = "[...document.querySelectorAll('#source .sc-point')].length"


@pytest.fixture(scope="module")
def page(serve: Callable[..., Page], chromium: str) -> Page:
    return serve()


LOCATED = """points => points.map(point => [
    point.closest('figure').querySelector('.sc-title').textContent, point.querySelector('title').textContent,
    point.querySelector('circle').getAttribute('cx'), point.querySelector('circle').getAttribute('cy')].join(' '))"""


def located(tab: "Tab") -> list[str]:
    """The locations and titles of all points of all targets, as they are drawn."""
    points: list[str] = tab.eval_on_selector_all("#targets .sc-point", LOCATED)
    assert points
    return points


def matched(tab: "Tab") -> None:
    """Find an example's points, and correct the third match of the second target."""
    tab.click("#example-animal")
    tab.wait_for_selector("#targets .sc-stage >> nth=2")
    choose_method(tab, "dift", "published")
    find(tab)
    tab.locator("#targets figure >> nth=1").locator(".sc-point >> nth=2").locator("circle >> nth=0").click()
    tab.wait_for_selector("#targets figure >> nth=1 >> .sc-point[data-index='2'].sc-active")
    click_pixel(tab, tab.locator("#targets .sc-stage >> nth=1"), (256, 256), (30, 220))
    tab.wait_for_function("document.querySelector('#targets').textContent.includes('by hand')")


def stray(tab: "Tab") -> None:
    count = tab.evaluate(POINTS)
    click_pixel(tab, tab.locator("#source .sc-stage"), (256, 256), (20, 20))
    tab.wait_for_function(f"{POINTS} === {count + 1}")


def yes(tab: "Tab") -> None:
    tab.click("dialog .sc-yes")
    tab.wait_for_selector("dialog", state="detached")


def test_a_stray_click_loses_nothing_and_undo_removes_it(open_tab: Callable[[], "Tab"]) -> None:
    tab = open_tab()
    matched(tab)
    before = located(tab)
    heats = tab.locator("#targets .sc-heat").count()
    stray(tab)
    assert located(tab) == before
    assert "5: not found yet" in tab.inner_html("#source .sc-marks")
    assert tab.locator("#targets .sc-heat").count() == heats
    wait_for_text(tab, "1 point is not found in every target yet")
    tab.click("#undo")
    tab.wait_for_function(f"{POINTS} === 4")
    assert located(tab) == before
    # And one more undo takes the correction back, a redo makes it again.
    tab.click("#undo")
    wait_for_text(tab, "Undone: match corrected")
    assert "by hand" not in " ".join(located(tab))
    tab.click("#redo")
    wait_for_text(tab, "Done again: match corrected")
    assert located(tab) == before


def test_find_again_finds_what_is_missing_and_keeps_corrections(open_tab: Callable[[], "Tab"]) -> None:
    tab = open_tab()
    matched(tab)
    before = located(tab)
    stray(tab)
    tab.click("#find")
    wait_for_text(tab, "Done with dift, published")
    after = located(tab)
    assert [row for row in after if row in before] == before
    assert len(after) == len(before) + 3
    tab.click("#find")
    wait_for_text(tab, "Nothing is left to find")
    # With another method as well.
    corrected = next(row for row in before if "by hand" in row)
    choose_method(tab, "attention-dift", "fast")
    tab.click("#find")
    wait_for_text(tab, "Done with attention-dift, fast")
    assert corrected in located(tab)
    assert sum(row in before for row in located(tab)) < len(before)
    rows = rows_of(exported(tab, "matches.csv"))
    assert [row["corrected"] for row in rows if row["role"] == "target"].count("yes") == 1
    coco = json.loads(exported(tab, "matches.coco.json"))
    assert [one.get("corrected") for one in coco["annotations"]] == [None, [], [3], []]
    assert all(one["semcorr"] == {"predicted": True} for one in coco["annotations"][1:])


def test_everything_is_there_after_a_reload_and_on_a_page_opened_again(
    open_tab: Callable[[], "Tab"], browser: "Browser", page: Page
) -> None:
    tab = open_tab()
    matched(tab)
    stray(tab)
    before = located(tab)
    warned: list[str] = []

    def leave(dialog: "Dialog") -> None:
        warned.append(dialog.type)
        dialog.accept()

    tab.on("dialog", leave)
    tab.reload()
    wait_for_text(tab, "Your workspace is as you left it: 5 points, 12 matches and 1 correction")
    assert warned == ["beforeunload"]  # the correction is not exported yet
    assert located(tab) == before
    assert tab.input_value("#names input, #names textarea") == "nose, tail, front leg, ear"
    assert tab.input_value("#method input") == "dift"
    tab.wait_for_function("document.querySelector('#source .sc-base').naturalWidth > 0")
    tab.wait_for_function("document.querySelector('#targets .sc-heat').naturalWidth > 0")
    exported(tab, "matches.csv")
    tab.wait_for_timeout(500)
    tab.reload()
    wait_for_text(tab, "Your workspace is as you left it")
    assert warned == ["beforeunload"]
    # Undo goes back beyond the reload.
    tab.click("#undo")
    wait_for_text(tab, "Undone: point added")
    context = tab.context
    tab.close()
    again = context.new_page()
    again.goto(page.url)
    wait_for_text(again, "Your workspace is as you left it: 4 points, 12 matches and 1 correction")
    assert located(again) == before
    # The key is in no address, and another browser has none of it.
    assert "?" not in again.url
    with browser.new_context() as other:
        stranger = other.new_page()
        stranger.goto(page.url)
        stranger.wait_for_selector("#source .sc-empty", timeout=PATIENCE)
        wait_for_text(stranger, "New here")


def test_a_question_comes_before_anything_is_lost(open_tab: Callable[[], "Tab"], tmp_path: Path) -> None:
    tab = open_tab()
    matched(tab)
    before = located(tab)
    # Without a click on the button, an input does not notice the same file twice.
    others = iter([save_image(tmp_path / "other.png", 64, 48), save_image(tmp_path / "another.png", 64, 50)])
    asks = {
        "Clear the points": lambda: tab.click("#clear"),
        "Load the example": lambda: tab.click("#example-car"),
        "Replace the source": lambda: send(tab, "source", next(others)),
        "Remove them": lambda: tab.click("#remove"),
        "Delete the point": lambda: tab.click("#delete"),
        "Discard": lambda: tab.click("#discard"),
    }
    for words, act in asks.items():
        if words == "Delete the point":
            choose(tab, "point", "3 front leg")
            tab.wait_for_selector("#source .sc-active")
        act()
        tab.wait_for_selector(f"dialog .sc-yes >> text='{words}'")
        assert tab.evaluate("document.activeElement.className") == "sc-no"
        tab.keyboard.press("Escape")
        wait_for_text(tab, "Nothing was changed")
        assert located(tab) == before
        act()
        tab.wait_for_selector("dialog")
        tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        wait_for_text(tab, "Undo takes it back")
        tab.keyboard.press("Control+z")
        wait_for_text(tab, "Undone")
        assert located(tab) == before


def test_a_question_fits_on_a_phone(browser: "Browser", page: Page) -> None:
    with browser.new_context(viewport={"width": 360, "height": 640}) as phone:
        phone.set_default_timeout(PATIENCE)
        tab = phone.new_page()
        tab.goto(page.url)
        tab.wait_for_selector("#source .sc-empty")
        tab.wait_for_timeout(500)
        tab.click("#example-face")
        tab.wait_for_selector("#targets .sc-stage")
        tab.click("#clear")
        for part in ("dialog", "dialog .sc-yes", "dialog .sc-no"):
            box = tab.locator(part).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
            assert box["y"] + box["height"] <= 640
        assert box["height"] >= 40  # for a thumb
        yes(tab)
        tab.wait_for_function(f"{POINTS} === 0")
        tab.click("#undo")
        tab.wait_for_function(f"{POINTS} === 4")


def test_a_restarted_server_says_that_the_workspace_is_gone(serve: Callable[..., Page], browser: "Browser") -> None:
    first = serve()
    port = first.url.rpartition(":")[2]
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE)
        tab = context.new_page()
        tab.goto(first.url)
        tab.wait_for_selector("#source .sc-empty")
        tab.wait_for_timeout(500)
        tab.click("#example-face")
        tab.wait_for_selector("#targets .sc-stage")
        tab.wait_for_timeout(500)
        first.process.terminate()
        first.process.wait(30)
        second = serve(port=int(port))
        assert second.url == first.url
        tab.goto(second.url)
        wait_for_text(tab, "Your earlier workspace is no longer on this server")
