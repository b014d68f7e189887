import dataclasses
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from closeness import assert_close_to_scale, assert_same_peaks
from semcorr.errors import LayerError, PointError, QueryError, SettingsError
from semcorr.imaging.heatmaps import Peak, find_peak
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, override
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.batch_size import row_bytes
from semcorr.matchers.results import Query
from semcorr.models.diffusion import DiffusionModel

POINT = (41.3, 62.9)


def _same(first: Query, second: Query) -> bool:
    return all(np.array_equal(first.tensors[name], second.tensors[name]) for name in ("embeddings", "losses"))


def test_it_is_a_matcher(matcher: PromptMatcher):
    assert isinstance(matcher, Matcher)


def test_describe_gives_everything_needed_to_use_the_query_again(
    matcher: PromptMatcher, source: Image, settings: PromptSettings
):
    query = matcher.describe(source, [POINT, (150, 0)], names=["paw", "corner"])
    assert (query.method, query.image_size, query.names) == ("prompt", (150, 100), ("paw", "corner"))
    assert (query.model_id, query.model_fingerprint) == (matcher.model.model_id, matcher.model.fingerprint)
    assert query.image_sha256 == source.sha256
    assert query.settings == settings.to_dict()
    assert query.points.tolist() == [[41.3, 62.9], [150.0, 0.0]]
    assert query.tensors["embeddings"].shape == (2, 2, 77, 64)
    assert query.tensors["losses"].shape == (2, 2, 3)
    assert np.isfinite(query.tensors["losses"]).all()


def test_locate_reports_in_the_targets_own_pixels(matcher: PromptMatcher, source: Image, target: Image):
    query = matcher.describe(source, [POINT, (20, 20)])
    matches = matcher.locate(query, target)
    assert matches.image_size == (90, 120)
    assert matches.heatmaps.shape == (2, 128, 128)
    assert matches.diagnostics.round_points.shape == (2, 2, 2)
    assert matches.diagnostics.layer_points.shape == (2, 4, 2)
    assert matches.layer_names == tuple(layer.name for layer in matcher.model.select_layers(("up/4", "up/2:0")))
    for index, heat in enumerate(matches.heatmaps):
        best = int(heat.argmax())
        expected = ((best % 128 + 0.5) * 90 / 128, (best // 128 + 0.5) * 120 / 128)
        np.testing.assert_allclose(matches.points[index], expected)
    assert ((matches.confidence >= 0) & (matches.confidence <= 1)).all()


@pytest.mark.slow
def test_a_trace_is_what_fewer_crops_and_rounds_find(
    toy_matcher: PromptMatcher, toy_query: Query, faces: tuple[Image, Image]
):
    traced = toy_matcher.locate(toy_query, faces[1], trace=True)
    for crops in (4, 5, 6):
        fewer = toy_matcher.locate(toy_query, faces[1], locate_crops=crops)
        assert fewer.diagnostics.after_crops.shape == (3, 0, 2)
        np.testing.assert_allclose(traced.diagnostics.after_crops[:, crops - 1], fewer.points, atol=1e-4)
    np.testing.assert_array_equal(traced.diagnostics.after_rounds[:, 0], traced.diagnostics.round_points[:, 0])
    np.testing.assert_array_equal(traced.diagnostics.after_rounds[:, -1], traced.points)


@pytest.mark.parametrize("kind", ["parabola", "soft"])
@pytest.mark.parametrize("size", [(2048, 1024), (30, 40)])
def test_a_finer_peak_is_that_of_the_same_map(
    matcher: PromptMatcher, source: Image, target: Image, kind: Peak, size: tuple[int, int]
):
    large = load_image(PIL.Image.fromarray(target.pixels).resize(size))
    query = matcher.describe(source, [POINT, (20, 20)])
    cell, finer = matcher.locate(query, large), matcher.locate(query, large, peak=kind, trace=True)
    # The settings' layers have maps of 4 x 4 and 8 x 8 cells.
    expected = find_peak(torch.from_numpy(np.array(cell.heatmaps)), kind, grid=(8, 8)).double().numpy()
    assert_close_to_scale(finer.points, expected * size / 128, rel=1e-5)
    np.testing.assert_array_equal(finer.confidence, cell.confidence)
    np.testing.assert_array_equal(finer.heatmaps, cell.heatmaps)
    assert finer.diagnostics.after_rounds is not None
    assert finer.diagnostics.after_crops is not None
    np.testing.assert_array_equal(finer.diagnostics.after_crops[:, -1], finer.points)
    np.testing.assert_array_equal(finer.diagnostics.after_rounds[:, -1], finer.points)
    # Only cells lie on the steps of the model's frame.
    steps = np.array(size) / 128
    assert np.abs((cell.points / steps) % 1 - 0.5).max() < 1e-6
    assert np.abs((finer.points / steps) % 1 - 0.5).max() > 1e-3
    for name in ("round_points", "layer_points"):
        np.testing.assert_array_equal(getattr(finer.diagnostics, name), getattr(cell.diagnostics, name))


def test_a_query_without_a_peak_setting_is_located_as_before(matcher: PromptMatcher, source: Image, target: Image):
    query = matcher.describe(source, [POINT])
    before = {name: value for name, value in query.settings.items() if name != "peak"}
    again = matcher.locate(dataclasses.replace(query, settings=before), target)
    np.testing.assert_array_equal(again.points, matcher.locate(query, target).points)
    with pytest.raises(SettingsError, match=r"'peak': expected 'cell', 'parabola', .* got 'softer'. Did you mean"):
        matcher.locate(query, target, peak="softer")


def test_some_points_of_a_query_are_located_as_among_all(
    toy_matcher: PromptMatcher, toy_query: Query, faces: tuple[Image, Image]
):
    some = toy_query.take([2, 0])
    assert (some.names, some.points.tolist()) == (("c", "a"), toy_query.points[[2, 0]].tolist())
    whole, part = toy_matcher.locate(toy_query, faces[1]), toy_matcher.locate(some, faces[1])
    assert_close_to_scale(part.heatmaps, whole.heatmaps[[2, 0]])
    assert_same_peaks(part.points, whole.points[[2, 0]], part.heatmaps, whole.heatmaps[[2, 0]], faces[1].size)


def test_two_runs_are_identical_to_the_last_bit(matcher: PromptMatcher, source: Image, target: Image):
    first, second = (matcher.describe(source, [POINT]) for _ in range(2))
    assert _same(first, second)
    one, other = (matcher.locate(first, target) for _ in range(2))
    assert np.array_equal(one.heatmaps, other.heatmaps)
    assert np.array_equal(one.points, other.points)


def test_another_seed_is_another_run(model: DiffusionModel, settings: PromptSettings, source: Image):
    first, second = (
        PromptMatcher(model, override(settings, seed=seed)).describe(source, [POINT]).tensors["embeddings"]
        for seed in (0, 1)
    )
    assert np.abs(first - second).mean() > 0.5


def test_a_point_alone_and_among_twenty_others_is_the_same(
    model: DiffusionModel, settings: PromptSettings, source: Image, target: Image
):
    """Crops of four are the corners: on random weights running peaks would lead by less than is rounded."""
    matcher = PromptMatcher(model, override(settings, steps=3, locate_crops=4))
    rng = np.random.default_rng(5)
    others = rng.uniform(0, 1, (20, 2)) * source.size
    alone = matcher.describe(source, [POINT])
    among = matcher.describe(source, np.concatenate([others[:11], [POINT], others[11:]]))
    assert_close_to_scale(among.tensors["embeddings"][11], alone.tensors["embeddings"][0])
    one, many = matcher.locate(alone, target), matcher.locate(among, target)
    assert_close_to_scale(many.heatmaps[11], one.heatmaps[0])
    assert_same_peaks(many.points[[11]], one.points, many.heatmaps[[11]], one.heatmaps, target.size, clear=0)


def test_the_memory_budget_changes_rounding_only(
    model: DiffusionModel,
    settings: PromptSettings,
    source: Image,
    toy_matcher: PromptMatcher,
    toy_query: Query,
    faces: tuple[Image, Image],
):
    small, large = (
        PromptMatcher(model, settings, memory_budget=budget).describe(source, [POINT, (20, 20)]).tensors["embeddings"]
        for budget in (1, 2**40)
    )
    assert_close_to_scale(small, large)
    few, many = (
        PromptMatcher(toy_matcher.model, toy_matcher.settings, memory_budget=budget).locate(toy_query, faces[1])
        for budget in (1, 2**40)
    )
    assert_close_to_scale(few.heatmaps, many.heatmaps)
    assert_same_peaks(few.points, many.points, few.heatmaps, many.heatmaps, faces[1].size)


@pytest.mark.parametrize(
    "changes", [{}, {"optimize_crops": 3, "optimize_noise": "shared"}, {"queries": "frozen"}], ids=str
)
def test_gradient_checkpointing_changes_rounding_only(
    model: DiffusionModel, settings: PromptSettings, source: Image, target: Image, changes: dict[str, object]
):
    chosen = override(settings, **{"optimize_crops": 4, "neutral": "zeros", **changes})
    plain, saving = (PromptMatcher(model, chosen, gradient_checkpointing=choice) for choice in (False, True))
    queries = [matcher.describe(source, [POINT, (20, 20)]) for matcher in (plain, saving)]
    for name in ("embeddings", "losses"):
        assert_close_to_scale(queries[1].tensors[name], queries[0].tensors[name])
    assert plain.identity() == saving.identity()
    np.testing.assert_array_equal(saving.locate(queries[0], target).heatmaps, plain.locate(queries[0], target).heatmaps)


def test_more_rows_fit_with_gradient_checkpointing(model: DiffusionModel, settings: PromptSettings):
    plain, saving = (AttentionReader(model, settings, gradient_checkpointing=choice) for choice in (False, True))
    assert row_bytes(saving, optimizing=True) < 0.75 * row_bytes(plain, optimizing=True)
    assert row_bytes(saving, optimizing=False) == row_bytes(plain, optimizing=False)


def test_a_saved_and_reloaded_query_gives_identical_matches(
    matcher: PromptMatcher, source: Image, target: Image, tmp_path: Path
):
    query = matcher.describe(source, [POINT, (20, 20)], names=["a", "b"])
    again = Query.load(query.save(tmp_path / "query.safetensors"))
    first, second = matcher.locate(query, target), matcher.locate(again, target)
    for name in ("points", "confidence", "heatmaps"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    for name in ("round_points", "layer_points"):
        assert np.array_equal(getattr(first.diagnostics, name), getattr(second.diagnostics, name)), name
    assert second.names == ("a", "b")


def test_the_querys_settings_are_used_whatever_the_matcher_would_describe_with(
    model: DiffusionModel, matcher: PromptMatcher, settings: PromptSettings, source: Image, target: Image
):
    query = matcher.describe(source, [POINT])
    other = PromptMatcher(model, override(settings, rounds=5, locate_crops=9, fusion="softmax", layers=("up/2",)))
    assert np.array_equal(other.locate(query, target).heatmaps, matcher.locate(query, target).heatmaps)


def test_settings_of_locating_can_be_replaced_and_those_of_the_query_cannot(
    matcher: PromptMatcher, source: Image, target: Image
):
    query = matcher.describe(source, [POINT])
    plain = matcher.locate(query, target)
    assert not np.array_equal(matcher.locate(query, target, locate_crops=6).heatmaps, plain.heatmaps)
    with pytest.raises(SettingsError, match=r"'rounds' cannot be changed when locating.*locate_crops"):
        matcher.locate(query, target, rounds=1)


def test_a_query_of_another_model_is_refused_naming_both(matcher: PromptMatcher, source: Image, target: Image):
    query = matcher.describe(source, [POINT])
    foreign = dataclasses.replace(query, model_id="some/other-model", model_revision="v2", model_fingerprint="f" * 64)
    with pytest.raises(QueryError, match=r"'some/other-model' at v2 .*tiny-sd'"):
        matcher.locate(foreign, target)


def test_a_query_of_another_method_is_refused(matcher: PromptMatcher, source: Image, target: Image):
    query = dataclasses.replace(matcher.describe(source, [POINT]), method="nearest")
    with pytest.raises(QueryError, match=r"method 'nearest', expected 'prompt'"):
        matcher.locate(query, target)


def test_a_query_whose_embeddings_do_not_fit_is_refused(matcher: PromptMatcher, source: Image, target: Image):
    query = matcher.describe(source, [POINT])
    cut = dataclasses.replace(query, tensors={"embeddings": query.tensors["embeddings"][:, :1]})
    with pytest.raises(QueryError, match=r"expected shape \(1, 2, 77, 64\), got \(1, 1, 77, 64\)"):
        matcher.locate(cut, target)
    with pytest.raises(QueryError, match="got none"):
        matcher.locate(dataclasses.replace(query, tensors={}), target)


@pytest.mark.parametrize(
    ("points", "message"),
    [([], "No points were given"), ([(10, 101)], "outside"), ([(float("nan"), 1)], "finite"), ([(1, 2, 3)], "shape")],
)
def test_bad_points_are_refused_before_anything_is_optimized(
    matcher: PromptMatcher, source: Image, points: list[tuple[float, ...]], message: str
):
    with pytest.raises(PointError, match=message):
        matcher.describe(source, points)


def test_names_must_be_as_many_as_points(matcher: PromptMatcher, source: Image):
    with pytest.raises(PointError, match="one name for each of the 1 points, got 2"):
        matcher.describe(source, [POINT], names=["a", "b"])


def test_what_the_model_lacks_is_an_error_when_the_matcher_is_made(model: DiffusionModel, settings: PromptSettings):
    with pytest.raises(LayerError, match="up/3"):
        PromptMatcher(model, override(settings, layers=("up/3",)))
    with pytest.raises(SettingsError, match=r"'heads'.*0 to 7.*\[9\]"):
        PromptMatcher(model, override(settings, heads=(9,)))
    with pytest.raises(SettingsError, match=r"'token': expected less than the 77 tokens"):
        PromptMatcher(model, override(settings, token=77))
    with pytest.raises(SettingsError, match=r"'resolution': expected a multiple of 8"):
        PromptMatcher(model, override(settings, resolution=100))
    with pytest.raises(SettingsError, match="memory_budget"):
        PromptMatcher(model, settings, memory_budget=0)


def test_a_wrong_name_is_refused_before_the_model_is_loaded():
    with pytest.raises(SettingsError, match="Unknown preset 'papier'"):
        PromptMatcher.from_pretrained("no/such-model", preset="papier")
    with pytest.raises(SettingsError, match=r"Unknown setting 'step'. Did you mean 'steps'\?"):
        PromptMatcher.from_pretrained("no/such-model", step=3)


def test_presets_follow_the_models_family(tiny_sd: Path):
    matcher = PromptMatcher.from_pretrained(tiny_sd, "reference", device="cpu", resolution=128, rounds=1)
    assert (matcher.settings.rounds, matcher.settings.resolution, matcher.settings.noise) == (1, 128, "uniform")
    assert matcher.settings.layers == ("up/4", "up/2:0")


@pytest.mark.parametrize(
    "changes",
    [
        {"heads": (0, 3)},
        {"heads": "upper_half"},
        {"noise": "uniform"},
        {"fusion": "softmax"},
        {"loss": "per_layer"},
        {"optimize_crop": 1.0},
        {"locate_crop": 1.0, "locate_crops": 2},
        {"rounds": 1},
        {"layers": ("mid/8",)},
        {"optimize_step": 20},
        {"locate_step": 3},
        {"crop_margin": 0.4, "locate_crop": 0.6},
        {"pixel_centre": 0.0},
        {"sigma": 0.2},
        {"token": 2},
    ],
    ids=str,
)
def test_every_switch_changes_the_result(
    model: DiffusionModel, settings: PromptSettings, source: Image, target: Image, changes: dict[str, object]
):
    results = []
    for chosen in (override(settings, steps=2), override(settings, steps=2, **changes)):
        matcher = PromptMatcher(model, chosen)
        results.append(matcher.locate(matcher.describe(source, [POINT]), target).heatmaps)
    assert np.isfinite(results[1]).all()
    assert not np.array_equal(results[0], results[1])


def test_interrupting_leaves_the_matcher_usable(matcher: PromptMatcher, source: Image):
    def stop(stage: str, done: int, total: int, **info: object) -> None:
        raise KeyboardInterrupt

    before = matcher.describe(source, [POINT])
    with pytest.raises(KeyboardInterrupt):
        matcher.describe(source, [POINT], progress=stop)
    assert _same(before, matcher.describe(source, [POINT]))
