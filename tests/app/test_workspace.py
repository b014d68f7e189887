"""The table that a user has in front of them: every change, and what is refused."""

import dataclasses

import numpy as np
import pytest

from semcorr.app import examples, panels, workspace
from semcorr.app.colours import confidence_colour, legend
from semcorr.app.limits import Limits
from semcorr.app.shelf import OwnShelf, Shelf
from semcorr.app.work import find, ready
from semcorr.app.workspace import Workspace
from semcorr.errors import ImageError, PointError
from semcorr.images import Image, load_image
from semcorr.matching import Matcher
from semcorr.methods import load_matcher

LIMITS = Limits(targets=3, points=3)


def grey(width: int = 40, height: int = 30, name: str = "grey.png") -> Image:
    return load_image(np.full((height, width, 3), 90, dtype=np.uint8), name=name)


@pytest.fixture
def work() -> Workspace:
    return Workspace(source=grey(), targets=(grey(20, 20),))


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return load_matcher("attention-dift", "toy", steps=3, locate_crops=4, dift_samples=1)


@pytest.fixture(scope="module")
def found(matcher: Matcher) -> Workspace:
    made = examples.example("face")
    made = dataclasses.replace(made, targets=made.targets[:2])
    return dataclasses.replace(made, result=find(matcher, made, "quick", lambda *_, **__: None))


class TestPoints:
    def test_are_added_moved_undone_and_cleared_without_changing_what_was(self, work: Workspace) -> None:
        two = workspace.add_point(workspace.add_point(work, 3.5, 4.5, LIMITS), 10.5, 20.25, LIMITS)
        assert two.points == ((3.5, 4.5), (10.5, 20.25))
        assert workspace.move_point(two, 0, 1.0, 2.0).points == ((1.0, 2.0), (10.5, 20.25))
        assert workspace.undo_point(two).points == ((3.5, 4.5),)
        assert workspace.undo_point(workspace.clear_points(two)).points == ()
        assert work.points == ()
        assert two.labels == ("1", "2")

    def test_names_are_by_comma_and_gaps_keep_their_number(self, work: Workspace) -> None:
        two = workspace.add_point(workspace.add_point(work, 1, 1, LIMITS), 2, 2, LIMITS)
        assert workspace.rename(two, " , left ear ").labels == ("1", "left ear")
        assert workspace.rename(two, "").labels == ("1", "2")
        assert workspace.undo_point(workspace.rename(two, "a, b")).labels == ("a",)
        with pytest.raises(PointError, match="'a' twice"):
            workspace.rename(two, "a, a")

    def test_refused_outside_without_a_source_and_beyond_the_limit(self, work: Workspace) -> None:
        with pytest.raises(PointError, match=r"40 × 30 pixels, got \(40.5, 3\)"):
            workspace.add_point(work, 40.5, 3, LIMITS)
        with pytest.raises(ImageError, match="no source"):
            workspace.add_point(Workspace(), 1, 1, LIMITS)
        full = dataclasses.replace(work, points=((1.0, 1.0),) * 3)
        with pytest.raises(PointError, match="at most 3"):
            workspace.add_point(full, 1, 1, LIMITS)

    def test_another_source_takes_the_points_with_it(self, work: Workspace) -> None:
        one = workspace.add_point(work, 1, 1, LIMITS)
        assert workspace.with_source(one, grey()).points == ()
        with pytest.raises(ImageError, match="at most 3 targets, got 4"):
            workspace.with_targets(one, [grey()] * 3, LIMITS)
        assert workspace.without_targets(one).targets == ()

    @pytest.mark.parametrize(
        ("change", "error"),
        [({"source": None}, "source picture"), ({"points": ()}, "click"), ({"targets": ()}, "target picture")],
    )
    def test_a_run_says_what_is_missing(self, work: Workspace, change: dict[str, object], error: str) -> None:
        whole = workspace.add_point(work, 1, 1, LIMITS)
        ready(whole)
        with pytest.raises((ImageError, PointError), match=error):
            ready(dataclasses.replace(whole, **change))  # type: ignore[arg-type]


def test_the_legend_says_whether_the_confidence_is_calibrated() -> None:
    assert "uncalibrated" in legend(None)
    assert "calibrated on 9 &lt;points&gt;" in legend("9 <points>")
    # From red to blue, and no two alike.
    colours = [confidence_colour(part / 10) for part in range(11)]
    assert len(set(colours)) == 11
    assert int(colours[0][1:3], 16) > int(colours[0][5:7], 16)
    assert int(colours[-1][1:3], 16) < int(colours[-1][5:7], 16)


class TestResult:
    def test_has_every_target_point_and_layer(self, found: Workspace) -> None:
        assert found.result is not None
        assert len(found.result.found) == 2
        for one in found.result.found:
            layers, matches = one.layers, one.matches
            assert layers is not None
            assert layers.shape[:2] == (len(found.points), len(matches.layer_names))
            # Each layer's own map has its peak where that layer alone finds the point.
            for point in range(len(found.points)):
                for layer in range(layers.shape[1]):
                    row, column = np.unravel_index(layers[point, layer].argmax(), layers.shape[2:])
                    scale = 256 / layers.shape[3]
                    peak = np.array([column + 0.5, row + 0.5]) * scale
                    assert np.abs(peak - matches.layer_points[point, layer]).max() <= scale

    def test_a_correction_moves_one_match_of_one_target_and_can_be_taken_back(self, found: Workspace) -> None:
        assert found.result is not None
        moved = workspace.correct(found, 1, 2, 12.5, 200.5)
        assert moved.result is not None
        assert moved.result.found[1].points[2].tolist() == [12.5, 200.5]
        assert np.array_equal(moved.result.found[0].points, found.result.found[0].points)
        assert np.array_equal(moved.result.found[1].matches.points, found.result.found[1].matches.points)
        back = workspace.uncorrect(moved, 1)
        assert back.result is not None
        assert np.array_equal(back.result.found[1].points, found.result.found[1].points)
        with pytest.raises(PointError, match="one of the 2"):
            workspace.correct(found, 2, 0, 1, 1)
        with pytest.raises(PointError, match="Find first"):
            workspace.correct(Workspace(), 0, 0, 1, 1)

    def test_changing_points_puts_the_result_away_and_names_do_not(self, found: Workspace) -> None:
        assert workspace.undo_point(found).result is None
        assert workspace.rename(found, "p, q").result is not None

    def test_the_views_show_numbers_confidence_and_the_map_that_was_asked_for(self, found: Workspace) -> None:
        assert found.result is not None
        shelf = Shelf()
        own = OwnShelf(shelf)
        view = panels.targets_view(own, workspace.correct(found, 0, 1, 5, 6), point=1, active=1)
        first, second = view["panels"]
        assert [point["label"] for point in first["points"]] == [str(n + 1) for n in range(len(found.points))]
        assert (first["points"][1]["x"], first["points"][1]["y"]) == (5, 6)
        assert "by hand" in first["points"][1]["title"]
        assert "confidence" in second["points"][1]["title"]
        assert [point["active"] for point in first["points"]].index(True) == 1
        names = panels.layer_choices(found)
        assert names == [panels.FUSED, *found.result.found[0].matches.layer_names]
        maps = {panels.heat_of(found.result.found[0], 0, name).tobytes() for name in names}  # type: ignore[union-attr]
        assert len(maps) == len(names)
        for panel in view["panels"]:
            for address in (panel["src"], panel["heat"]):
                item = shelf.get(address.removeprefix("semcorr/"))
                assert item is not None
                assert item.data.startswith(b"\x89PNG")
        own.clear()
        assert len(shelf) == 0
