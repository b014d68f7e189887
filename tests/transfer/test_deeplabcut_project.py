"""A DeepLabCut project as its owner would have it: five frames labelled, the others predicted, back into a table."""

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from semcorr.cli import main
from semcorr.keypoints import read_annotations

ANNOTATED = tuple(range(0, 116, 23))[:5]
HIDDEN = tuple(number for number in range(2, 116, 11) if number not in ANNOTATED)
"""Every other one of these has an empty row, the others have none."""

pytestmark = pytest.mark.slow


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def points_of(rows: list[list[str]]) -> dict[str, np.ndarray]:
    """The points of each image, by the cells alone."""
    return {row[0]: np.array([float(cell or "nan") for cell in row[1:]]).reshape(-1, 2) for row in rows[3:]}


@pytest.fixture
def project(photographs: Path, tmp_path: Path) -> Path:
    """A copy of the mouse's project with some of its frames, of which five are labelled."""
    given = photographs / "mouse-open-field"
    folder = tmp_path / "mouse" / "labeled-data" / "m4s1"
    folder.mkdir(parents=True)
    (tmp_path / "mouse" / "config.yaml").write_bytes((given / "config.yaml").read_bytes())
    for number in (*ANNOTATED, *HIDDEN):
        name = f"img{number:04}.png"
        (folder / name).write_bytes((given / "labeled-data" / "m4s1" / name).read_bytes())
    rows = rows_of(given / "labeled-data" / "m4s1" / "CollectedData_Pranav.csv")
    empty = [[rows[3 + number][0], *[""] * 8] for number in HIDDEN[::2]]
    with (folder / "CollectedData_Pranav.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([*rows[:3], *(rows[3 + number] for number in ANNOTATED), *empty])
    return tmp_path / "mouse"


def test_five_annotated_frames_label_the_others(
    project: Path, photographs: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    table = project / "labeled-data" / "m4s1" / "CollectedData_Pranav.csv"
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
    truth = points_of(rows_of(photographs / "mouse-open-field/labeled-data/m4s1/CollectedData_Pranav.csv"))
    hidden = [f"labeled-data/m4s1/img{number:04}.png" for number in HIDDEN]
    errors, guesses = [], []
    for name in hidden:
        true = truth[name]
        largest = np.linalg.norm(true[:, None] - true[None], axis=-1).max()
        errors.append(np.linalg.norm(predicted[name] - true, axis=1) / largest)
        guesses.append(np.linalg.norm(truth["labeled-data/m4s1/img0000.png"] - true, axis=1) / largest)
    near, wide, guess = (
        float((np.array(some) <= at).mean()) for some, at in ((errors, 0.1), (errors, 0.2), (guesses, 0.1))
    )
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
