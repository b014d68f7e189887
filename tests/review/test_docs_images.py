"""The images of the review in the documentation, made by the steps of its page "Annotate once".

``SEMCORR_DOCS_IMAGES=docs/images pytest -m slow tests/review/test_docs_images.py`` writes them into the documentation.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

from review.person import Person
from semcorr.cli import main
from semcorr.keypoints import read_annotations
from semcorr.toy.coco import write_coco

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow

DRAWINGS, CORRECTED = 12, 4
NEAR = 8
"""Pixels of drawings of 256: from there on a point is moved."""


def save(tab: "Tab", path: Path) -> None:
    """Save what the window shows, in a palette, when all its images are there."""
    tab.wait_for_function("[...document.images].every(one => one.complete)")
    tab.wait_for_timeout(500)  # those in SVG
    with PIL.Image.open(io.BytesIO(tab.screenshot())) as image:
        image.convert("RGB").quantize(256).save(path, optimize=True)


def true_points(truth: Path) -> dict[str, np.ndarray]:
    """The points of each drawing; NaN where it does not show one."""
    return {
        image.file: np.where(image.instances[0].visibility[:, None] > 0, image.instances[0].points, np.nan)
        for image in read_annotations(truth, truth.parent / "images").images
    }


def test_from_five_annotated_drawings_to_corrected_ones(
    docs_images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[..., Any],
    browser: "Browser",
) -> None:
    monkeypatch.chdir(tmp_path)
    world = write_coco(tmp_path / "animals", categories=("animal",), support=5, targets=DRAWINGS)
    command = ["transfer", str(world.annotations), "--images", str(world.images), "--model", "toy"]
    assert main([*command, "-o", "predicted.json", "--review", "review.html"]) == 0
    tab = browser.new_page(viewport={"width": 1180, "height": 640})
    tab.set_default_timeout(120_000)
    tab.goto((tmp_path / "review.html").as_uri())
    save(tab, docs_images / "review.png")

    served = start("predicted.json", "--images", world.images)
    tab.set_viewport_size({"width": 1120, "height": 900})
    tab.goto(served.address)
    tab.wait_for_selector(".card[aria-current]")
    person, truth = Person(tab, served.client), true_points(world.truth)
    for count in range(1, CORRECTED + 1):
        tab.wait_for_selector(f"#heading >> text=/^{count} of {DRAWINGS} /")
        shown = person.shown()
        person.correct(truth[shown["file"]], NEAR)
        if count == CORRECTED:
            tab.keyboard.press("3")
            save(tab, docs_images / "review-page.png")
            tab.keyboard.press("Escape")
        if person.shown()["state"]["decision"] == "open":
            tab.keyboard.press("a")
        else:  # each of its points was placed or removed
            tab.keyboard.press("ArrowRight")
        tab.wait_for_selector(f"#counts >> text=/{count} accepted/")
    tab.click("#again-open")
    tab.fill("#below", "1")
    tab.click("#again-start")
    tab.wait_for_selector(f"#again-status >> text=/ objects were predicted again from {5 + CORRECTED} annotated ones/")
    save(tab, docs_images / "review-again.png")
    tab.click("#again-close")
    tab.click("#write")
    tab.wait_for_selector("#message >> text=/Written: .*predicted.corrected.json/")
    tab.close()
    for name in ("review", "review-page", "review-again"):
        with PIL.Image.open(docs_images / f"{name}.png") as image:
            assert image.width >= 1120
            assert len(image.getcolors() or []) > 50  # something is drawn
