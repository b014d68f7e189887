"""The page in a real browser: headless Chromium, with ``python -m semcorr app`` as a process."""

import base64
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest

from app.browsing import (
    SOURCE,
    choose_method,
    click_pixel,
    drag,
    exported,
    find,
    keep_screenshot,
    load_example,
    on_screen,
    rows_of,
    save_image,
    send,
    target,
    until,
    wait_for_points,
    wait_for_text,
)
from app.serving import Page
from semcorr.matchers.results import Query

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(serve: Callable[..., Page], chromium: str) -> Page:
    # The paper's method with so many steps that a run takes minutes unless it is cancelled.
    return serve("--method", "prompt", "--preset", "paper", "--set", "steps=5000", "--max-megabytes", 1)


def placed(tab: "Tab", pixel: tuple[int, int]) -> tuple[float, float]:
    """Click a pixel of the source, and return the point as the server has it."""
    with tab.expect_response("**/api/work/add-point") as answer:
        click_pixel(tab, SOURCE, pixel)
    point = answer.value.json()["points"][-1]
    return point["x"], point["y"]


@pytest.mark.parametrize("size", [(1600, 1200), (60, 900), (2000, 40), (48, 48)], ids="{0[0]}x{0[1]}".format)
def test_a_click_is_the_pixel_that_was_clicked(
    open_tab: Callable[[], "Tab"], tmp_path: Path, size: tuple[int, int]
) -> None:
    tab = open_tab()
    send(tab, "source", save_image(tmp_path / "source.png", *size))
    tab.wait_for_selector(SOURCE)
    plain, close = (size[0] // 3, size[1] // 4), (size[0] * 3 // 4, size[1] * 2 // 3)
    shown = tab.locator(SOURCE).evaluate("stage => stage.getScreenCTM().a")  # pixels of the screen for one of the image
    x, y = placed(tab, plain)
    # Unzoomed, a mouse cannot point more finely than at one pixel of the screen.
    assert abs(x - plain[0] - 0.5) <= max(1, 1 / shown)
    assert abs(y - plain[1] - 0.5) <= max(1, 1 / shown)
    # The wheel zooms about the pointer: what is under it stays there, but at the image's edges.
    wait_for_points(tab, 1)
    pointer = tuple(map(round, on_screen(tab, SOURCE, close[0] + 0.5, close[1] + 0.5)))
    under = """(stage, [x, y]) => { const at = new DOMPoint(x, y).matrixTransform(stage.getScreenCTM().inverse());
        return [at.x, at.y]; }"""
    before = tab.locator(SOURCE).evaluate(under, pointer)
    tab.mouse.move(*pointer)
    scale, seen = f"document.querySelector('{SOURCE}').getScreenCTM().a", shown
    while seen == shown or seen < 2:
        tab.mouse.wheel(0, -240)
        until(tab, f"{scale} > {seen}")
        seen = tab.evaluate(scale)
    if size == (1600, 1200):
        assert tab.locator(SOURCE).evaluate(under, pointer) == pytest.approx(before, abs=0.01)
    # A flat image shows no more than a few pixels: what is clicked is the one under the pointer.
    close = tuple(map(int, tab.locator(SOURCE).evaluate(under, pointer)))
    x, y = placed(tab, close)
    assert abs(x - close[0] - 0.5) <= 0.5
    assert abs(y - close[1] - 0.5) <= 0.5
    # Zoomed, a drag moves the image and adds nothing; 0 shows all of it.
    part = tab.get_attribute(SOURCE, "viewBox")
    drag(tab, SOURCE, (close[0] + 3, close[1] + 3), (close[0] - 3, close[1] - 3))
    tab.focus(SOURCE)
    tab.keyboard.press("0")
    until(tab, f"document.querySelector('{SOURCE}').getAttribute('viewBox') !== '{part}'")
    assert tab.locator(f"{SOURCE} .point").count() == 2
    assert tab.locator(SOURCE).evaluate("stage => stage.getScreenCTM().a") == pytest.approx(shown)


def test_find_inspect_correct_and_export(open_tab: Callable[[], "Tab"], tmp_path: Path) -> None:
    tab = open_tab()
    load_example(tab, "animal")
    tab.click("#points li >> nth=3 >> button[aria-label^='Delete']")
    wait_for_points(tab, 3)
    # A dragged point is where it was dropped.
    [x, y] = tab.eval_on_selector(
        f"{SOURCE} .point >> nth=2", "point => { const at = point.transform.baseVal[0].matrix; return [at.e, at.f]; }"
    )
    with tab.expect_response("**/api/work/move-point"):
        drag(tab, SOURCE, (x, y), (128, 128))
    # Names with commas name the points that follow.
    tab.fill("#points .name >> nth=0", "snout, tail, paw")
    tab.press("#points .name >> nth=0", "Enter")
    tab.wait_for_selector("#points li >> nth=2 >> [aria-label*='paw']")
    choose_method(tab, "attention-dift", "fast")
    assert "attention-dift, fast, on toy" in find(tab)
    # The results are where one looks.
    assert tab.evaluate("document.activeElement.id") == "targets-title"
    until(tab, "document.querySelector('#targets-title').getBoundingClientRect().top < 200")
    assert tab.inner_text("#targets-title span") == "Results"
    assert "calibrated on" in tab.inner_text("#legend")
    assert re.fullmatch(r"(\d \d+ %\s*){3}", re.sub(r"\s+", " ", tab.inner_text("#grid figure >> nth=0 >> .sureness")))
    # Without the heat map the image is clean.
    assert tab.locator("#grid .heat[href]").count() == 0
    tab.click("label:has(#heat)")
    heats = lambda: tab.eval_on_selector_all("#grid .heat", "all => all.map(one => one.getAttribute('href'))")  # noqa: E731
    until(tab, "document.querySelectorAll('#grid .heat[href^=\"blob:\"]').length === 3")
    every = heats()
    # A point that is chosen in the source is chosen everywhere.
    tab.click(f"{SOURCE} .point >> nth=1")
    tab.wait_for_selector("#chips [aria-pressed=true] >> text=tail")
    assert tab.locator("#grid .point.chosen").count() == 3
    changed = (
        "one => [...document.querySelectorAll('#grid .heat')].every(heat => !one.includes(heat.getAttribute('href')))"
    )
    until(tab, changed, every)
    own = heats()
    keep_screenshot(tab, "app-match")
    tab.select_option("#layer", "up_blocks.2.attentions.1")
    until(tab, changed, own)
    tab.click("label:has(#heat)")
    until(tab, "document.querySelectorAll('#grid .heat[href]').length === 0")
    # Hover shows the name, how sure, and where.
    tab.hover("#grid figure >> nth=0 >> .point >> nth=0")
    tip = tab.inner_text("#grid figure >> nth=0 >> .tip.shown")
    assert re.fullmatch(r"(snout|tail|paw)\s\d+ % sure\s[\d.]+, [\d.]+", tip)

    # Correct the third match of the second target: choose it, then click its true location.
    # A second click is near, where the point's own ring takes it.
    tab.click("#chips >> text=paw")
    for across in (52, 40):
        with tab.expect_response("**/api/work/correct"):
            click_pixel(tab, target(1), (across, 200))
        by_hand = f"[aria-label^='paw at {across}.'][aria-label$='set by hand']"
        tab.wait_for_selector(f"#grid figure >> nth=1 >> .point{by_hand}")
    files = zipfile.ZipFile(io.BytesIO(exported(tab, "semcorr-matches.zip")))
    rows = rows_of(files.read("matches.csv"))
    assert [(row["role"], row["point"]) for row in rows[:3]] == [("source", "1"), ("source", "2"), ("source", "3")]
    assert abs(float(rows[2]["x"]) - 128) <= 1
    assert abs(float(rows[2]["y"]) - 128) <= 1
    moved = [row for row in rows if row["corrected"] == "yes"]
    assert [(row["image"], row["point"], row["name"]) for row in moved] == [("animal-2.png", "3", "paw")]
    assert abs(float(moved[0]["x"]) - 40.5) <= 1
    assert abs(float(moved[0]["y"]) - 200.5) <= 1
    coco = json.loads(files.read("matches.coco.json"))
    assert coco["categories"][0]["keypoints"] == ["snout", "tail", "paw"]
    assert coco["annotations"][2]["keypoints"][6:] == pytest.approx(
        [float(moved[0]["x"]) - 0.5, float(moved[0]["y"]) - 0.5, 2], abs=0.01
    )
    assert PIL.Image.open(io.BytesIO(files.read("animal-2-matches.png"))).width > 500
    (tmp_path / "query.safetensors").write_bytes(files.read("query.safetensors"))
    assert Query.load(tmp_path / "query.safetensors").names == ("snout", "tail", "paw")
    # The table has the same.
    tab.click("#numbers summary")
    (row,) = (row for row in tab.locator("#table tbody tr").all_inner_texts() if "animal-2.png\t3" in row)
    assert row.split("\t") == [
        "animal-2.png",
        "3",
        "paw",
        f"{float(moved[0]['x']):.1f}",
        f"{float(moved[0]['y']):.1f}",
        "set by hand",
    ]


def test_optimizing_is_shown_and_cancel_frees_the_queue_for_another_user(open_tab: Callable[[], "Tab"]) -> None:
    one, other = open_tab(), open_tab()
    load_example(one, "face")
    one.click("#find")
    one.wait_for_selector("#progress .curve polyline")
    one.wait_for_selector(f"{SOURCE} .heat[href]")
    assert re.search(r"optimize, \d+ of \d+ · about .+ left · loss 0\.\d+", one.inner_text("#progress"))

    load_example(other, "car")
    choose_method(other, "dift", "published")
    other.click("#find")
    wait_for_text(other, "Waiting: 1 job is before yours", "#progress")

    one.click("#cancel")
    wait_for_text(one, "Cancelled")
    one.wait_for_selector("#find:enabled")
    wait_for_text(other, "Done with")
    # Each has their own images and results.
    assert other.inner_text("#source-name").startswith("car-source.png")
    assert one.inner_text("#source-name").startswith("face-source.png")
    assert one.is_hidden("#results")


def test_images_that_are_no_images_are_refused_until_the_next_action(
    open_tab: Callable[[], "Tab"], tmp_path: Path, page: Page
) -> None:
    tab = open_tab()
    text = tmp_path / "text.png"
    text.write_text("not an image at all")
    send(tab, "source", text)
    message = wait_for_text(tab, "not an image", "#error")
    assert "'text.png' is not an image file" in message
    assert str(page.temporary) not in message
    # What was wrong is not said any longer once there is something else to say.
    send(tab, "source", save_image(tmp_path / "right.png", 64, 48))
    tab.wait_for_selector(SOURCE)
    assert tab.inner_text("#error") == ""
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "many-bytes.png")
    assert (tmp_path / "many-bytes.png").stat().st_size > 1_000_000
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    # One that can be read arrives, whatever is beside it.
    send(
        tab, "targets", tmp_path / "many-bytes.png", tmp_path / "phone.heic", save_image(tmp_path / "good.png", 40, 40)
    )
    message = wait_for_text(tab, "MB", "#error")
    assert "many-bytes.png has 2 MB. Expected at most 1 MB" in message
    assert "Most Compatible" in message
    assert tab.locator("#grid figure").count() == 1
    tab.click("#undo")
    tab.wait_for_selector("#grid figure", state="detached")
    assert tab.inner_text("#error") == ""


DROP = """([selector, type, files]) => {
    const data = new DataTransfer();
    for (const [name, bytes] of files) {
        data.items.add(new File([Uint8Array.from(atob(bytes), one => one.charCodeAt(0))], name, {type: 'image/png'}));
    }
    const options = {bubbles: true, cancelable: true};
    const event = type === 'paste' ? new ClipboardEvent(type, {...options, clipboardData: data})
        : new DragEvent(type, {...options, dataTransfer: data});
    document.querySelector(selector).dispatchEvent(event);
}"""


def test_images_are_dropped_pasted_several_at_once_and_removed_one_by_one(
    open_tab: Callable[[], "Tab"], tmp_path: Path
) -> None:
    tab = open_tab()
    paths = [save_image(tmp_path / f"{name}.png", 64 + number, 48) for number, name in enumerate("abcdef")]
    files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    names = lambda: tab.locator("#grid figcaption bdi").all_inner_texts()  # noqa: E731
    # Of several that are dropped on the source the others are targets.
    tab.evaluate(DROP, ["#source-title", "drop", files[:3]])
    tab.wait_for_selector(target(1))
    assert tab.inner_text("#source-name") == "a.png 64 × 48"
    assert names() == ["b.png", "c.png"]
    tab.evaluate(DROP, ["body", "paste", files[3:4]])
    tab.wait_for_selector(target(2))
    tab.evaluate(DROP, ["#targets", "drop", files[4:]])
    tab.wait_for_selector(target(4))
    tab.click("button[aria-label='Remove c.png']")
    tab.wait_for_selector("#grid >> text=c.png", state="detached")
    assert names() == ["b.png", "d.png", "e.png", "f.png"]
    tab.click("#undo")
    tab.wait_for_selector("#grid >> text=c.png")
    assert names() == ["b.png", "c.png", "d.png", "e.png", "f.png"]
