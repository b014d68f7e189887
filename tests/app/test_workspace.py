"""The workspace: every change, and what is refused; results, views and undo."""

import dataclasses

import numpy as np
import pytest

from semcorr.app import workspace
from semcorr.app.find import check_ready, find
from semcorr.app.history import History
from semcorr.app.limits import Limits
from semcorr.app.page import examples, viewer
from semcorr.app.page.colours import confidence_colour, legend
from semcorr.app.server.served_files import ServedFiles, SessionFiles
from semcorr.app.workspace import Match, Workspace, new_workspace
from semcorr.errors import ImageError, PointError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher

LIMITS = Limits(targets=3, points=3)


def grey(width: int = 40, height: int = 30, name: str = "grey.png") -> Image:
    return load_image(np.full((height, width, 3), 90, dtype=np.uint8), name=name)


@pytest.fixture
def work() -> Workspace:
    return new_workspace(grey(), {}, [grey(20, 20)])


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return load_matcher("attention-dift", "toy", steps=3, locate_crops=4, dift_samples=1)


def run(matcher: Matcher, work: Workspace, label: str = "quick") -> Workspace:
    merged, changed = workspace.merge(work, find(matcher, work, label, lambda *_, **__: None))
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
        two = workspace.add_point(workspace.add_point(work, 3.5, 4.5, LIMITS), 10.5, 20.25, LIMITS)
        assert two.points == ((3.5, 4.5), (10.5, 20.25))
        assert workspace.move_point(two, 0, 1.0, 2.0).points == ((1.0, 2.0), (10.5, 20.25))
        assert workspace.move_point(two, 0, 1.0, 2.0).ids == two.ids
        assert workspace.delete_point(two, 0).points == ((10.5, 20.25),)
        assert workspace.delete_point(two, 0).ids == two.ids[1:]
        assert workspace.clear_points(two).points == ()
        assert work.points == ()
        assert two.labels == ("1", "2")
        with pytest.raises(PointError, match="one of the 2"):
            workspace.delete_point(two, 2)

    def test_names_are_separated_by_commas_and_gaps_keep_their_number(self, work: Workspace) -> None:
        two = workspace.add_point(workspace.add_point(work, 1, 1, LIMITS), 2, 2, LIMITS)
        assert workspace.name_points(two, " , left ear ").labels == ("1", "left ear")
        assert workspace.name_points(two, "").labels == ("1", "2")
        assert workspace.delete_point(workspace.name_points(two, "a, b"), 0).labels == ("b",)
        named = workspace.name_points(two, "a, b")
        assert workspace.name_points(named, "a,b") is named
        with pytest.raises(PointError, match="'a' twice"):
            workspace.name_points(two, "a, a")

    def test_refused_outside_without_a_source_and_beyond_the_limit(self, work: Workspace) -> None:
        with pytest.raises(PointError, match=r"40 × 30 pixels, got \(40.5, 3\)"):
            workspace.add_point(work, 40.5, 3, LIMITS)
        with pytest.raises(ImageError, match="no source"):
            workspace.add_point(Workspace(), 1, 1, LIMITS)
        full = new_workspace(grey(), dict.fromkeys("abc", (1.0, 1.0)), [])
        with pytest.raises(PointError, match="at most 3"):
            workspace.add_point(full, 1, 1, LIMITS)

    def test_another_source_removes_the_points(self, work: Workspace) -> None:
        one = workspace.add_point(work, 1, 1, LIMITS)
        assert workspace.replace_source(one, grey()).points == ()
        assert workspace.replace_source(one, grey()).targets == one.targets
        with pytest.raises(ImageError, match="at most 3 targets, got 4"):
            workspace.add_targets(one, [grey()] * 3, LIMITS)
        assert workspace.remove_targets(one).targets == ()

    @pytest.mark.parametrize(
        ("change", "error"),
        [({"source": None}, "source image"), ({"points": (), "ids": ()}, "click"), ({"targets": ()}, "target image")],
    )
    def test_a_run_names_what_is_missing(self, work: Workspace, change: dict[str, object], error: str) -> None:
        whole = workspace.add_point(work, 1, 1, LIMITS)
        check_ready(whole, "quick")
        with pytest.raises((ImageError, PointError), match=error):
            check_ready(dataclasses.replace(whole, **change), "quick")  # type: ignore[arg-type]


def test_the_legend_says_whether_the_confidence_is_calibrated() -> None:
    assert "uncalibrated" in legend(None)
    assert "calibrated on 9 &lt;points&gt;" in legend("9 <points>")
    # From red to blue, and no two alike.
    colours = [confidence_colour(step / 10) for step in range(11)]
    assert len(set(colours)) == 11
    assert int(colours[0][1:3], 16) > int(colours[0][5:7], 16)
    assert int(colours[-1][1:3], 16) < int(colours[-1][5:7], 16)


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
        stray = workspace.add_point(matched, 200.5, 40.5, Limits())
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
        more = workspace.add_targets(matched, [examples.example("face").targets[2]], Limits())
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
        again = run(method, workspace.add_targets(after, [examples.example("face").targets[2]], Limits()))
        assert all(again.described[point] is after.described[point] for point in after.ids)

    def test_of_a_moved_point_are_outdated_and_located_again(self, matched: Workspace, matcher: Matcher) -> None:
        moved = workspace.move_point(matched, 1, 100.5, 100.5)
        assert cells(moved) == cells(matched)
        outdated = [(target, moved.ids[1]) for target in moved.target_ids]
        assert [cell for cell in moved.matches if moved.outdated(cell)] == outdated == moved.missing("quick")
        again = run(matcher, moved)
        assert not any(again.outdated(cell) for cell in again.matches)
        assert {cell for cell in again.matches if again.matches[cell] is not matched.matches[cell]} == set(outdated)

    def test_another_method_finds_all_anew_but_decisions_stay(self, matched: Workspace, matcher: Matcher) -> None:
        corrected = workspace.correct(matched, 0, 1, 5.5, 6.5)
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
        assert workspace.discard_decisions(other, 1).missing("other") == [cell]

    def test_of_points_and_targets_that_changed_meanwhile_are_dropped(
        self, matched: Workspace, matcher: Matcher
    ) -> None:
        result = find(matcher, two_targets(), "quick", lambda *_, **__: None)
        start = result.start
        count = len(start.points)
        merged, changed = workspace.merge(workspace.delete_point(start, 0), result)
        assert (len(merged.matches), changed) == (2 * (count - 1), 2)
        merged, changed = workspace.merge(workspace.move_point(start, 0, 1.5, 1.5), result)
        assert (len(merged.matches), changed) == (2 * (count - 1), 2)
        merged, changed = workspace.merge(workspace.replace_source(start, grey()), result)
        assert (len(merged.matches), len(merged.described), changed) == (0, 0, 2 * count)
        merged, changed = workspace.merge(workspace.correct(matched, 0, 0, 1.5, 1.5), result)
        assert merged.location((matched.target_ids[0], matched.ids[0])) == (1.5, 1.5)

    def test_a_correction_moves_one_match_of_one_target_and_can_be_discarded(self, matched: Workspace) -> None:
        moved = workspace.correct(matched, 1, 2, 12.5, 200.5)
        assert cells(moved) == {**cells(matched), (1, 2): (12.5, 200.5)}
        assert moved.matches == matched.matches
        assert cells(workspace.discard_decisions(moved, None)) == cells(matched)
        with pytest.raises(PointError, match="Nothing was corrected"):
            workspace.discard_decisions(moved, 0)
        with pytest.raises(PointError, match="one of the 2"):
            workspace.correct(matched, 2, 0, 1, 1)
        with pytest.raises(PointError, match="Find first"):
            workspace.correct(Workspace(), 0, 0, 1, 1)

    def test_a_point_is_accepted_where_it_was_predicted(self, matched: Workspace) -> None:
        corrected = workspace.correct(matched, 0, 1, 5.5, 6.5)
        accepted = workspace.accept(corrected, 1)
        how = {cell: placed.how for cell, placed in accepted.decisions.items()}
        point = matched.ids[1]
        assert how == {(matched.target_ids[0], point): "corrected", (matched.target_ids[1], point): "accepted"}
        assert cells(accepted) == cells(corrected)
        assert len(workspace.accept(corrected, None).decisions) == len(matched.matches)
        with pytest.raises(PointError, match="no prediction to accept"):
            workspace.accept(accepted, 1)
        outdated = workspace.move_point(matched, 1, 9.5, 9.5)
        with pytest.raises(PointError, match="no prediction to accept"):
            workspace.accept(outdated, 1)

    def test_are_counted_before_they_are_lost(self, matched: Workspace) -> None:
        assert workspace.contents(Workspace()) == ""
        assert workspace.contents(new_workspace(grey(), {"a": (1.0, 1.0)}, [])) == "1 point"
        both = workspace.accept(workspace.correct(matched, 0, 0, 1, 1), 1)
        count = len(matched.points)
        assert workspace.contents(both) == f"{count} points, {2 * count} matches, 1 correction and 2 acceptances"

    def test_the_views_show_numbers_confidence_and_the_selected_map(self, matched: Workspace) -> None:
        files = ServedFiles()
        own = SessionFiles(files)
        view = viewer.targets_view(own, workspace.correct(matched, 0, 1, 5, 6), point=1, active=1)
        first_panel, second = view["panels"]
        assert [point["label"] for point in first_panel["points"]] == [str(n + 1) for n in range(len(matched.points))]
        assert (first_panel["points"][1]["x"], first_panel["points"][1]["y"]) == (5, 6)
        assert "by hand" in first_panel["points"][1]["title"]
        assert "confidence" in second["points"][1]["title"]
        assert [point["active"] for point in first_panel["points"]].index(True) == 1
        names = viewer.layer_choices(matched)
        assert names == [viewer.FUSED, *first(matched).prediction.matches.layer_names]
        maps = {viewer.heat_in(matched, 0, 0, name).tobytes() for name in names}  # type: ignore[union-attr]
        assert len(maps) == len(names)
        for panel in view["panels"]:
            for address in (panel["src"], panel["heat"]):
                item = files.get(address.removeprefix("semcorr/"))
                assert item is not None
                assert item.data.startswith(b"\x89PNG")
        own.clear()
        assert len(files) == 0

    def test_the_views_mark_missing_and_outdated_points(self, matched: Workspace) -> None:
        own = SessionFiles(ServedFiles())
        changed = workspace.move_point(workspace.add_point(matched, 9.5, 9.5, Limits()), 0, 3.5, 3.5)
        source = viewer.source_view(own, changed)["panels"][0]["points"]
        assert [point["pending"] for point in source] == [*[False] * len(matched.points), True]
        target = viewer.targets_view(own, changed)["panels"][0]["points"]
        assert [point["outdated"] for point in target] == [True, *[False] * len(matched.points)]
        assert target[-1]["x"] is None
        assert "not found yet" in target[-1]["title"]
        assert viewer.heat_in(changed, 0, len(matched.points), viewer.FUSED) is None
        assert viewer.heat_in(changed, 0, None, viewer.FUSED) is not None


class TestHistory:
    def test_every_step_is_undone_and_redone(self, work: Workspace) -> None:
        history = History()
        one = workspace.add_point(work, 1, 1, LIMITS)
        for words, state in [("opened", work), ("added", one), ("cleared", workspace.clear_points(one))]:
            history.do(words, state)
        assert history.undo() == "cleared"
        assert history.now is one
        assert (history.undoable, history.redoable) == ("added", "cleared")
        assert history.undo() == "added"
        assert history.redo() == "added"
        assert history.now is one
        history.do("renamed", workspace.name_points(one, "nose"))
        assert history.redoable is None
        history.do("nothing", history.now)
        assert history.undoable == "renamed"
        while history.undo():
            pass
        assert history.now.source is None
        assert history.undo() is None

    def test_brings_results_and_corrections_back(self, matched: Workspace) -> None:
        history = History()
        corrected = workspace.correct(matched, 0, 0, 2.5, 3.5)
        history.do("found", corrected)
        history.do("cleared", workspace.clear_points(corrected))
        history.undo()
        assert cells(history.now) == cells(corrected)

    def test_has_a_bound_and_counts_what_is_shared_once(self) -> None:
        images = [grey(100, 50, f"{number}.png") for number in range(5)]  # 15,000 bytes each
        history = History(limit_bytes=31_000)
        for image in images:
            history.do("source replaced", workspace.replace_source(history.now, image))
        assert history.bytes == 45_000  # the present image and two before it
        assert [history.undo(), history.undo(), history.undo()] == ["source replaced", "source replaced", None]
        for number in range(300):
            history.do("named", workspace.name_points(history.now, f"n{number}"))
        assert history.bytes == 15_000
        assert sum(history.undo() is not None for _ in range(300)) == 200
