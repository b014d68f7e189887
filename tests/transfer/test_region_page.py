"""The page of regions in a real browser, from a file: the least certain first, by region, with links to its files."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest

from semcorr.imaging.image import load_image
from semcorr.imaging.label_map import LabelMap
from semcorr.keypoints.coco.masks import region_entry
from semcorr.transfer import region_page
from semcorr.transfer.region_files import RegionOutput, RegionRecord

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NASTY = "</script><img src=x onerror=alert(1)>"
NAMES = {3: "head", 7: NASTY}


def target(output: RegionOutput, name: str, confidence: dict[int, float]) -> RegionRecord:
    """A grey image of 60 x 40 pixels with a block for each region; written as a transfer writes it."""
    labels = np.zeros((40, 60), dtype=np.uint8)
    for number, label in enumerate(confidence):
        labels[5:25, 5 + 25 * number : 25 + 25 * number] = label
    path = output.folder.parent / f"{name}.png"
    PIL.Image.new("RGB", (60, 40), "grey").save(path)
    LabelMap(labels=labels, names=NAMES).save(output.label_map(f"{name}.png"))
    entries = tuple(region_entry(label, labels == label, value) for label, value in confidence.items())
    return RegionRecord(file=path.name, path=path, size=(60, 40), entries=entries, labels=f"{name}.png")


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    output = RegionOutput(folder=tmp_path / "regions", overlays=False)
    records = [
        target(output, "sure #1", {3: 0.9, 7: 0.8}),
        target(output, "half", {3: 0.4, 7: 0.6}),
        target(output, "bare", {}),
    ]
    example = load_image(records[0].path), LabelMap.load(output.label_map(records[0].labels))
    return region_page.write(output, [example], NAMES, lambda: records, failed={"x.png": "broken"}, total=3)


@pytest.mark.slow
def test_the_least_certain_first_by_region_and_with_its_files(page_file: Path, browser: "Browser") -> None:
    tab = browser.new_page(viewport={"width": 1180, "height": 640})
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("dialog", lambda dialog: wrong.append(dialog.message))
    tab.goto(page_file.as_uri())

    def shown() -> list[tuple[str, str]]:
        texts = (tab.locator(f".grid .caption {part}").all_inner_texts() for part in (".name", ".score"))
        return list(zip(*texts, strict=True))

    assert shown() == [("bare.png", "0.00"), ("half.png", "0.50"), ("sure #1.png", "0.85")]
    assert tab.locator("header").inner_text().startswith("Predicted regions 3 of 3 images")
    assert tab.locator("#legend").inner_text().split("\n") == ["head", NASTY]
    assert not tab.locator("#category").is_visible()
    assert tab.locator("svg circle").count() == 0
    tab.select_option("#keypoint", "head")
    assert [score for _, score in shown()] == ["0.40", "0.90"]
    tab.locator(".grid .card").nth(1).click()
    dialog = tab.locator("dialog")
    assert dialog.locator("td").all_inner_texts() == ["1 head", "400", "0.90", f"2 {NASTY}", "400", "0.80"]
    (link,) = dialog.locator("a").all()
    assert (page_file.parent / "labels" / "sure #1.png").as_uri() == link.evaluate("link => link.href")
    assert "1 images could not be read" in tab.locator("#failed").inner_text()
    assert wrong == []


def test_the_page_has_nothing_from_elsewhere(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    assert 'src="http' not in text
    assert NASTY not in text
