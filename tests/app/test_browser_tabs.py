"""The tabs Words and Inspect in a real browser: with mouse, keyboard and touch, in light and dark."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.browsing import PHONE, keep_screenshot, save_image, send, wait_for_text
from app.made_runs import copy_with_maps
from app.serving import Page

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow

DEVICES: dict[str, dict[str, Any]] = {
    f"{device}-{scheme}": {**options, "color_scheme": scheme}
    for device, options in {"desktop": {}, "phone": PHONE}.items()
    for scheme in ("light", "dark")
}


@pytest.fixture(scope="module")
def runs(page_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_with_maps(page_runs, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(serve: Callable[..., Page], chromium: str, runs: Path) -> Page:
    # The paper's method with so many steps that a run takes minutes unless it is cancelled.
    endless = ("--method", "prompt", "--preset", "paper", "--set", "steps=5000")
    return serve(*endless, "--max-megabytes", 1, "--runs", runs)


def check_access(tab: "Tab") -> None:
    """Neither axe-core finds something serious, nor is the page wider than the screen."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    violations = axe.run(tab).response["violations"]
    assert [one["id"] for one in violations if one["impact"] in ("serious", "critical")] == [], violations
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def show_words(tab: "Tab", category: str) -> None:
    tab.click(f"#words-example-{category}")
    tab.wait_for_selector(f"#words-name >> text={category}.png")
    tab.click("#words-start")
    tab.wait_for_selector("#words-grid li >> nth=0")
    wait_for_text(tab, "Done: ", "#words-status")


def transfer_of(tab: "Tab", file: Path) -> Any:
    """A file as it is dropped or pasted."""
    return tab.evaluate_handle(
        """([name, bytes]) => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name, {type: 'image/png'})); return data; }""",
        [file.name, list(file.read_bytes())],
    )


@pytest.mark.parametrize("device", DEVICES)
def test_each_word_is_in_view(open_tab: Callable[..., "Tab"], tmp_path: Path, device: str) -> None:
    tab = open_tab(**DEVICES[device])
    tab.click("#tab-words")
    check_access(tab)
    show_words(tab, "animal")
    tab.wait_for_function(
        """() => { const at = document.querySelector('#words-maps-title').getBoundingClientRect();
        return at.top >= 0 && at.top < innerHeight / 2; }"""
    )
    assert tab.evaluate("document.activeElement.id") == "words-maps-title"
    assert tab.locator("#words-grid h3").all_inner_texts()[:4] == ["a", "rabbit", "with", "pink"]
    described = tab.locator("#words-grid .image-view p").all_text_contents()
    assert described[3].startswith("Heat map of the word “pink” over animal.png. It attends most at ")
    tab.evaluate("document.querySelector('#words-opacity').value = 20")
    tab.dispatch_event("#words-opacity", "input")
    tab.wait_for_function("document.querySelector('#words-grid .heat').style.opacity === '0.2'")
    check_access(tab)
    tab.screenshot(path=tmp_path / f"words-{device}.png", full_page=True)


def test_the_words_of_a_caption_beside_their_image(open_tab: Callable[..., "Tab"]) -> None:
    tab = open_tab(viewport={"width": 1280, "height": 1080})
    tab.click("#tab-words")
    show_words(tab, "animal")
    tab.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    keep_screenshot(tab, "app-words")
    caption = tab.input_value("#prompt").replace(",", "").split()
    assert tab.locator("#words-grid h3").all_inner_texts() == list(dict.fromkeys(caption))


def test_words_by_keyboard_alone(open_tab: Callable[..., "Tab"]) -> None:
    tab = open_tab()
    tab.focus("#tab-match")
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("document.activeElement.id") == "tab-words"
    pressed = []
    while "words-example-face" not in pressed:
        tab.keyboard.press("Tab")
        pressed.append(tab.evaluate("document.activeElement.id"))
        assert len(pressed) < 12, pressed
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#words-name >> text=face.png")
    while tab.evaluate("document.activeElement.id") != "prompt":
        tab.keyboard.press("Tab")
    tab.keyboard.press("Control+A")
    tab.keyboard.type("a face with red nose")
    tab.keyboard.press("Enter")
    wait_for_text(tab, "Done: 5 words", "#words-status")
    assert tab.locator("#words-grid h3").all_inner_texts() == ["a", "face", "with", "red", "nose"]
    # After a reload image and prompt are there; what is typed and not shown yet survives another tab.
    tab.keyboard.press("Shift+Tab")
    tab.fill("#prompt", "a face")
    tab.click("#tab-inspect")
    tab.click("#tab-words")
    tab.wait_for_timeout(500)
    assert tab.input_value("#prompt") == "a face"
    tab.reload()
    tab.wait_for_selector("body.ready")
    tab.click("#tab-words")
    tab.wait_for_selector("#words-name >> text=face.png")
    assert tab.input_value("#prompt") == "a face with red nose"


def test_an_image_is_sent_dropped_or_taken_from_match(open_tab: Callable[..., "Tab"], tmp_path: Path) -> None:
    tab = open_tab()
    tab.click("#tab-words")
    tab.click("#words-source")
    wait_for_text(tab, "no source on the tab Match", "#words-error")
    (tmp_path / "notes.png").write_text("no image")
    send(tab, "words", tmp_path / "notes.png")
    wait_for_text(tab, "notes.png", "#words-error")
    send(tab, "words", save_image(tmp_path / "one.png", 300, 200))
    tab.wait_for_selector("#words-name >> text=one.png 300 × 200")
    assert tab.inner_text("#words-error") == ""
    dropped = {"dataTransfer": transfer_of(tab, save_image(tmp_path / "dropped.png", 120, 90))}
    tab.dispatch_event("#words-panel", "drop", dropped)
    tab.wait_for_selector("#words-name >> text=dropped.png 120 × 90")
    tab.evaluate(
        "data => document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}))",
        transfer_of(tab, save_image(tmp_path / "pasted.png", 90, 120)),
    )
    tab.wait_for_selector("#words-name >> text=pasted.png 90 × 120")
    tab.click("#tab-match")
    tab.click("#example-face")
    tab.wait_for_selector("#source-name >> text=face-source.png")
    tab.click("#tab-words")
    tab.click("#words-source")
    tab.wait_for_selector("#words-name >> text=face-source.png")


def test_words_wait_for_another_users_run_and_can_be_cancelled(open_tab: Callable[..., "Tab"]) -> None:
    one, other = open_tab(), open_tab()
    one.click("#example-face")
    one.wait_for_selector("#source-name >> text=face-source.png")
    one.click("#find")
    wait_for_text(one, "loss 0", "#progress")
    other.click("#tab-words")
    other.click("#words-example-car")
    other.wait_for_selector("#words-name >> text=car.png")
    other.click("#words-start")
    wait_for_text(other, "Waiting: 1 job is before yours", "#words-progress")
    # A reload shows it again.
    other.reload()
    other.wait_for_selector("body.ready")
    other.click("#tab-words")
    wait_for_text(other, "Waiting: 1 job is before yours", "#words-progress")
    other.click("#words-cancel")
    wait_for_text(other, "Cancelled", "#words-status")
    assert other.is_hidden("#words-cancel")
    assert other.is_enabled("#words-start")
    one.click("#cancel")
    wait_for_text(one, "Cancelled")


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_pair_by_pair_with_its_heat_maps(open_tab: Callable[..., "Tab"], tmp_path: Path, device: str) -> None:
    tab = open_tab(**DEVICES[device])
    tab.click("#tab-inspect")
    check_access(tab)
    tab.select_option("#run", "again")
    wait_for_text(tab, "3 of 3 pairs", "#runs-count")
    tab.wait_for_selector("#runs-target .point")
    tab.click("#next")
    tab.wait_for_function("document.querySelector('#pair').value === '1'")
    tab.wait_for_selector("#runs-table .missed")
    assert tab.locator("#runs-table .missed").count() == 1
    label = tab.get_attribute("#runs-target .point >> nth=0", "aria-label") or ""
    assert ", wrong by " in label
    assert label.endswith(", confidence 0.10, uncalibrated")
    assert tab.is_hidden("#map-layer")
    tab.click("#runs-start")
    wait_for_text(tab, "pair-1 is located again with the run's model", "#runs-status")
    tab.wait_for_selector("#runs-target .heat[href]")
    together = tab.get_attribute("#runs-target .heat", "href")
    # A point in the image is chosen, with its own heat map.
    points = tab.locator("#runs-target .point")
    last = points.nth(points.count() - 1).get_attribute("data-point") or ""
    grip = f"#runs-target .point[data-point='{last}'] .badge"
    (tab.tap if device.startswith("phone") else tab.click)(grip)
    tab.wait_for_function(
        "before => ![null, before].includes(document.querySelector('#runs-target .heat').getAttribute('href'))",
        arg=together,
    )
    assert tab.input_value("#map-point") == last
    assert tab.locator("#runs-source .point.chosen").get_attribute("data-point") == last
    layers = tab.locator("#map-layer option").all_inner_texts()
    assert layers[0] == "all layers together"
    assert len(layers) > 1
    check_access(tab)
    tab.screenshot(path=tmp_path / f"inspect-{device}.png", full_page=True)
    tab.locator("#map-shown").uncheck()
    assert tab.get_attribute("#runs-target .heat", "href") is None
    tab.click("#next")
    wait_for_text(tab, "This pair failed: no memory", "#runs-error")
    assert tab.locator("#runs-target .point").count() == 0
    assert tab.is_hidden("#runs-start")
    tab.select_option("#outcome", "all right")
    wait_for_text(tab, "1 of 3 pairs", "#runs-count")
    tab.wait_for_selector("#runs-table tbody tr")
    assert tab.inner_text("#runs-error") == ""
    assert tab.locator("#runs-table .missed").count() == 0


def test_without_runs_the_page_says_what_one_is(
    serve: Callable[..., Page], open_tab: Callable[..., "Tab"], runs: Path, tmp_path: Path
) -> None:
    empty = serve("--runs", tmp_path / "runs")
    tab = open_tab()
    tab.context.unroute("**/*")
    tab.goto(empty.url)
    tab.wait_for_selector("body.ready")
    tab.click("#tab-inspect")
    tab.wait_for_selector("#runs-none")
    assert "A run is a folder with what one method predicted" in tab.inner_text("#runs-none")
    assert "semcorr eval toy" in tab.inner_text("#runs-none")
    assert tab.is_disabled("#run")
    check_access(tab)
    shutil.copytree(runs / "again", tmp_path / "runs" / "new")
    tab.click("#runs-reload")
    tab.wait_for_selector("#run option[value=new]", state="attached")
    assert tab.is_hidden("#runs-none")
    tab.select_option("#run", "new")
    tab.wait_for_selector("#runs-target .point")
