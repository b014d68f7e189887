"""Doubtful objects predicted again: as a transfer of the corrected file does it; what a person decided stays."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from app.browsing import OPTIONS, PATIENCE, hold_answer, wait_for_text
from deadline import DEADLINE
from semcorr.errors import ReviewError, SemcorrError
from semcorr.keypoints import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.spec import MatcherSpec
from semcorr.review.again import PredictAgain
from semcorr.review.objects import State
from semcorr.review.review import Review
from semcorr.toy.coco import ToyWorld, write_coco
from semcorr.transfer import transfer_annotations
from semcorr.transfer.file_transfer import FileTransfer, TransferOutput
from semcorr.transfer.plan import TransferSettings
from semcorr.transfer.run import TransferJob

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = pytest.mark.slow

TOY: dict[str, Any] = {"samples": 1, "device": "cpu", "calibration": "none"}


@pytest.fixture(scope="module")
def dift() -> Matcher:
    return load_matcher("dift", "toy", **TOY)


@pytest.fixture
def predicted(tmp_path: Path, dift: Matcher) -> Path:
    """One annotated face and five predicted ones, 96 pixels wide."""
    world: ToyWorld = write_coco(tmp_path / "toy", categories=("face",), support=1, targets=5, size=96)
    job = TransferJob(
        matcher=MatcherSpec(method="dift", model="toy", options=TOY), annotations=world.annotations, images=world.images
    )
    FileTransfer(job, TransferOutput(path=tmp_path / "toy" / "found.json")).run(dift)
    return tmp_path / "toy" / "found.json"


def decided(review: Review, number: int, truth: Path, decision: str) -> None:
    """Put an object's points where they are, or only decide on it."""
    one = review.objects[number]
    points: Any = one.state.points
    if decision == "accepted":
        file = review.image_of(one).file
        (real,) = [image for image in read_annotations(truth, truth.parent / "images").images if image.file == file]
        points = [
            (float(x), float(y), int(mark), "placed") if mark else None
            for (x, y), mark in zip(real.instances[0].points, real.instances[0].visibility, strict=True)
        ]
    review.change({number: State(category="face", decision=decision, points=tuple(points))}, {number: one.revision})  # type: ignore[arg-type]


def finished(again: PredictAgain) -> dict[str, Any]:
    while again.status()["stage"] == "running":
        time.sleep(0.05)
    return dict(again.status())


def test_as_a_transfer_of_the_corrected_file(predicted: Path, dift: Matcher) -> None:
    truth = predicted.with_name("truth.json")
    with Review(predicted, images=predicted.parent / "images").open() as review:
        decided(review, 0, truth, "accepted")
        decided(review, 1, truth, "rejected")
        untouched = review.objects[2].state.points
        moved = list(untouched)
        row = next(number for number, point in enumerate(untouched) if point)
        moved[row] = (3.0, 4.0, 2, "placed")
        review.change({2: State(category="face", decision="open", points=tuple(moved))}, {2: 0})
        kept = [review.objects[number].state for number in (0, 1, 2)]
        before = [review.objects[number].state.points for number in (3, 4)]
        (output,) = review.write()
        again = PredictAgain(review, lambda: dift, TransferSettings(), 0.5)
        doubtful = [review.objects[number].prediction.score or 0 for number in (3, 4)]
        assert np.mean(doubtful) < again.status()["suggested"] <= np.mean(doubtful) + 0.051
        with pytest.raises(ReviewError, match="has a score below 0"):
            again.start(0.0)
        again.start(1.0)
        status = finished(again)
        assert status["stage"] == "done"
        # What a person decided, and what one has worked on, is as it was.
        assert [review.objects[number].state for number in (0, 1, 2)] == kept
        # The others are as a transfer of the corrected file predicts them.
        records = transfer_annotations(output, images=predicted.parent / "images", matcher=dift, redo_below=1.0)
        expected = {record.file: record.objects[0] for record in records}
        changed = points = 0
        for number, old in zip((3, 4), before, strict=True):
            one = review.objects[number]
            now = expected[review.image_of(one).file]
            for mine, theirs, sure, was in zip(one.state.points, now.points, now.confidence, old, strict=True):
                assert (mine is None) == bool(np.isnan(theirs).any())
                points += mine is not None or was is not None
                if mine is None or was is None:
                    changed += mine is not was
                else:
                    np.testing.assert_allclose(mine[:2], theirs, atol=0.01)
                    assert mine[2:] == (2 if sure >= 0.5 else 0, "predicted")
                    changed += float(np.hypot(mine[0] - was[0], mine[1] - was[1])) > 1
            # And so are the votes of the annotated object and of the accepted one.
            assert now.votes is not None
            votes = np.array([one.prediction.votes[name] for name in now.names], dtype=np.float64)
            np.testing.assert_allclose(votes, now.votes.T, atol=0.002)
            files = {image.file for image, _ in review.sources_of(one)}
            assert files == {review.annotations.images[0].file, review.image_of(review.objects[0]).file}
        assert status["message"].startswith(f"{changed} of {points} points moved by more than 1 pixel. 2 objects")
        assert changed > 0
        states = [one.state for one in review.objects]
        assert again.status()["undoable"] == 2
    with Review(predicted, images=predicted.parent / "images").open() as review:
        assert [one.state for one in review.objects] == states
        # Also after a restart it can be undone, but for what was changed since.
        review.change({4: State(**{**states[4].model_dump(), "decision": "rejected"})}, {4: review.objects[4].revision})
        again = PredictAgain(review, lambda: dift, TransferSettings(), 0.5)
        again.undo()
        assert again.status()["message"] == "1 objects are as they were before. 1 were changed since, and stay."
        assert [one.state.decision for one in review.objects[3:]] == ["open", "rejected"]
        assert (review.objects[3].state.points, review.objects[4].state.points) == (before[0], states[4].points)
        assert review.objects[3].prediction.sources is None
        assert set(review.objects[4].prediction.sources or ()) == {(0, 0), (review.objects[0].image, 0)}
        with pytest.raises(ReviewError, match="nothing can be undone"):
            again.undo()
        (output,) = review.write()
        assert [one.predicted for image in read_annotations(output).images[4:] for one in image.instances] == [True]


def test_in_the_page_with_the_files_own_method(predicted: Path, start: Callable[..., Any], browser: "Browser") -> None:
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    command = start(predicted, "--images", predicted.parent / "images")
    tab = browser.new_page()
    tab.set_default_timeout(300_000)
    tab.goto(command.address)
    tab.wait_for_selector(".card[aria-current]")
    tab.keyboard.press("a")
    tab.wait_for_selector("#counts >> text=/4 open · 1 accepted/")
    accepted = command.client.object(command.client.ask("/api/list?decision=accepted")[1]["numbers"][0])
    tab.click("#again-open")
    tab.wait_for_selector("#again-start")
    assert 0 < float(tab.input_value("#below")) <= 1
    tab.fill("#below", "1")
    tab.click("#again-start")
    wait_for_text(tab, "points moved by more than 1 pixel. 4 objects .* from 2 annotated", "#again-status")
    tab.click("#again-undo")
    wait_for_text(tab, "^4 objects are as they were before", "#again-status")
    assert not tab.is_visible("#again-undo")
    tab.click("#again-close")
    tab.wait_for_selector("#counts >> text=/4 open · 1 accepted/")
    assert command.client.object(accepted["number"]) == accepted
    tab.close()


def test_a_job_is_followed_to_its_end_however_late_answers_come(
    predicted: Path, start: Callable[..., Any], browser: "Browser"
) -> None:
    """Whoever opens the dialog and starts at once may get the answer to the first request last; or one is lost."""
    command = start(predicted, "--images", predicted.parent / "images")
    tab = browser.new_page(**OPTIONS)
    tab.set_default_timeout(PATIENCE)
    tab.goto(command.address)
    tab.wait_for_selector(".card[aria-current]")
    lost: list[str] = []

    def lose(route: "Route") -> None:
        if route.request.method == "GET" and not lost:
            lost.append(route.request.url)
            route.abort()
        else:
            route.fallback()

    tab.route("**/api/again", lose)  # what the page asks first after the start
    with hold_answer(tab, "**/api/again"):
        tab.click("#again-open")
        tab.fill("#below", "1")
        tab.click("#again-start")
        tab.wait_for_timeout(500)
    tab.wait_for_selector("#again-stop")
    # Whoever works on meanwhile stays at their object.
    tab.click("#again-close")
    tab.keyboard.press("ArrowRight")
    wait_for_text(tab, "^2 of 5", "#heading")
    shown = tab.get_attribute(".card[aria-current]", "data-number")
    wait_for_text(tab, "5 objects were predicted again from 1 annotated", "#message")
    assert lost
    assert tab.get_attribute(".card[aria-current]", "data-number") == shown
    heading = tab.inner_text("#heading")
    # The dialog can be opened again without another list.
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    with tab.expect_response("**/api/again"):
        tab.click("#again-open")
    tab.click("#again-close")
    tab.wait_for_timeout(500)
    assert not [url for url in asked if "api/list" in url]
    assert tab.inner_text("#heading") == heading
    tab.close()


def test_a_person_is_quicker_and_a_stop_changes_nothing(predicted: Path, dift: Matcher) -> None:
    with Review(predicted, images=predicted.parent / "images").open() as review:
        loading, go_on = threading.Event(), threading.Event()

        def load() -> Matcher:
            loading.set()
            assert go_on.wait(DEADLINE)
            return dift

        again = PredictAgain(review, load, TransferSettings(), 0.5)
        again.start(1.0)
        with pytest.raises(ReviewError, match="already"):
            again.start(1.0)
        assert loading.wait(DEADLINE)
        review.change({0: State(**{**review.objects[0].state.model_dump(), "decision": "rejected"})}, {0: 0})
        rejected = review.objects[0].state
        go_on.set()
        assert "4 objects were predicted again from 1 annotated" in finished(again)["message"]
        assert review.objects[0].state == rejected
        revision = review.revision
        again.start(1.0)
        again.stop()
        assert finished(again)["stage"] == "stopped"
        assert review.revision == revision


def test_a_model_that_is_not_there_is_a_message(predicted: Path) -> None:
    def load() -> Matcher:
        raise SemcorrError("There is no such model. Name another.")

    with Review(predicted, images=predicted.parent / "images").open() as review:
        again = PredictAgain(review, load, TransferSettings(), 0.5)
        again.start(1.0)
        status = finished(again)
        assert (status["stage"], status["message"]) == ("failed", "There is no such model. Name another.")
