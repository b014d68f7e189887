"""Regions on the page in a real browser: painted by mouse, finger and keyboard, found, kept, exported."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from jaxtyping import Bool

from app.browsing import (
    PHONE,
    SOURCE,
    Fingers,
    drag,
    exported,
    find,
    hold,
    keep_screenshot,
    load_example,
    on_screen,
    until,
)
from semcorr.imaging.masks import decode_rle
from semcorr.toy.parts import part_map
from semcorr.toy.scenes import first_scenes

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow

PARTS = ("body", "wing", "head")
SCENES = [scene for _, scene in first_scenes("bird", 4, size=256)]
"""The drawings of the example."""


def part_of(index: int, part: str) -> Bool[np.ndarray, "height width"]:
    """The true mask of a part in a drawing of the example."""
    truth = part_map(SCENES[index])
    return truth.labels == {name: label for label, name in truth.names.items()}[part]


def runs_of(mask: Bool[np.ndarray, "height width"], step: int) -> Iterator[tuple[int, int, int]]:
    """What a brush of a diameter paints of a mask: row, first and last column of each run of every few rows."""
    for row in range(step // 2, len(mask), step):
        edges = np.flatnonzero(np.diff(mask[row].astype(int), prepend=0, append=0)).reshape(-1, 2)
        for start, end in edges:
            if end - start > step:
                yield row, int(start) + step // 2, int(end) - step // 2


def begin(tab: "Tab", size: int) -> None:
    """Load the example and take a brush."""
    load_example(tab, "bird")
    tab.click("#mode-regions")
    tab.fill("#brush", str(size))


def paint_part(tab: "Tab", part: str, step: int = 10) -> None:
    for row, first, last in runs_of(part_of(0, part), step):
        drag(tab, SOURCE, (first, row), (last, row))
    tab.wait_for_timeout(200)


def wait_for_regions(tab: "Tab", count: int) -> None:
    until(tab, "count => document.querySelectorAll('#regions li').length === count", count)


def iou(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_painted_regions_come_back_from_other_images_a_reload_and_an_export(open_tab: Callable[..., "Tab"]) -> None:
    tab = open_tab(viewport={"width": 1280, "height": 1000})
    begin(tab, 33)
    assert "Needs a region in the source" in tab.inner_text("#model")
    for number, part in enumerate(PARTS, start=1):
        if number > 1:
            tab.click("#another")
        paint_part(tab, part)
        wait_for_regions(tab, number)
        tab.fill(f"#regions .name >> nth={number - 1}", part)
        tab.press(f"#regions .name >> nth={number - 1}", "Enter")
    # A method without regions is named, and one that has them is offered.
    assert "The method attention-dift finds no regions" in tab.inner_text("#model")
    assert tab.is_disabled("#find")
    tab.click("#suited")
    assert find(tab).startswith("Done with dift")
    until(tab, "document.querySelectorAll('#grid .sureness .swatch').length === 9")
    keep_screenshot(tab, "app-regions")
    # A reload loses nothing.
    said = tab.inner_text("#grid")
    tab.reload()
    tab.wait_for_selector("body.ready")
    wait_for_regions(tab, 3)
    assert tab.input_value("#regions .name >> nth=1") == "wing"
    assert tab.inner_text("#grid") == said
    # What is exported is what was painted, and the parts of the other drawings.
    document = json.loads(exported(tab, "regions.coco.json"))
    names = {one["id"]: one["name"] for one in document["categories"]}
    overlaps: list[list[float]] = [[], [], [], []]
    for one in document["annotations"]:
        index = one["image_id"] - 1
        overlaps[index].append(iou(decode_rle(one["segmentation"]), part_of(index, names[one["category_id"]])))
    assert min(overlaps[0]) > 0.7
    assert min(map(min, overlaps[1:])) > 0.3
    assert np.mean(overlaps[1:]) > 0.55


def test_a_finger_paints_and_two_zoom(open_tab: Callable[..., "Tab"]) -> None:
    tab = open_tab(**PHONE)
    begin(tab, 40)
    fingers = Fingers(tab)
    x, y = map(round, on_screen(tab, SOURCE, 128, 100))
    # Two fingers zoom, and paint nothing.
    fingers.move(((x - 30, y), (x - 60, y)), ((x + 30, y), (x + 60, y)))
    until(tab, f"document.querySelector('{SOURCE}').classList.contains('zoomed')")
    assert tab.locator("#regions li").count() == 0
    tab.click("#source .zoom button >> nth=2")
    for row, first, last in runs_of(part_of(0, "body") | part_of(0, "wing"), 16):
        fingers.move((on_screen(tab, SOURCE, first, row), on_screen(tab, SOURCE, last, row)), steps=4)
    wait_for_regions(tab, 1)
    # A stroke scrolls nothing.
    at = on_screen(tab, SOURCE, 128, 30)
    before = tab.evaluate("scrollY")
    fingers.move((at, (at[0], at[1] + 40)))
    until(tab, "document.querySelectorAll('#source .brush path').length === 0")
    assert tab.evaluate("scrollY") == before
    tab.click("#undo")
    tab.click("#suited")
    find(tab)
    tab.wait_for_timeout(500)
    keep_screenshot(tab, "app-regions-phone")


def test_a_brush_works_by_keyboard_and_strokes_are_undone(open_tab: Callable[..., "Tab"]) -> None:
    tab = open_tab()
    begin(tab, 40)
    tab.focus(SOURCE)
    for key in ("ArrowRight", "Enter", *["Shift+ArrowRight"] * 5, "Shift+Enter"):
        tab.keyboard.press(key)
    wait_for_regions(tab, 1)
    share = "document.querySelector('#regions .faint').textContent"
    # A line of 50 pixels from the middle of the image, and half a disc of 8.192 at each end.
    area = 50 * 2 * 8.192 + np.pi * 8.192**2
    until(tab, f"{share} === '{100 * area / 256**2:.1f} % of the image'")
    tab.click("#erase")
    tab.focus(SOURCE)
    for key in ("ArrowRight", "Enter"):
        tab.keyboard.press(key)
    until(tab, f"parseFloat({share}) < 1.5")
    for step, left in (("stroke painted", "1.6"), ("stroke painted", "0.3")):
        assert tab.get_attribute("#undo", "title") == f"Undo: {step}"
        tab.click("#undo")
        until(tab, f"{share}.startsWith('{left}')")
    tab.click("#undo")
    wait_for_regions(tab, 0)


def test_strokes_go_to_the_region_that_was_chosen_however_late_the_server_answers(
    open_tab: Callable[..., "Tab"],
) -> None:
    tab = open_tab()
    begin(tab, 40)

    def stroke(x: int, y: int) -> None:
        drag(tab, SOURCE, (x, y), (x + 50, y))

    stroke(20, 20)
    wait_for_regions(tab, 1)
    with hold(tab, "**/api/work/paint"):
        for y in (50, 80, 110):
            stroke(20, y)
        tab.click("#another")
        for y in (20, 50):
            stroke(150, y)
        assert tab.is_disabled("#another")  # until the server knows the one that is begun
        tab.click("#regions .choose")
        stroke(20, 140)
    wait_for_regions(tab, 2)
    tab.wait_for_selector("#another:enabled")
    until(tab, "document.querySelectorAll('#source .brush path').length === 0")
    # A stroke is a rectangle of 50 times 16.4 pixels, and half a disc at each end; whole pixels are painted.
    one = 100 * (50 * 2 * 8.192 + np.pi * 8.192**2) / 256**2
    shares = [float(share.split()[0]) for share in tab.locator("#regions .faint").all_inner_texts()]
    assert shares == pytest.approx([5 * one, 2 * one], rel=0.05)
