"""The workspace: every change, and what is refused; results, views and undo."""

import dataclasses

import numpy as np
import pytest

from semcorr.app import changes, examples
from semcorr.app.colours import legend
from semcorr.app.find import check_ready, find
from semcorr.app.heat import FUSED, heat_in, layer_choices
from semcorr.app.history import History
from semcorr.app.limits import Limits
from semcorr.app.workspace import Match, Workspace, contents
from semcorr.errors import ImageError, PointError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher

LIMITS = Limits(targets=3, points=3)


def grey(width: int = 40, height: int = 30, name: str = "grey.png") -> Image:
    return load_image(np.full((height, width, 3), 90, dtype=np.uint8), name=name)


@pytest.fixture
def work() -> Workspace:
    return changes.new_workspace(grey(), {}, [grey(20, 20)])


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return load_matcher("attention-dift", "toy", steps=3, locate_crops=4, dift_samples=1)


def run(matcher: Matcher, work: Workspace, label: str = "quick") -> Workspace:
    merged, changed = changes.merge(work, find(matcher, work, label, lambda *_, **__: None))
    assert changed == 0
    return merged


def two_targets() -> Workspace:
    made = examples.example("face")
    return dataclasses.replace(made, targets=made.targets[:2], target_ids=made.target_ids[:2])


@pytest.fixture(scope="module")
def matched(matcher: Matcher) -> Workspace:
    return run(matcher, two_targets())


class TestPoints:
    def test_are_added_moved_deleted_and_cleared_in_new_workspaces(self, work: Workspace) -> None:
        two = changes.add_point(changes.add_point(work, 3.5, 4.5, LIMITS), 10.5, 20.25, LIMITS)
        assert two.points == ((3.5, 4.5), (10.5, 20.25))
        assert changes.move_point(two, 0, 1.0, 2.0).points == ((1.0, 2.0), (10.5, 20.25))
        assert changes.move_point(two, 0, 1.0, 2.0).ids == two.ids
        assert changes.delete_point(two, 0).points == ((10.5, 20.25),)
        assert changes.delete_point(two, 0).ids == two.ids[1:]
        assert changes.clear_points(two).points == ()
        assert work.points == ()
        assert two.labels == ("1", "2")
        with pytest.raises(PointError, match="one of the 2"):
            changes.delete_point(two, 2)

    def test_names_are_separated_by_commas_and_gaps_keep_their_number(self, work: Workspace) -> None:
        two = changes.add_point(changes.add_point(work, 1, 1, LIMITS), 2, 2, LIMITS)
        assert changes.name_points(two, " , left ear ").labels == ("1", "left ear")
        assert changes.name_points(two, "").labels == ("1", "2")
        assert changes.delete_point(changes.name_points(two, "a, b"), 0).labels == ("b",)
        named = changes.name_points(two, "a, b")
        assert changes.name_points(named, "a,b") is named
        with pytest.raises(PointError, match="'a' twice"):
            changes.name_points(two, "a, a")
        with pytest.raises(PointError, match="at most 1000 names, got 400000"):
            changes.name_points(two, ",".join(map(str, range(400_000))))

    def test_are_named_one_by_one(self, work: Workspace) -> None:
        two = changes.add_point(changes.add_point(work, 1, 1, LIMITS), 2, 2, LIMITS)
        second = changes.name_point(two, 1, " left ear ")
        assert (second.labels, second.names) == (("1", "left ear"), ("", "left ear"))
        assert changes.name_point(second, 1, "").names == ()
        for name, error in (("left ear", "twice"), ("a, b", "without a comma"), ("x" * 61, "at most 60")):
            with pytest.raises(PointError, match=error):
                changes.name_point(second, 0, name)

    def test_refused_outside_without_a_source_and_beyond_the_limit(self, work: Workspace) -> None:
        with pytest.raises(PointError, match=r"40 × 30 pixels, got \(40.5, 3\)"):
            changes.add_point(work, 40.5, 3, LIMITS)
        with pytest.raises(ImageError, match="no source"):
            changes.add_point(Workspace(), 1, 1, LIMITS)
        full = changes.new_workspace(grey(), dict.fromkeys("abc", (1.0, 1.0)), [])
        with pytest.raises(PointError, match="at most 3"):
            changes.add_point(full, 1, 1, LIMITS)

    def test_another_source_removes_the_points(self, work: Workspace) -> None:
        one = changes.add_point(work, 1, 1, LIMITS)
        assert changes.replace_source(one, grey()).points == ()
        assert changes.replace_source(one, grey()).targets == one.targets
        with pytest.raises(ImageError, match="at most 3 targets, got 4"):
            changes.add_targets(one, [grey()] * 3, LIMITS)
        assert changes.remove_targets(one).targets == ()
        two = changes.add_targets(one, [grey()], LIMITS)
        assert changes.remove_target(two, 0).targets == two.targets[1:]
        with pytest.raises(PointError, match="one of the 2"):
            changes.remove_target(two, 2)

    @pytest.mark.parametrize(
        ("change", "error"),
        [({"source": None}, "source image"), ({"points": (), "ids": ()}, "click"), ({"targets": ()}, "target image")],
    )
    def test_a_run_names_what_is_missing(self, work: Workspace, change: dict[str, object], error: str) -> None:
        whole = changes.add_point(work, 1, 1, LIMITS)
        check_ready(whole, "quick")
        with pytest.raises((ImageError, PointError), match=error):
            check_ready(dataclasses.replace(whole, **change), "quick")  # type: ignore[arg-type]


def test_the_legend_says_whether_the_confidence_is_calibrated() -> None:
    assert legend(None).startswith("uncalibrated")
    assert legend("9 points").endswith("calibrated on 9 points")


def cells(work: Workspace) -> dict[tuple[int, int], tuple[float, float]]:
    """Every point's location in every target, by the indices of target and point."""
    return {
        (number, index): location
        for number, target in enumerate(work.target_ids)
        for index, point in enumerate(work.ids)
        if (location := work.location((target, point))) is not None
    }


def first(work: Workspace) -> Match:
    return work.matches[work.target_ids[0], work.ids[0]]


class TestResults:
    def test_cover_every_target_point_and_layer(self, matched: Workspace) -> None:
        assert set(cells(matched)) == {(target, point) for target in range(2) for point in range(len(matched.points))}
        assert matched.incomplete == 0
        for target in matched.target_ids:
            whole = matched.matches[target, matched.ids[0]].prediction
            layers, matches = whole.layers, whole.matches
            assert layers is not None
            assert layers.shape[:2] == (len(matched.points), len(matches.layer_names))
            # The peak of each layer's own map is the point as that layer alone locates it.
            for point in range(len(matched.points)):
                for layer in range(layers.shape[1]):
                    row, column = np.unravel_index(layers[point, layer].argmax(), layers.shape[2:])
                    scale = 256 / layers.shape[3]
                    peak = np.array([column + 0.5, row + 0.5]) * scale
                    assert np.abs(peak - matches.diagnostics.layer_points[point, layer]).max() <= scale

    def test_stay_when_a_point_is_added_and_only_that_one_is_located(
        self, matched: Workspace, matcher: Matcher
    ) -> None:
        stray = changes.add_point(matched, 200.5, 40.5, Limits())
        assert cells(stray) == cells(matched)
        assert stray.missing("quick") == [(target, stray.ids[-1]) for target in stray.target_ids]
        assert stray.incomplete == 1
        again = run(matcher, stray)
        assert all(again.matches[cell] is match for cell, match in matched.matches.items())
        # A point's result does not depend on when the others were matched.
        blank = dataclasses.replace(stray, described={}, matches={})
        together = run(matcher, blank)
        for cell in stray.missing("quick"):
            np.testing.assert_allclose(
                again.matches[cell].prediction.matches.heatmaps[again.matches[cell].index],
                together.matches[cell].prediction.matches.heatmaps[together.matches[cell].index],
                rtol=1e-3,
                atol=1e-4,
            )

    def test_of_a_new_target_need_no_point_described_again(self, matched: Workspace, matcher: Matcher) -> None:
        more = changes.add_targets(matched, [examples.example("face").targets[2]], Limits())
        assert cells(more) == cells(matched)
        stages: list[str] = []
        result = find(matcher, more, "quick", lambda stage, *_, **__: stages.append(stage))
        assert all(result.described[point] is matched.described[point] for point in matched.ids)
        assert stages
        assert all("target 1 of 1" in stage for stage in stages)

    def test_of_a_new_point_come_from_all_points_where_a_method_locates_them_together(self) -> None:
        method = load_matcher("dift", "toy", samples=1, prior="affine")
        made = two_targets()
        few = dataclasses.replace(made, ids=made.ids[:3], points=made.points[:3], names=made.names[:3])
        before = run(method, few)
        more = dataclasses.replace(before, ids=made.ids[:4], points=made.points[:4], names=made.names[:4])
        after = run(method, more)
        assert all(after.matches[cell] is before.matches[cell] for cell in before.matches)
        assert made.source is not None
        query = method.describe(made.source, np.array(made.points[:4]))
        for number, target in enumerate(made.target_ids):
            expected = method.locate(query, made.targets[number]).points[3]
            np.testing.assert_allclose(after.location((target, made.ids[3])), expected)
        # Nothing is described again for another target.
        again = run(method, changes.add_targets(after, [examples.example("face").targets[2]], Limits()))
        assert all(again.described[point] is after.described[point] for point in after.ids)

    def test_of_a_moved_point_are_outdated_and_located_again(self, matched: Workspace, matcher: Matcher) -> None:
        moved = changes.move_point(matched, 1, 100.5, 100.5)
        assert cells(moved) == cells(matched)
        outdated = [(target, moved.ids[1]) for target in moved.target_ids]
        assert [cell for cell in moved.matches if moved.outdated(cell)] == outdated == moved.missing("quick")
        again = run(matcher, moved)
        assert not any(again.outdated(cell) for cell in again.matches)
        assert {cell for cell in again.matches if again.matches[cell] is not matched.matches[cell]} == set(outdated)

    def test_another_method_finds_all_anew_but_decisions_stay(self, matched: Workspace, matcher: Matcher) -> None:
        corrected = changes.correct(matched, 0, 1, 5.5, 6.5)
        cell = (corrected.target_ids[0], corrected.ids[1])
        assert len(corrected.missing("quick")) == 0
        assert set(corrected.missing("other")) == set(matched.matches) - {cell}
        with pytest.raises(PointError, match=r"Nothing is left to find with quick.*corrected or accepted is kept"):
            check_ready(corrected, "quick")
        dift = load_matcher("dift", "toy", samples=1)
        other = run(dift, corrected, "other")
        assert other.location(cell) == (5.5, 6.5)
        assert {match.label for one, match in other.matches.items() if one != cell} == {"other"}
        # Once discarded, it is found like the others.
        assert changes.discard_decisions(other, 1).missing("other") == [cell]

    def test_of_points_and_targets_that_changed_meanwhile_are_dropped(
        self, matched: Workspace, matcher: Matcher
    ) -> None:
        result = find(matcher, two_targets(), "quick", lambda *_, **__: None)
        start = result.start
        count = len(start.points)
        merged, changed = changes.merge(changes.delete_point(start, 0), result)
        assert (len(merged.matches), changed) == (2 * (count - 1), 2)
        merged, changed = changes.merge(changes.move_point(start, 0, 1.5, 1.5), result)
        assert (len(merged.matches), changed) == (2 * (count - 1), 2)
        merged, changed = changes.merge(changes.replace_source(start, grey()), result)
        assert (len(merged.matches), len(merged.described), changed) == (0, 0, 2 * count)
        merged, changed = changes.merge(changes.correct(matched, 0, 0, 1.5, 1.5), result)
        assert merged.location((matched.target_ids[0], matched.ids[0])) == (1.5, 1.5)

    def test_a_correction_moves_one_match_of_one_target_and_can_be_discarded(self, matched: Workspace) -> None:
        moved = changes.correct(matched, 1, 2, 12.5, 200.5)
        assert cells(moved) == {**cells(matched), (1, 2): (12.5, 200.5)}
        assert moved.matches == matched.matches
        assert cells(changes.discard_decisions(moved, None)) == cells(matched)
        with pytest.raises(PointError, match="Nothing was corrected"):
            changes.discard_decisions(moved, 0)
        with pytest.raises(PointError, match="one of the 2"):
            changes.correct(matched, 2, 0, 1, 1)

    def test_a_point_is_accepted_where_it_was_predicted(self, matched: Workspace) -> None:
        corrected = changes.correct(matched, 0, 1, 5.5, 6.5)
        accepted = changes.accept(corrected, 1)
        how = {cell: placed.how for cell, placed in accepted.decisions.items()}
        point = matched.ids[1]
        assert how == {(matched.target_ids[0], point): "corrected", (matched.target_ids[1], point): "accepted"}
        assert cells(accepted) == cells(corrected)
        assert len(changes.accept(corrected, None).decisions) == len(matched.matches)
        with pytest.raises(PointError, match="no prediction to accept"):
            changes.accept(accepted, 1)
        outdated = changes.move_point(matched, 1, 9.5, 9.5)
        with pytest.raises(PointError, match="no prediction to accept"):
            changes.accept(outdated, 1)

    def test_a_point_is_located_by_a_person_where_nothing_was_predicted(self, work: Workspace) -> None:
        one = changes.add_point(work, 1, 1, LIMITS)
        located = changes.correct(one, 0, 0, 7.5, 8.5)
        assert cells(located) == {(0, 0): (7.5, 8.5)}
        assert located.missing("quick") == []

    def test_are_accepted_in_one_target(self, matched: Workspace) -> None:
        accepted = changes.accept(matched, None, 1)
        assert {cell[0] for cell in accepted.decisions} == {matched.target_ids[1]}
        assert len(accepted.decisions) == len(matched.ids)
        with pytest.raises(PointError, match="no prediction to accept"):
            changes.accept(accepted, 0, 1)

    def test_in_a_target_are_removed_with_it(self, matched: Workspace) -> None:
        kept = changes.remove_target(changes.correct(matched, 0, 0, 1, 1), 0)
        assert kept.decisions == {}
        assert {cell[0] for cell in kept.matches} == {matched.target_ids[1]}

    def test_are_counted_before_they_are_lost(self, matched: Workspace) -> None:
        assert contents(Workspace()) == ""
        assert contents(changes.new_workspace(grey(), {"a": (1.0, 1.0)}, [])) == "1 point"
        both = changes.accept(changes.correct(matched, 0, 0, 1, 1), 1)
        count = len(matched.points)
        assert contents(both) == f"{count} points, {2 * count} matches, 1 correction and 2 acceptances"

    def test_have_a_heat_map_of_each_point_and_layer_and_of_all_together(self, matched: Workspace) -> None:
        target, point = matched.target_ids[0], matched.ids[0]
        names = layer_choices(matched)
        assert names == [FUSED, *first(matched).prediction.matches.layer_names]
        maps = [heat_in(matched, target, one, name) for name in names for one in (*matched.ids, None)]
        assert len({map_.tobytes() for map_ in maps if map_ is not None}) == len(names) * (len(matched.ids) + 1)
        own = heat_in(matched, target, point, FUSED)
        assert own is not None
        np.testing.assert_array_equal(own, first(matched).prediction.matches.heatmaps[0])
        together = heat_in(matched, target, None, FUSED)
        assert together is not None
        # Every point's own maximum is one of the whole.
        assert (together == 1).sum() >= len(matched.ids)
        stray = changes.add_point(matched, 9.5, 9.5, Limits())
        assert heat_in(stray, target, stray.ids[-1], FUSED) is None
        assert heat_in(stray, target, None, FUSED) is not None
        assert heat_in(stray, target, point, "no such layer") is None


class TestHistory:
    def test_every_step_is_undone_and_redone(self, work: Workspace) -> None:
        history = History()
        one = changes.add_point(work, 1, 1, LIMITS)
        for words, state in [("opened", work), ("added", one), ("cleared", changes.clear_points(one))]:
            history.do(words, state)
        assert history.undo() == "cleared"
        assert history.now is one
        assert (history.undoable, history.redoable) == ("added", "cleared")
        assert history.undo() == "added"
        assert history.redo() == "added"
        assert history.now is one
        history.do("renamed", changes.name_points(one, "nose"))
        assert history.redoable is None
        history.do("nothing", history.now)
        assert history.undoable == "renamed"
        while history.undo():
            pass
        assert history.now.source is None
        assert history.undo() is None

    def test_brings_results_and_corrections_back(self, matched: Workspace) -> None:
        history = History()
        corrected = changes.correct(matched, 0, 0, 2.5, 3.5)
        history.do("found", corrected)
        history.do("cleared", changes.clear_points(corrected))
        history.undo()
        assert cells(history.now) == cells(corrected)

    def test_has_a_bound_and_counts_what_is_shared_once(self) -> None:
        images = [grey(100, 50, f"{number}.png") for number in range(5)]  # 15,000 bytes each
        history = History(limit_bytes=31_000)
        for image in images:
            history.do("source replaced", changes.replace_source(history.now, image))
        assert history.bytes == 45_000  # the present image and two before it
        assert [history.undo(), history.undo(), history.undo()] == ["source replaced", "source replaced", None]
        for number in range(300):
            history.do("named", changes.name_points(history.now, f"n{number}"))
        assert history.bytes == 15_000
        assert sum(history.undo() is not None for _ in range(300)) == 200
