"""A person's whole way on photographs: annotate, suggest, transfer, review, export; and trainers' readers load it.

Of the mouse's 116 frames 23 take part: 3 are annotated, 2 more are suggested and annotated, 18 are predicted.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from app.browsing import wait_for_text
from deadline import RUN
from keypoints.other_python import NEEDED, PACKAGES, PYTHON, run, ultralytics_environment
from review.person import Person
from semcorr.cli import main
from transfer.mouse import annotate, copy_project, errors, extent, frame, true_points

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ANNOTATED = (0, 2, 4)
"""Near each other, as a hurried person annotates."""
OTHERS = tuple(range(10, 110, 5))
SUGGESTED, CORRECTED = 2, 10
WRONG = 0.05
"""From how far off on a person moves a point, as part of the largest distance between the frame's."""
OPTIONS = ("--method", "hypercolumn", "--min-confidence", "0", "--device", "cpu")
SCRIPTS = Path(__file__).parents[1] / "keypoints"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), NEEDED]


def semcorr(*arguments: str | Path | int) -> None:
    assert main([str(one) for one in arguments]) == 0


def objects_of(path: Path) -> dict[str, dict[str, Any]]:
    """The one object of each image of a COCO file; its points are in ``xy``."""
    document = json.loads(path.read_text(encoding="utf-8"))
    files = {image["id"]: image["file_name"] for image in document["images"]}
    return {
        files[one["image_id"]]: {**one, "xy": np.reshape(one["keypoints"], (-1, 3))[:, :2]}
        for one in document["annotations"]
    }


def test_five_frames_annotated_and_ten_corrected_become_a_training_set(
    photographs: Path,
    tmp_path: Path,
    start: Callable[..., Any],
    browser: "Browser",
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    project = copy_project(photographs, tmp_path / "mouse", ANNOTATED, OTHERS)
    path, truth = tmp_path / "predicted.json", true_points(photographs)
    semcorr("transfer", project, "--suggest", SUGGESTED, "--json", *OPTIONS)
    suggested = [one["image"] for one in json.loads(capsys.readouterr().out)["suggested"]]
    annotate(photographs, project, suggested)
    semcorr("transfer", project, "-o", path, "--format", "coco", *OPTIONS)
    annotated = [*map(frame, ANNOTATED), *suggested]
    hidden = [frame(number) for number in OTHERS if frame(number) not in suggested]
    assert len(hidden) == len(OTHERS) - SUGGESTED

    corrected = corrected_on_the_page(start(path, "--images", project, *OPTIONS), browser, truth, len(hidden))

    # Corrected points are where they were set, and a person's; so is what was accepted, and nothing else.
    done = tmp_path / "predicted.corrected.json"
    before, after = objects_of(path), objects_of(done)
    assert set(after) == set(before) == {*annotated, *hidden}
    for file in hidden:
        own = after[file]["semcorr"]
        assert own["predicted"]
        assert bool(own.get("accepted")) == (file in corrected)
        if file in corrected:
            assert own["points"] == ["placed" if row in corrected[file] else "accepted" for row in range(4)]
            for row, point in enumerate(after[file]["xy"]):
                kept = np.array(corrected[file][row]) - 0.5 if row in corrected[file] else before[file]["xy"][row]
                np.testing.assert_allclose(point, kept, atol=1e-9)
    for file in annotated:
        np.testing.assert_allclose(after[file]["xy"], truth[file], atol=0.01)  # COCO files have two decimals

    figures = record_figures(before, after, hidden, corrected, truth, record_property)
    semcorr("convert", done, tmp_path / "data", "--format", "yolo-pose", "--images", project)
    semcorr("convert", done, tmp_path / "project", "--format", "deeplabcut", "--images", project)
    ultralytics_reads(tmp_path / "data", after)
    deeplabcut_reads(tmp_path / "project", after)
    assert figures["all"][1] > figures["all"][0], figures
    assert figures["left"][1] >= figures["left"][0], figures
    assert figures["left"][1] > 0.85, figures


def corrected_on_the_page(
    command: Any, browser: "Browser", truth: dict[str, np.ndarray], count: int
) -> dict[str, dict[int, list[float]]]:
    """Correct the ten most doubtful objects, have the others predicted again, and write; return what was set."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(120_000)
    tab.goto(command.address)
    tab.wait_for_selector(".card[aria-current]")
    person, corrected = Person(tab, command.client), {}
    for number in range(1, CORRECTED + 1):
        tab.wait_for_selector(f"#heading >> text=/^{number} of {count} /")
        file = person.shown()["file"]
        # In the page's frame a pixel's centre is at a half.
        corrected[file] = person.correct(truth[file] + 0.5, WRONG * extent(truth[file]))
        tab.keyboard.press("a")
        tab.wait_for_selector(f"#counts >> text=/{number} accepted/")
    tab.click("#again-open")
    tab.fill("#below", "1")
    tab.click("#again-start")
    sources = len(ANNOTATED) + SUGGESTED + CORRECTED
    said = f"{count - CORRECTED} objects were predicted again from {sources} annotated ones"
    tab.set_default_timeout(1000 * RUN)  # each is compared with 8 views of 15
    wait_for_text(tab, said, "#again-status")
    tab.click("#again-close")
    tab.click("#write")
    tab.wait_for_selector("#message >> text=/Written: .*predicted.corrected.json/")
    tab.close()
    return corrected


def record_figures(
    before: dict[str, dict[str, Any]],
    after: dict[str, dict[str, Any]],
    hidden: list[str],
    corrected: dict[str, dict[int, list[float]]],
    truth: dict[str, np.ndarray],
    record_property: Callable[[str, object], None],
) -> dict[str, list[float]]:
    """Right points before and after, by those that the project's owner clicked: of all frames, and of those left."""
    left = [file for file in hidden if file not in corrected]
    right = {
        name: [
            float(np.mean([errors(objects[file]["xy"], truth[file]) <= 0.1 for file in files]))
            for objects in (before, after)
        ]
        for name, files in {"all": hidden, "left": left}.items()
    }
    moved = sum(map(len, corrected.values()))
    said = (
        f"{moved} of {4 * CORRECTED} points of {CORRECTED} frames corrected; within 0.1: of {len(hidden)} frames "
        "{:.1%}, then {:.1%}; ".format(*right["all"])
        + f"of the {len(left)} not corrected {{:.1%}}, then {{:.1%}}".format(*right["left"])
    )
    record_property("figure", said)
    return right


def ultralytics_reads(folder: Path, expected: dict[str, dict[str, Any]]) -> None:
    """Its own check and its own class for training."""
    code = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import their_readers, json, pathlib; " + (
        "print(json.dumps(their_readers.ultralytics(pathlib.Path(sys.argv[2]))))"
    )
    said = run(PYTHON, "-c", code, PACKAGES, folder / "data.yaml", **ultralytics_environment(folder.parent))
    read = json.loads(said.splitlines()[-1])
    assert read["settings"]["kpt_shape"] == [4, 3]
    images = {Path(name).name: one for name, one in read["images"].items()}
    assert set(images) == {Path(file).name for file in expected}
    for file, one in expected.items():
        (points,) = images[Path(file).name]["keypoints"]
        # A pixel's centre is at a half there.
        np.testing.assert_allclose(points, np.c_[one["xy"] + 0.5, np.full(4, 2)], atol=1e-2)


def deeplabcut_reads(folder: Path, expected: dict[str, dict[str, Any]]) -> None:
    """Its own conversion of labels, and what it gathers of them for training."""
    (predictions,) = folder.rglob("*.machinelabels.csv")
    script = SCRIPTS / "deeplabcut_reader.py"
    said = run(PYTHON, script, PACKAGES, predictions, folder / "config.yaml", MPLCONFIGDIR=str(folder.parent))
    (project,) = json.loads(said.splitlines()[-1])["projects"]
    assert set(project["rows"]) == set(project["trained"]) == set(expected)
    for file, one in expected.items():
        np.testing.assert_allclose(project["rows"][file], one["xy"], atol=1e-5)
