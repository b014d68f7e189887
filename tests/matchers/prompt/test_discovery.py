"""Key-points without labels: losses in closed form, views there and back, and an optimization that continues."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semcorr.errors import QueryError, SettingsError
from semcorr.imaging import heatmaps
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.prompt.discovery import KeypointTokens, OptimizerState, discover_keypoints, settings_for
from semcorr.matchers.prompt.discovery import optimize as optimization
from semcorr.matchers.prompt.discovery.tokens import choose_spread, equivariance_losses, locality_losses
from semcorr.matchers.prompt.discovery.views import draw_view, points_in_image, view_of
from semcorr.models.diffusion import DiffusionModel
from semcorr.toy.render import render_scene

QUICK: dict[str, Any] = {"resolution": 64, "views": 3, "batch": 2, "steps": 6}


@pytest.fixture(scope="module")
def toy() -> DiffusionModel:
    return DiffusionModel.from_pretrained("toy", device="cpu")


@pytest.fixture(scope="module")
def birds() -> list[Image]:
    return [load_image(render_scene(seed, 64, split="val", category="bird").image) for seed in range(3)]


@pytest.fixture(scope="module")
def discovered(toy: DiffusionModel, birds: list[Image]) -> KeypointTokens:
    return discover_keypoints(toy, birds, 4, **QUICK)


def test_a_gaussian_has_no_locality_loss_and_a_flat_map_the_mean_square_of_one():
    sigma, side = 1.5, 16
    exact = heatmaps.gaussian(torch.tensor([[[5.5, 9.5]]]), sigma, (side, side))
    flat = torch.zeros(1, 1, side, side)
    losses = locality_losses(torch.cat([exact, flat], dim=1), sigma)
    # The peak of equal values is the first one, in the corner.
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    expected = np.mean(np.exp(-(x**2 + y**2) / (2 * sigma**2)) ** 2)
    assert losses.tolist() == pytest.approx([0, expected], abs=1e-6)


def test_maps_that_move_with_their_view_have_no_equivariance_loss():
    side = 16
    # A view moved right by 4 pixels of 16: half a unit of a frame from -1 to 1.
    matrix = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])
    maps = torch.rand(1, 2, side, side, generator=torch.Generator().manual_seed(0))
    view = torch.rand(1, 2, side, side, generator=torch.Generator().manual_seed(1))
    view[:, 0, :, :12] = maps[:, 0, :, 4:]
    losses = equivariance_losses(maps, view, matrix)
    assert losses[0] == pytest.approx(0, abs=1e-10)
    wrong = (view[0, 1, :, :12] - maps[0, 1, :, 4:]) ** 2
    assert losses[1] == pytest.approx(float(wrong.sum()) / side**2, rel=1e-4)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_dot_is_where_its_view_says(number: int):
    settings = settings_for("toy")
    matrix = draw_view(settings, "a hash", number)
    frame = torch.zeros(3, 64, 64)
    frame[:, 20:24, 40:44] = 1
    view = view_of(frame, matrix)[0]
    columns, rows = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5)
    weights = view.numpy() / view.sum().item()
    centre = torch.tensor([[[float((columns * weights).sum()), float((rows * weights).sum())]]]) / 64
    x, y = (points_in_image(centre, matrix[None])[0, 0] * 64).tolist()
    assert (x, y) == pytest.approx((42, 22), abs=0.3)
    mirrored = torch.linalg.det(matrix[:, :2]) < 0
    assert bool(mirrored) == (number % 2 == 0)


def test_the_most_consistent_token_is_first_and_the_others_lie_apart():
    # Four tokens on a line, in two images alike.
    line = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [5.0, 0.0], [9.0, 0.0]]]).expand(2, -1, -1)
    deviations = torch.tensor([0.3, 0.1, 0.2, 0.2])
    assert choose_spread(line, deviations, 3, [0, 1, 2, 3]) == [1, 3, 2]
    assert choose_spread(line, deviations, 2, [0, 2]) == [2, 0]


def test_an_optimization_that_was_stopped_continues_with_equal_results(
    toy: DiffusionModel, birds: list[Image], discovered: KeypointTokens, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(optimization, "_SAVED_EVERY", 2)
    states: list[OptimizerState] = []

    def stop(stage: str, done: int, total: int, **info: object) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        discover_keypoints(toy, birds, 4, save=states.append, progress=stop, **QUICK)
    assert [state.step for state in states] == [2, 4]
    again = discover_keypoints(toy, birds, 4, state=states[-1], **QUICK)
    assert again.tokens == discovered.tokens
    assert np.array_equal(again.context, discovered.context)


def test_points_lie_in_the_image_and_do_not_depend_on_the_other_images(
    toy: DiffusionModel, birds: list[Image], discovered: KeypointTokens
):
    wide = load_image(render_scene(7, 64, split="val", category="bird").image[:40])
    points, confidence = discovered.locate(toy, wide)
    assert points.shape == (4, 2)
    assert (points >= 0).all()
    assert (points <= wide.size).all()
    assert ((confidence >= 0) & (confidence <= 1)).all()
    discovered.locate(toy, birds[0])
    again, _ = discovered.locate(toy, wide)
    assert np.array_equal(again, points)


def test_saved_tokens_are_the_same_and_some_are_kept_under_names(
    toy: DiffusionModel, birds: list[Image], discovered: KeypointTokens, tmp_path: Path
):
    loaded = KeypointTokens.load(discovered.save(tmp_path / "tokens.safetensors"))
    assert (loaded.names, loaded.tokens, loaded.settings, loaded.model) == (
        ("point-1", "point-2", "point-3", "point-4"),
        discovered.tokens,
        discovered.settings,
        discovered.model,
    )
    kept = loaded.keep({3: "beak", 1: "tail"})
    assert (kept.names, kept.tokens) == (("beak", "tail"), (discovered.tokens[2], discovered.tokens[0]))
    all_points, _ = discovered.locate(toy, birds[0])
    points, _ = kept.locate(toy, birds[0])
    assert np.array_equal(points, all_points[[2, 0]])
    for names, message in (({5: "x"}, "from 1 to 4, got 5"), ({}, "at least one"), ({1: "x", 2: "x"}, "of its own")):
        with pytest.raises(SettingsError, match=message):
            loaded.keep(names)


def test_another_network_and_broken_files_are_refused(
    model: DiffusionModel, birds: list[Image], discovered: KeypointTokens, tmp_path: Path
):
    with pytest.raises(QueryError, match="were discovered with model 'toy'"):
        discovered.locate(model, birds[0])
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(discovered.save(tmp_path / "good.safetensors").read_bytes()[:200])
    with pytest.raises(QueryError, match="It is broken"):
        KeypointTokens.load(broken)


def test_what_cannot_be_discovered_is_refused(toy: DiffusionModel, model: DiffusionModel, birds: list[Image]):
    with pytest.raises(SettingsError, match="at least 2 different images, got 1"):
        discover_keypoints(toy, birds[:1] * 3, 4, **QUICK)
    with pytest.raises(SettingsError, match="from 1 to 31 key-points"):
        discover_keypoints(toy, birds, 32, **QUICK)
    with pytest.raises(SettingsError, match="stepz"):
        discover_keypoints(toy, birds, 4, stepz=1)
    with pytest.raises(SettingsError, match="neutral=zeros"):
        discover_keypoints(model, birds, 4, **QUICK)


def test_stable_diffusion_without_a_text_encoder_takes_zeros(model: DiffusionModel, birds: list[Image]):
    tokens = discover_keypoints(model, birds, 3, neutral="zeros", **QUICK)
    points, _ = tokens.locate(model, birds[0])
    assert np.isfinite(points).all()
