"""The page as it opens without options, in a real browser: a person's own photographs, and an example after them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import psutil
import pytest

from app.browsing import (
    SOURCE,
    click_pixel,
    exported,
    find,
    keep_screenshot,
    load_example,
    rows_of,
    send,
    target,
    wait_for_points,
    wait_for_text,
)
from app.serving import Page
from semcorr.toy.scenes import first_scenes

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow

SECONDS = 10.0
"""Of a processor, from pressing Find to the matches: other work lengthens them less than those of a clock."""


@pytest.fixture(scope="module")
def page(serve: Callable[..., Page], chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return serve("--device", "cpu", "--runs", tmp_path_factory.mktemp("runs"), model=None)


def spent(page: Page) -> float:
    """Seconds of a processor that the page's server has used."""
    times = psutil.Process(page.process.pid).cpu_times()
    return times.user + times.system


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Two photographs of one kind of object, or, where there are none, two images that are as noisy."""
    data = os.environ.get("SEMCORR_TEST_DATA")
    photographs = sorted(Path(data, "pf-willow", "car(S)").glob("*.png"))[:2] if data else []
    if len(photographs) == 2:
        return photographs
    rng = np.random.default_rng(0)
    paths = []
    for number, size in enumerate([(500, 375), (480, 360)]):
        coarse = PIL.Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(size, PIL.Image.Resampling.BICUBIC), dtype=float)
        noisy = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        paths.append(tmp_path / f"photograph-{number}.png")
        PIL.Image.fromarray(noisy).save(paths[-1])
    return paths


def test_two_photographs_a_click_and_find(
    page: Page, open_tab: Callable[[], "Tab"], pair: list[Path], tmp_path: Path
) -> None:
    tab = open_tab()
    assert "on lite0, a model for photographs" in tab.inner_text("#model")
    send(tab, "source", pair[0])
    tab.wait_for_selector(SOURCE)
    wait_for_text(tab, "matched on lite0, a model for photographs")
    with PIL.Image.open(pair[0]) as source:
        size = source.size
    click_pixel(tab, SOURCE, (size[0] // 2, size[1] // 2))
    wait_for_points(tab, 1)
    send(tab, "targets", pair[1])
    tab.wait_for_selector(target(0))
    began = spent(page)
    message = find(tab)
    assert 0 < spent(page) - began < SECONDS
    assert "Done with hypercolumn, photographs, on lite0 (for photographs)" in message
    assert "hypercolumn, photographs, on lite0, a model for photographs" in tab.inner_text("#legend")
    assert tab.inner_text("#with") == "with hypercolumn, photographs, on lite0"
    assert "toy" not in tab.inner_text("#legend")
    tab.screenshot(path=tmp_path / "photographs.png", full_page=True)
    (row,) = (row for row in rows_of(exported(tab, "matches.csv")) if row["role"] == "target")
    with PIL.Image.open(pair[1]) as image:
        assert 0 <= float(row["x"]) <= image.width
        assert 0 <= float(row["y"]) <= image.height


def test_the_path_of_a_first_time_user(open_tab: Callable[[], "Tab"], tmp_path: Path) -> None:
    # What docs/start/click.md shows, on drawings that anybody may copy, with the model for photographs.
    (_, source), *_, (_, other) = first_scenes("bird", 4, size=512)
    for name, scene in (("one-bird", source), ("another-bird", other)):
        PIL.Image.fromarray(scene.image).save(tmp_path / f"{name}.png")
    names = ("beak", "eye", "wing", "tail")
    tab = open_tab()
    send(tab, "source", tmp_path / "one-bird.png")
    tab.wait_for_selector(SOURCE)
    for count, name in enumerate(names, start=1):
        click_pixel(tab, SOURCE, (int(source.keypoints[name][0]), int(source.keypoints[name][1])))
        wait_for_points(tab, count)
    send(tab, "targets", tmp_path / "another-bird.png")
    tab.wait_for_selector(target(0))
    tab.evaluate("scrollTo(0, 0)")
    keep_screenshot(tab, "click-points")
    find(tab)
    tab.click("#chips >> text=All points")
    keep_screenshot(tab, "click-found")
    rows = [row for row in rows_of(exported(tab, "matches.csv")) if row["role"] == "target"]
    for row, name in zip(rows, names, strict=True):
        distance = np.hypot(float(row["x"]) - other.keypoints[name][0], float(row["y"]) - other.keypoints[name][1])
        assert distance < 0.1 * 512, name


def test_a_photograph_of_a_phone_is_scaled_and_its_points_are_in_its_own_pixels(
    open_tab: Callable[[], "Tab"], pair: list[Path], tmp_path: Path
) -> None:
    large = tmp_path / "phone.jpg"
    with PIL.Image.open(pair[0]) as image:
        image.convert("RGB").resize((8000, 6000), PIL.Image.Resampling.NEAREST).save(large, quality=80)
    tab = open_tab()
    send(tab, "source", large)
    tab.wait_for_selector(SOURCE)
    assert "phone.jpg 8000 × 6000" in tab.inner_text("#source-name")
    assert "scaled from 8000 × 6000" in tab.inner_text("#source-name")
    with tab.expect_response("**/api/work/add-point") as answer:
        click_pixel(tab, SOURCE, (6000, 1500))
    (point,) = answer.value.json()["points"]
    # A pixel of the screen is some twenty of the photograph.
    assert (point["x"], point["y"]) == pytest.approx((6000.5, 1500.5), abs=30)
    tab.wait_for_selector(f"{SOURCE} .point[aria-label^='point 1 at {round(point['x'], 1):g}']")
    tab.screenshot(path=tmp_path / "phone.png")


def test_an_example_brings_its_own_model_and_an_upload_takes_it_away(
    open_tab: Callable[[], "Tab"], pair: list[Path], tmp_path: Path
) -> None:
    tab = open_tab()
    load_example(tab, "car")
    wait_for_text(tab, "matched on toy, a model for drawings")
    assert tab.input_value("#method") == "attention-dift"
    assert "on toy, a model for drawings of the toy world, and nothing else" in tab.inner_text("#model")
    tab.screenshot(path=tmp_path / "example.png", full_page=True)
    send(tab, "targets", pair[0])
    tab.wait_for_selector(target(3))
    assert tab.input_value("#method") == "hypercolumn"
    assert "on lite0, a model for photographs" in tab.inner_text("#model")
    find(tab)
    assert tab.inner_text("#with") == "with hypercolumn, photographs, on lite0"
    tab.screenshot(path=tmp_path / "mixed.png", full_page=True)
