"""The page by keyboard alone, and read aloud: every step of a match without a mouse, every control with a name."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.browsing import (
    PHONE,
    SOURCE,
    choose_method,
    find,
    load_example,
    rows_of,
    save_image,
    send,
    target,
    wait_for_points,
    wait_for_text,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow


def go_to(tab: "Tab", selector: str, key: str = "Tab") -> None:
    """Press Tab until an element has the focus; it must be seen, and its focus too."""
    for _ in range(60):
        tab.keyboard.press(key)
        if tab.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} is not reached by {key}")


def press(tab: "Tab", *keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def test_a_match_by_keyboard_alone(open_tab: Callable[[], "Tab"], tmp_path: Path) -> None:
    tab = open_tab()
    # The file chooser is the browser's own; it opens by a key.
    tab.on("filechooser", lambda _: None)  # else Playwright lets the browser show one in between
    go_to(tab, "#source-file")
    with tab.expect_file_chooser() as chooser:
        tab.keyboard.press("Enter")
    chooser.value.set_files(save_image(tmp_path / "source.png", 120, 90))
    tab.wait_for_selector(SOURCE)
    go_to(tab, "#targets-file")
    with tab.expect_file_chooser() as chooser:
        tab.keyboard.press("Enter")
    chooser.value.set_files(save_image(tmp_path / "target.png", 100, 80))
    tab.wait_for_selector(target(0))
    # The first arrow shows the cross-hair in the middle of the image.
    go_to(tab, SOURCE, "Shift+Tab")
    press(tab, "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "ArrowDown", "ArrowDown", "Enter")
    wait_for_points(tab, 1)
    assert tab.locator(f"{SOURCE} .point").get_attribute("aria-label") == "point 1 at 80.5, 47.5"
    assert tab.inner_text("#source-image .where") == "80.5, 47.5"
    press(tab, "Shift+ArrowLeft", "Shift+ArrowUp", " ")
    wait_for_points(tab, 2)
    # From point to point; arrows move one, as one step.
    with tab.expect_response("**/api/work/move-point"):
        press(tab, "Tab", "Shift+ArrowUp", "ArrowLeft", "ArrowLeft", "Tab")
    tab.wait_for_selector(f"{SOURCE} .point[aria-label='point 1 at 78.5, 37.5']")
    assert tab.get_attribute(":focus", "aria-label") == "point 2 at 70.5, 37.5"
    tab.keyboard.press("Control+z")
    tab.wait_for_selector(f"{SOURCE} .point[aria-label='point 1 at 80.5, 47.5']")
    # Keys zoom, about the point that has the focus.
    press(tab, "+", "+")
    assert float((tab.get_attribute(SOURCE, "viewBox") or "").split()[2]) < 70
    tab.keyboard.press("0")
    tab.keyboard.press("Delete")
    wait_for_points(tab, 1)
    go_to(tab, "#points .name")
    tab.keyboard.type("nose")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(f"{SOURCE} .point[aria-label^='nose at']")
    go_to(tab, "#find")
    tab.keyboard.press("Enter")
    wait_for_text(tab, "Done with")
    # The focus is where the results are.
    assert tab.evaluate("document.activeElement.id") == "targets-title"
    words = tab.inner_text(f"{target(0)} >> xpath=../.. >> .hidden")
    assert re.fullmatch(r"target\.png, 1 point: nose at [\d.]+, [\d.]+, confidence 0\.\d\d, uncalibrated\.", words), (
        words
    )
    # Choose it, and put it where it belongs.
    go_to(tab, "#chips [data-id]:not([data-id=''])")
    tab.keyboard.press("Enter")
    go_to(tab, "#heat")
    tab.keyboard.press(" ")
    tab.wait_for_selector("#grid .heat[href]")
    tab.keyboard.press(" ")
    go_to(tab, "#grid .stage")
    press(tab, "ArrowRight", "Shift+ArrowLeft", "Shift+ArrowLeft", "Enter")
    tab.wait_for_selector("#grid .point[aria-label='nose at 30.5, 40.5, set by hand']")
    press(tab, "Tab", "ArrowDown", "Tab")
    tab.wait_for_selector("#grid .point[aria-label='nose at 30.5, 41.5, set by hand']")
    go_to(tab, "#export")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#files a:focus")
    go_to(tab, "a[download='matches.csv']")
    with tab.expect_download() as download:
        tab.keyboard.press("Enter")
    (row,) = (row for row in rows_of(Path(download.value.path()).read_bytes()) if row["role"] == "target")
    assert (row["name"], row["x"], row["y"], row["corrected"]) == ("nose", "30.5", "41.5", "yes")
    # Tabs as everywhere: arrows go from one to the next.
    go_to(tab, "#tab-match", "Shift+Tab")
    tab.keyboard.press("ArrowRight")
    assert tab.get_attribute("#tab-words", "aria-selected") == "true"
    assert tab.is_visible("#words")
    press(tab, "Home")
    assert tab.is_visible("#match")


def check(tab: "Tab", state: str) -> None:
    """No serious finding of axe-core, no image or control without a name, no button that is too small."""
    from axe_playwright_python.sync_playwright import Axe

    violations = [one for one in Axe().run(tab).response["violations"] if one["impact"] in ("serious", "critical")]
    assert violations == [], (state, violations)
    small: list[Any] = tab.evaluate(
        """() => [...document.querySelectorAll('button, a, select, input:not([type=file]), .file')]
            .filter(one => one.offsetParent).map(one => [one.id || one.textContent, one.getBoundingClientRect()])
            .filter(([, box]) => box.width < 24 || box.height < 24)"""
    )
    assert small == [], (state, small)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [{}, PHONE], ids=["desktop", "phone"])
def test_every_state_can_be_read_and_reached(
    open_tab: Callable[..., "Tab"], tmp_path: Path, scheme: str, device: dict[str, Any]
) -> None:
    # Without the page's policy, which lets no other script in.
    tab = open_tab(color_scheme=scheme, bypass_csp=True, **device)

    def inspect(state: str) -> None:
        check(tab, f"{state}, {scheme}")
        tab.screenshot(path=tmp_path / f"{state}.png")

    ground = [int(part) for part in re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor"))]
    assert (sum(ground) < 200) == (scheme == "dark")
    inspect("empty")
    load_example(tab, "animal")
    inspect("example")
    choose_method(tab, "dift", "published")
    find(tab)
    inspect("found")
    tab.click("#chips button >> nth=2")
    tab.click("label:has(#heat)")
    tab.wait_for_selector("#grid .heat[href]")
    tab.click("#numbers summary")
    tab.click("#export")
    tab.wait_for_selector("#files a")
    inspect("exported")
    tab.click("#clear")
    tab.wait_for_selector("dialog[open]")
    inspect("question")
    tab.keyboard.press("Escape")
    (tmp_path / "no.png").write_text("no image")
    send(tab, "targets", tmp_path / "no.png")
    wait_for_text(tab, "not an image", "#error")
    inspect("error")
    for name in ("words", "inspect"):
        tab.click(f"#tab-{name}")
        tab.wait_for_selector(f"#{name} h2")
        inspect(name)
