"""The whole loop on photographs: five frames annotated, the others predicted, ten corrected on the page, and again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from review.person import Person
from semcorr.cli import main
from transfer.mouse import copy_project, errors, extent, frame, true_points

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ANNOTATED = (0, 2, 4, 6, 8)
"""Near each other, as a hurried person annotates: there is something to correct in the others."""
HIDDEN = tuple(range(10, 116, 6))
CORRECTED = 10
WRONG = 0.05
"""From how far off on a person moves a point, as part of the largest distance between the frame's."""

pytestmark = pytest.mark.slow


def objects_of(path: Path) -> dict[str, dict[str, Any]]:
    """The one object of each image of a COCO file; its points are in ``xy``."""
    document = json.loads(path.read_text(encoding="utf-8"))
    files = {image["id"]: image["file_name"] for image in document["images"]}
    return {
        files[one["image_id"]]: {**one, "xy": np.reshape(one["keypoints"], (-1, 3))[:, :2]}
        for one in document["annotations"]
    }


def test_ten_corrections_make_the_others_better(
    photographs: Path,
    tmp_path: Path,
    start: Callable[..., Any],
    browser: "Browser",
    record_property: Callable[[str, object], None],
) -> None:
    project = copy_project(photographs, tmp_path / "mouse", ANNOTATED, HIDDEN)
    path, truth = tmp_path / "predicted.json", true_points(photographs)
    options = ["--method", "hypercolumn", "--min-confidence", "0", "--device", "cpu"]
    assert main(["transfer", str(project), "-o", str(path), "--format", "coco", *options]) == 0

    command = start(path, "--images", project, *options)
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(120_000)
    tab.goto(command.address)
    tab.wait_for_selector(".card[aria-current]")
    person, corrected = Person(tab, command.client), {}
    for count in range(1, CORRECTED + 1):
        tab.wait_for_selector(f"#heading >> text=/^{count} of {len(HIDDEN)} /")
        file = person.shown()["file"]
        # In the page's frame a pixel's centre is at a half.
        corrected[file] = person.correct(truth[file] + 0.5, WRONG * extent(truth[file]))
        tab.keyboard.press("a")
        tab.wait_for_selector(f"#counts >> text=/{count} accepted/")
    tab.click("#again-open")
    tab.fill("#below", "1")
    tab.click("#again-start")
    others = len(HIDDEN) - CORRECTED
    said = f"{others} objects were predicted again from {len(ANNOTATED) + CORRECTED} annotated ones"
    tab.wait_for_selector(f"#again-status >> text=/{said}/", timeout=600_000)  # each is compared with 8 views of 15
    tab.click("#again-close")
    tab.click("#write")
    tab.wait_for_selector("#message >> text=/Written: .*predicted.corrected.json/")
    tab.close()

    # Corrected points are where they were set, and a person's; so is what was accepted, and nothing else.
    before, after = objects_of(path), objects_of(tmp_path / "predicted.corrected.json")
    assert set(after) == set(before) == {frame(number) for number in (*ANNOTATED, *HIDDEN)}
    hidden = [frame(number) for number in HIDDEN]
    for file in hidden:
        own = after[file]["semcorr"]
        assert own["predicted"]
        assert bool(own.get("accepted")) == (file in corrected)
        if file in corrected:
            assert own["points"] == ["placed" if row in corrected[file] else "accepted" for row in range(4)]
            for row, point in enumerate(after[file]["xy"]):
                kept = np.array(corrected[file][row]) - 0.5 if row in corrected[file] else before[file]["xy"][row]
                np.testing.assert_allclose(point, kept, atol=1e-9)
    for number in ANNOTATED:
        np.testing.assert_array_equal(after[frame(number)]["xy"], before[frame(number)]["xy"])

    # The points: against those that the project's owner clicked.
    def near(objects: dict[str, dict[str, Any]], files: list[str]) -> float:
        return float(np.mean([errors(objects[file]["xy"], truth[file]) <= 0.1 for file in files]))

    left = [file for file in hidden if file not in corrected]
    moved = sum(map(len, corrected.values()))
    all_before, all_after, left_before, left_after = (
        near(objects, files) for files in (hidden, left) for objects in (before, after)
    )
    said = (
        f"{moved} of {4 * CORRECTED} points of {CORRECTED} frames corrected; within 0.1: of {len(hidden)} frames "
        f"{all_before:.1%}, then {all_after:.1%}; of {len(left)} not corrected {left_before:.1%}, then {left_after:.1%}"
    )
    record_property("figure", said)
    assert all_after > all_before + 0.05, said
    assert left_after >= left_before, said
    assert left_after > 0.85, said
