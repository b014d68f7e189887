"""The review page in a real browser, from a file: the least certain first, filters, and names that would break out."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from semcorr.keypoints import AnnotatedImage, Annotations, Category, Instance, PredictedObject, TransferRecord
from semcorr.transfer import review_page
from semcorr.transfer.supports import choose_supports

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = "</script><img src=x onerror=alert(1)>"
CAT = Category(id=1, name="cat", keypoints=("ear", NASTY))


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    images = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        PIL.Image.new("RGB", (80, 40), (60 * number, 90, 120)).save(path)
        images.append(path)
    source = AnnotatedImage(
        file="0.png",
        path=images[0],
        instances=(Instance(category="cat", points=np.array([[10.0, 10], [70, 30]]), visibility=np.array([2, 2])),),
    )
    known = Annotations(path=tmp_path / "a.json", categories={"cat": CAT}, images=[source])

    def record(file: str, path: Path, ear: float, other: float) -> TransferRecord:
        predicted = PredictedObject(
            category="cat",
            names=CAT.keypoints,
            points=np.array([[40.0, 20], [np.nan, np.nan] if other == 0 else [60.0, 30]]),
            confidence=np.array([ear, other]),
        )
        return TransferRecord(file=file, path=path, size=(80, 40), objects=(predicted,))

    records = [
        record("sure.png", images[1], 0.9, 0.8),
        record(f"{NASTY}.png", images[2], 0.7, 0.2),
        record("unsure.png", tmp_path / "gone.png", 0.3, 0),
    ]
    return review_page.write(
        tmp_path / "review.html",
        known,
        lambda: records,
        supports={"cat": choose_supports(known, CAT, 5)},
        min_confidence=0.5,
        failed={"x.png": "broken"},
    )


@pytest.fixture
def page(page_file: Path) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=quiet)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.wrong = []
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("dialog", lambda dialog: page.wrong.append(dialog.message))
        page.on("request", lambda request: page.wrong.append(request.url) if request.url.startswith("http") else None)
        page.goto(page_file.as_uri())
        yield page
        browser.close()


def names(page: Any) -> list[str]:
    return page.locator(".grid .caption .name").all_inner_texts()


def test_the_least_certain_first_and_filters(page: Any) -> None:
    assert names(page) == ["unsure.png", f"{NASTY}.png", "sure.png"]  # means of 0.3, 0.45 and 0.85
    assert page.locator(".grid .card").nth(0).locator("circle").count() == 1
    assert page.locator(".grid .card").nth(2).locator("circle").count() == 2
    assert page.locator("aside figure circle").count() == 2
    page.select_option("#keypoint", NASTY)
    assert names(page) == [f"{NASTY}.png", "sure.png"]  # it is not predicted in the other
    page.select_option("#keypoint", "ear")
    assert names(page) == ["unsure.png", f"{NASTY}.png", "sure.png"]
    page.fill("#most", "0.5")
    assert names(page) == ["unsure.png"]
    page.fill("#most", "1")
    page.fill("#search", "SURE")
    assert names(page) == ["unsure.png", "sure.png"]
    page.select_option("#order", "down")
    assert names(page) == ["sure.png", "unsure.png"]
    assert "1 images could not be read" in page.locator("#failed").inner_text()
    assert page.wrong == []


def test_an_image_beside_its_source(page: Any) -> None:
    page.locator(".grid .card").nth(2).click()
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    assert dialog.locator(".caption .name").all_inner_texts() == ["0.png", "sure.png"]
    assert "0.90" in dialog.locator("table").inner_text()
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()
    assert page.wrong == []


def serious(page: Any) -> list[str]:
    """What axe-core finds that keeps people out."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    violations = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in violations if one["impact"] in ("serious", "critical")]


@pytest.mark.slow
def test_by_keyboard_and_with_assistive_technology(page: Any) -> None:
    page.set_viewport_size({"width": 1280, "height": 420})  # the dialog is higher than the window
    page.locator("#search").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "card"
    assert page.evaluate("document.activeElement.ariaLabel") == "unsure.png, confidence 0.30"
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    # It begins with its images, and not with what comes below them.
    assert page.evaluate("document.getElementById('large').scrollTop") == 0
    top = dialog.locator("figure").first.bounding_box()
    assert top is not None
    assert 0 <= top["y"] < 200
    assert serious(page) == []
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "card"
    assert serious(page) == []
    assert page.locator("#failed").is_visible()
    assert page.wrong == []


@pytest.mark.slow
def test_without_failures_there_are_no_empty_details(page: Any, page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8").replace('"failed": [["x.png", "broken"]]', '"failed": []')
    page_file.write_text(text, encoding="utf-8")
    page.reload()
    assert names(page) == ["unsure.png", f"{NASTY}.png", "sure.png"]
    assert not page.locator("#failed").is_visible()


def test_the_page_has_nothing_from_elsewhere(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    assert 'src="http' not in text
    assert "default-src 'none'" in text
    assert NASTY not in text
