"""A DeepLabCut project as its owner would have it: five frames labelled, the others predicted, back into a table."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from semcorr.cli import main
from semcorr.keypoints import read_annotations
from transfer.mouse import TABLE, copy_project, errors, frame, points_of, rows_of, true_points

ANNOTATED = tuple(range(0, 116, 23))[:5]
HIDDEN = tuple(number for number in range(2, 116, 11) if number not in ANNOTATED)
"""Every other one of these has an empty row, the others have none."""

pytestmark = pytest.mark.slow


@pytest.fixture
def project(photographs: Path, tmp_path: Path) -> Path:
    """A copy of the mouse's project with some of its frames, of which five are labelled."""
    return copy_project(photographs, tmp_path / "mouse", ANNOTATED, HIDDEN, empty=HIDDEN[::2])


def test_five_annotated_frames_label_the_others(
    project: Path, photographs: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    table = project / TABLE
    before = hashlib.sha256(table.read_bytes()).hexdigest()
    out, page = tmp_path / "predicted.csv", tmp_path / "review.html"
    command = ["transfer", str(project), "-o", str(out), "--format", "deeplabcut", "--review", str(page)]
    assert main([*command, "--method", "hypercolumn", "--min-confidence", "0", "--device", "cpu"]) == 0
    assert hashlib.sha256(table.read_bytes()).hexdigest() == before
    assert sorted(path.name for path in project.rglob("CollectedData*")) == [table.name]

    # The table: DeepLabCut's three rows of headings, what was labelled to the letter, and the rest.
    given, written = rows_of(table), rows_of(out)
    assert [row[0] for row in written[:3]] == ["scorer", "bodyparts", "coords"]
    assert written[: 3 + len(ANNOTATED)] == given[: 3 + len(ANNOTATED)]
    assert len(written) == 3 + len(ANNOTATED) + len(HIDDEN)
    assert all(cell for row in written for cell in row)

    # The points: against those that the project's owner clicked, as part of the largest distance between them.
    predicted = points_of(written)
    truth = true_points(photographs)
    hidden = [frame(number) for number in HIDDEN]
    off = [errors(predicted[name], truth[name]) for name in hidden]
    guesses = [errors(truth[frame(0)], truth[name]) for name in hidden]
    near, wide, guess = (float((np.array(some) <= at).mean()) for some, at in ((off, 0.1), (off, 0.2), (guesses, 0.1)))
    said = (
        f"{len(hidden)} frames: {near:.1%} of the points within 0.1, {wide:.1%} within 0.2; same position {guess:.1%}"
    )
    record_property("figure", said)
    assert near > 0.75, said
    assert wide > 0.85, said
    assert near > 3 * guess, said

    # Read again, they are predictions; and DeepLabCut's own way of keeping those is beside the table.
    again = read_annotations(out, project)
    assert {image.file: [one.predicted for one in image.instances] for image in again.images} == {
        name: [name in hidden] for name in predicted
    }
    for image in again.images:
        np.testing.assert_array_equal(image.instances[0].points, predicted[image.file] + 0.5)
    machine = rows_of(tmp_path / "predicted.machinelabels.csv")
    assert machine[2] == ["coords", *["x", "y", "likelihood"] * 4]
    assert sorted(row[0] for row in machine[3:]) == sorted(hidden)
    text = page.read_text(encoding="utf-8")
    assert all(name in text for name in hidden)
