"""The figures of a report: that they exist, show what they should, and survive missing images."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from evaluation.handmade import pair_record, run_of
from semcorr.errors import RunError
from semcorr.evaluation.metrics.protocol import Protocol
from semcorr.evaluation.metrics.scores import score
from semcorr.evaluation.report.groups import ReportOptions, group_runs, with_baselines
from semcorr.evaluation.report.pair_figures import choose, pair_figure
from semcorr.evaluation.report.plots import categories, curves, write_plots
from semcorr.evaluation.runs.records import PairRecord, Run


def record(index: int, offset: float | None, category: str = "cat", points: int = 2) -> PairRecord:
    """Every point ``offset`` pixels to the right of the truth, in images of 60 x 40; None for a failed pair."""
    return pair_record(
        index,
        [(10 + 10 * number, 20) for number in range(points)],
        None if offset is None else [(offset, 0)] * points,
        category=category,
        source="there.png",
        target="missing.png" if index == 1 else "there.png",
        source_size=(60, 40),
        target_size=(60, 40),
        target_box=(0.0, 0.0, 50.0, 40.0),
    )


RECORDS = [
    *(record(i, offset, "cat" if i % 2 else "dog") for i, offset in enumerate((9.0, 1.0, 3.0, 20.0, 2.0, 5.0, 4.0))),
    record(7, None),
    record(8, 0.0, points=0),
]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Run]:
    PIL.Image.new("RGB", (60, 40), (200, 30, 30)).save(tmp_path / "there.png")

    def run(name: str = "mine", records: list[PairRecord] = RECORDS, **dataset: Any) -> Run:
        return run_of(name, records, dataset={"split": "", "root": str(tmp_path), **dataset})

    return run


def test_best_worst_and_random_pairs() -> None:
    """Offsets 1, 2, 3 are best, 20, 9, 5 worst, the 4 is left; failed and empty pairs are not shown."""
    chosen = choose(score(RECORDS, Protocol()))
    assert chosen.best == (1, 4, 2)
    assert chosen.worst == (3, 0, 5)
    assert chosen.random == (6,)
    few = choose(score(RECORDS[:3], Protocol()))
    assert (few.best, few.worst, few.random) == ((1, 2), (0,), ())
    assert choose(score(RECORDS[7:], Protocol())).best == ()


def test_curves_are_pck(make: Callable[..., Run]) -> None:
    """Errors of 1 to 20 of 50 pixels; at 0.1 those of 1, 3, 2, 4 and, on the threshold, 5: 5 of 8 pairs."""
    options = ReportOptions()
    (group,) = group_runs([make()], options)
    left, right = curves(group, options).axes
    for axes in (left, right):
        alphas, values = axes.lines[0].get_data()
        assert values[np.isclose(alphas, 0.1)].item() == pytest.approx(100 * 5 / 8)
        assert values[0] == 0
    assert left.get_title() == "per image"
    assert right.get_title() == "per point"


def test_bars_of_categories(make: Callable[..., Run]) -> None:
    """Dogs 9, 3, 2, 4: 3 of 4. Cats 1, 20, 5 and one that failed: 2 of 4. The mean stands below."""
    options = ReportOptions()
    (group,) = group_runs([make()], options)
    figure = categories(group, options)
    assert figure is not None
    axes = figure.axes[0]
    bars = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in axes.patches}
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert {labels[index]: value for index, value in bars.items()} == {"mean": 62.5, "dog": 75, "cat": 50}
    assert labels[-1] == "cat"
    (alone,) = group_runs([make(records=RECORDS[:1])], options)
    assert categories(alone, options) is None


def test_all_figures(make: Callable[..., Run], tmp_path: Path) -> None:
    runs = with_baselines([make("a b/c"), make("other")])
    written = write_plots(runs, tmp_path / "new" / "plots")
    assert [path.name for path in written] == ["curves.png", "categories.png", "pairs-a-b-c.png", "pairs-other.png"]
    for path in written:
        with PIL.Image.open(path) as image:
            image.load()
            assert min(image.size) > 200


def test_data_sets_have_figures_of_their_own(make: Callable[..., Run], tmp_path: Path) -> None:
    runs = [make("a", RECORDS[:1]), make("b", RECORDS[:1], split="val")]
    names = [path.name for path in write_plots(runs, tmp_path / "plots")]
    assert names == ["curves-toy.png", "pairs-a.png", "curves-toy-val.png", "pairs-b.png"]


def test_the_same_runs_give_the_same_figures(make: Callable[..., Run], tmp_path: Path) -> None:
    first = write_plots([make()], tmp_path / "1")
    second = write_plots([replace(make(), records=RECORDS[::-1])], tmp_path / "2")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_missing_image_is_a_grey_tile(make: Callable[..., Run]) -> None:
    options = ReportOptions()
    colours = []
    for records in ([RECORDS[0]], [RECORDS[1]]):
        (group,) = group_runs([make(records=records)], options)
        figure = pair_figure(group.members[0], 0.1)
        assert figure is not None
        colours.append({colour for _, colour in figure.getcolors(1 << 20) or []})
    assert (190, 194, 199) not in colours[0]
    assert (190, 194, 199) in colours[1]


def test_without_predictions_there_is_no_figure(make: Callable[..., Run]) -> None:
    (group,) = group_runs([make(records=RECORDS[7:])], ReportOptions())
    assert pair_figure(group.members[0], 0.1) is None


def test_heat_maps_are_asked_for_and_shown(make: Callable[..., Run]) -> None:
    asked = []

    def heatmap(pair: PairRecord, point: int) -> np.ndarray | None:
        asked.append((pair.pair, point))
        return np.eye(8) if point == 1 else None

    (group,) = group_runs([make(records=RECORDS[:1])], ReportOptions())
    with_heat, without = pair_figure(group.members[0], 0.1, heatmap), pair_figure(group.members[0], 0.1)
    assert asked == [("pair-0", 0), ("pair-0", 1)]
    assert with_heat is not None
    assert without is not None
    assert with_heat.tobytes() != without.tobytes()


def test_many_categories_are_cut(make: Callable[..., Run]) -> None:
    records = [record(i, 1.0, f"class {i:03}", points=1 + (i >= 5)) for i in range(45)]
    (group,) = group_runs([make(records=records)], ReportOptions())
    figure = categories(group, ReportOptions())
    assert figure is not None
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 41
    assert "class 004" not in labels
    assert "the 40 largest of 45 categories" in figure.get_suptitle()


def test_a_folder_that_cannot_be_written(make: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_plots([make()], tmp_path / "file")


def test_no_global_state_of_pyplot(make: Callable[..., Run]) -> None:
    before = "matplotlib.pyplot" in sys.modules
    (group,) = group_runs([make()], ReportOptions())
    curves(group, ReportOptions())
    assert ("matplotlib.pyplot" in sys.modules) == before
