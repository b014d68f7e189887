"""The images of the review in the documentation, made by the steps of its page "Annotate once".

See CONTRIBUTING.md for how they are kept.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from app.browsing import keep_screenshot, wait_for_text
from review.person import Person
from semcorr.cli import main
from semcorr.keypoints import read_annotations
from semcorr.toy.coco import write_coco

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

DRAWINGS, CORRECTED = 12, 4
NEAR = 8
"""Pixels of drawings of 256: from there on a point is moved."""


def true_points(truth: Path) -> dict[str, np.ndarray]:
    """The points of each drawing; NaN where it does not show one."""
    return {
        image.file: np.where(image.instances[0].visibility[:, None] > 0, image.instances[0].points, np.nan)
        for image in read_annotations(truth, truth.parent / "images").images
    }


def test_from_five_annotated_drawings_to_corrected_ones(
    tmp_path: Path,
    start: Callable[..., Any],
    browser: "Browser",
) -> None:
    world = write_coco(tmp_path / "animals", categories=("animal",), support=5, targets=DRAWINGS)
    command = ["transfer", str(world.annotations), "--images", str(world.images), "--model", "toy"]
    predicted, page = tmp_path / "predicted.json", tmp_path / "review.html"
    assert main([*command, "-o", str(predicted), "--review", str(page)]) == 0
    tab = browser.new_page(viewport={"width": 1180, "height": 640})
    tab.set_default_timeout(300_000)
    tab.goto(page.as_uri())
    keep_screenshot(tab, "review")

    served = start(predicted, "--images", world.images)
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
            keep_screenshot(tab, "review-page")
            tab.keyboard.press("Escape")
        if person.shown()["state"]["decision"] == "open":
            tab.keyboard.press("a")
        else:  # each of its points was placed or removed
            tab.keyboard.press("ArrowRight")
        tab.wait_for_selector(f"#counts >> text=/{count} accepted/")
    tab.click("#again-open")
    tab.fill("#below", "1")
    tab.click("#again-start")
    wait_for_text(tab, f" objects were predicted again from {5 + CORRECTED} annotated ones", "#again-status")
    keep_screenshot(tab, "review-again")
    tab.click("#again-close")
    tab.click("#write")
    tab.wait_for_selector("#message >> text=/Written: .*predicted.corrected.json/")
    tab.close()
    corrected = read_annotations(tmp_path / "predicted.corrected.json", world.images)
    accepted = [image.file for image in corrected.images if not image.instances[0].predicted]
    assert len(accepted) == 5 + CORRECTED
