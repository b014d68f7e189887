"""A user's work stays: stray clicks, *Find* again, reloads, restarts, other windows and undo, in a real browser."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.browsing import (
    PATIENCE,
    PHONE,
    SOURCE,
    choose_method,
    click_pixel,
    exported,
    find,
    hold,
    load_example,
    located,
    rows_of,
    save_image,
    send,
    target,
    until,
    wait_for_points,
    wait_for_text,
)
from app.serving import Page

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow


def matched(tab: "Tab") -> None:
    """Find an example's points, and correct the third match of the second target."""
    load_example(tab, "animal")
    choose_method(tab, "dift", "published")
    find(tab)
    tab.click("#grid figure >> nth=1 >> .point >> nth=2")
    tab.wait_for_selector("#chips [aria-pressed=true] >> text=front leg")
    click_pixel(tab, target(1), (30, 220))
    tab.wait_for_selector("#grid figure >> nth=1 >> .point.corrected")


def stray(tab: "Tab") -> None:
    count = tab.locator(f"{SOURCE} .point").count()
    click_pixel(tab, SOURCE, (20, 20))
    wait_for_points(tab, count + 1)


def test_a_stray_click_loses_nothing_and_undo_removes_it(open_tab: Callable[[], "Tab"]) -> None:
    tab = open_tab()
    matched(tab)
    before = located(tab)
    assert len(before) == 12
    stray(tab)
    assert located(tab) == before
    wait_for_text(tab, "1 point is not found in every target yet")
    tab.click("#undo")
    wait_for_points(tab, 4)
    assert located(tab) == before
    # And one more undo takes the correction back, a redo makes it again.
    tab.click("#undo")
    wait_for_text(tab, "Undone: match corrected")
    assert "by hand" not in " ".join(located(tab))
    tab.click("#redo")
    wait_for_text(tab, "Done again: match corrected")
    assert located(tab) == before


def test_a_choice_stays_when_the_answer_to_an_earlier_click_comes(open_tab: Callable[[], "Tab"]) -> None:
    tab = open_tab()
    load_example(tab, "face")
    with hold(tab, "**/api/work/add-point"):
        click_pixel(tab, SOURCE, (20, 20))
        tab.click("#points .choose >> nth=1")
    wait_for_points(tab, 5)
    assert "right eye" in (tab.get_attribute("#points .choose[aria-pressed=true]", "aria-label") or "")


def test_find_again_finds_what_is_missing_and_keeps_corrections(open_tab: Callable[[], "Tab"]) -> None:
    tab = open_tab()
    matched(tab)
    before = located(tab)
    stray(tab)
    find(tab)
    after = located(tab)
    assert [row for row in after if row in before] == before
    assert len(after) == len(before) + 3
    tab.click("#find")
    wait_for_text(tab, "Nothing is left to find", "#finder")
    # With another method as well.
    (corrected,) = (row for row in before if "by hand" in row)
    choose_method(tab, "attention-dift", "fast")
    find(tab)
    assert corrected in located(tab)
    assert sum(row in before for row in located(tab)) < len(before)
    rows = rows_of(exported(tab, "matches.csv"))
    assert [row["corrected"] for row in rows if row["role"] == "target"].count("yes") == 1
    coco = json.loads(exported(tab, "matches.coco.json"))
    assert [one.get("corrected") for one in coco["annotations"]] == [None, [], [3], []]
    assert all(one["semcorr"] == {"predicted": True} for one in coco["annotations"][1:])


def test_everything_is_there_after_a_reload_in_another_window_and_by_its_link(
    open_tab: Callable[[], "Tab"], browser: "Browser", page: Page
) -> None:
    tab = open_tab()
    matched(tab)
    stray(tab)
    before = located(tab)
    tab.reload()
    wait_for_text(tab, "Your work is as you left it: 5 points, 12 matches and 1 correction")
    assert located(tab) == before
    assert tab.eval_on_selector_all("#points .name", "all => all.map(one => one.value)") == [
        *("nose", "tail", "front leg", "ear", ""),
    ]
    assert tab.input_value("#method") == "dift"
    # Undo goes back beyond the reload.
    tab.click("#undo")
    wait_for_text(tab, "Undone: point added")
    # Another window of this browser shows the same; what one does, the other sees.
    other = tab.context.new_page()
    other.goto(page.url)
    wait_for_text(other, "Your work is as you left it: 4 points, 12 matches and 1 correction")
    assert located(other) == before
    stray(other)
    wait_for_points(tab, 5)
    # The key is in no address, and another browser has none of it; but it can be given the link.
    assert "#" not in other.url
    other.click("#link")
    wait_for_text(other, "link")
    link = other.input_value("#link-text")
    assert link.startswith(f"{page.url}/#work=")
    with browser.new_context() as elsewhere:
        stranger = elsewhere.new_page()
        stranger.set_default_timeout(PATIENCE)
        stranger.goto(page.url)
        wait_for_text(stranger, "New here")
        stranger.goto("about:blank")
        stranger.goto(link)
        wait_for_text(stranger, "Your work is as you left it: 5 points")
        assert "work=" not in stranger.url
        assert located(stranger) == before


def test_a_question_comes_before_anything_is_lost(open_tab: Callable[[], "Tab"], tmp_path: Path) -> None:
    tab = open_tab()
    matched(tab)
    before = located(tab)
    other = save_image(tmp_path / "other.png", 64, 48)
    asks = {
        "Clear the points": lambda: tab.click("#clear"),
        "Load the example": lambda: tab.click("#example-car"),
        "Replace the source": lambda: send(tab, "source", other),
        "Remove them": lambda: tab.click("#remove"),
        "Remove it": lambda: tab.click("button[aria-label='Remove animal-2.png']"),
        "Delete the point": lambda: tab.click("#points [aria-label^='Delete front leg']"),
        "Discard": lambda: tab.click("#discard"),
    }
    for words, act in asks.items():
        act()
        tab.wait_for_selector(f"#question-yes >> text='{words}'")
        assert tab.evaluate("document.activeElement.id") == "question-no"
        tab.keyboard.press("Escape")
        wait_for_text(tab, "Nothing was changed")
        assert located(tab) == before
        act()
        tab.wait_for_selector("dialog[open]")
        tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("dialog[open]", state="detached")
        tab.wait_for_selector("#undo:enabled")
        until(tab, "() => document.querySelector('#undo').title !== 'Undo: match corrected'")
        tab.keyboard.press("Control+z")
        wait_for_text(tab, "Undone")
        assert located(tab) == before


def test_a_question_fits_on_a_phone(open_tab: Callable[..., "Tab"]) -> None:
    tab = open_tab(**{**PHONE, "viewport": {"width": 360, "height": 640}})
    load_example(tab, "face")
    tab.tap("#clear")
    tab.wait_for_selector("dialog[open]")
    for part in ("dialog", "#question-yes", "#question-no"):
        box = tab.locator(part).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["y"] + box["height"] <= 640
    assert box["height"] >= 44  # for a thumb
    tab.tap("#question-yes")
    wait_for_points(tab, 0)
    tab.tap("#undo")
    wait_for_points(tab, 4)


def test_a_work_is_there_after_a_restart_until_it_is_deleted(serve: Callable[..., Page], browser: "Browser") -> None:
    first = serve()
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE)
        tab = context.new_page()
        tab.goto(first.url)
        load_example(tab, "face")
        choose_method(tab, "dift", "published")
        find(tab)
        before = located(tab)
        first.kill()
        tab.click("#undo")
        wait_for_text(tab, "does not answer", "#error")
        second = serve(port=int(first.url.rpartition(":")[2]), works=first.works)
        assert second.url == first.url
        tab.goto(second.url)
        wait_for_text(tab, "Your work is as you left it: 4 points and 12 matches")
        assert located(tab) == before
        assert tab.inner_text("#with") == "with dift, published, on toy"
        other = context.new_page()
        other.goto(second.url)
        wait_for_text(other, "as you left it")
        tab.click("#delete")
        tab.click("#question-no")
        assert located(tab) == before
        tab.click("#delete")
        tab.click("#question-yes")
        wait_for_text(tab, "The work is deleted")
        assert tab.is_hidden(SOURCE)
        assert not any(path.is_file() for path in second.works.rglob("*.safetensors"))
        # A window that showed it says so, and goes on with an empty work.
        wait_for_text(other, "no longer|deleted", "#error")
        tab.reload()
        wait_for_text(tab, "New here")
        load_example(other, "car")
    second.process.kill()
