import math

import pytest
import torch

from closeness import assert_close_to_scale
from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import squash
from semcorr.imaging.image import Image
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, override
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.attention_targets import row_losses
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.optimize import Example, optimize
from semcorr.matchers.prompt.random_streams import SeededStreams
from semcorr.models.diffusion import DiffusionModel


def _peak_on_source(matcher: PromptMatcher, image: Image, embeddings: torch.Tensor) -> torch.Tensor:
    """Where the mean map of embeddings (rows, tokens, dim) on the whole source peaks, in the model frame."""
    reader = AttentionReader(matcher.model, matcher.settings)
    latent = matcher.model.encode(squash(image.tensor(), reader.resolution)[None]).expand(len(embeddings), -1, -1, -1)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = reader.maps(latent, noise, reader.optimize_t, embeddings)
    return heatmaps.peak(heatmaps.fuse_mean(maps, (reader.resolution, reader.resolution)))


def test_optimizing_lowers_the_loss_and_moves_the_peak_to_the_point(
    model: DiffusionModel, settings: PromptSettings, source: Image
):
    matcher = PromptMatcher(model, override(settings, steps=60, rounds=1, lr=0.1, optimize_crop=1.0))
    points = [(112.5, 25.0), (37.5, 75.0)]  # on centres of cells of the 8 x 8 map... (96, 32), (32, 96) of 128
    query = matcher.describe(source, points)
    losses = query.tensors["losses"][:, 0]
    assert (losses[:, -5:].mean(axis=1) < 0.9 * losses[:, :5].mean(axis=1)).all()
    expected = torch.tensor([[96.0, 32.0], [32.0, 96.0]])
    peaks = _peak_on_source(matcher, source, torch.tensor(query.tensors["embeddings"])[:, 0])
    # A cell of the finest map that is read is 16 px wide here.
    assert (peaks - expected).norm(dim=1).max() <= 16 * math.sqrt(2)


@pytest.mark.parametrize("kind", ["mean_map", "per_layer"])
def test_losses_follow_their_definition(kind: str):
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(3, 4, 4, generator=generator), torch.rand(3, 4, 4, generator=generator)]
    target = torch.rand(3, 4, 4, generator=generator)
    loss = row_losses(maps, target, kind)
    for row in range(3):
        first, second = maps[0][row], maps[1][row]
        mean_map = float((((first + second) / 2 - target[row]) ** 2).mean())
        per_layer = float((((first - target[row]) ** 2).mean() + ((second - target[row]) ** 2).mean()) / 2)
        assert float(loss[row]) == pytest.approx({"mean_map": mean_map, "per_layer": per_layer}[kind], rel=1e-5)


def test_a_batch_gives_what_its_rows_give_alone_with_their_own_adam(
    model: DiffusionModel, settings: PromptSettings, source: Image
):
    """One row, written out: torch's own Adam on one embedding, one crop and one noise at a time."""
    settings = override(settings, steps=3, rounds=2, noise="uniform", crop_margin=0.15)
    reader = AttentionReader(model, settings)
    frame = squash(source.tensor(), 128)
    points = torch.tensor([[30.0, 40.0], [100.0, 90.0]], dtype=torch.float64)
    draws = SeededStreams(7, "image", points.numpy())
    optimized = optimize(reader, [Example.of_points(reader, CropLatents(model, frame), points, draws)], batch=4)

    stream = draws.optimizing(1, 1)
    embedding = stream.embedding(77, 64)[None].requires_grad_()
    adam = torch.optim.Adam([embedding], lr=settings.lr)
    for step in range(3):
        crop = stream.crop(reader.optimize_range(100.0, 90.0))
        latent = model.encode(crop.cut(frame, 128)[None])
        noise = stream.noise(latent.shape[1:], "uniform")[None]
        noisy = model.add_noise(latent, noise, 140)
        maps = model.attention(noisy, 140, embedding, reader.layers)
        enlarged = [
            torch.nn.functional.interpolate(one.mean(dim=1), (128, 128), mode="bilinear") for one in maps.values()
        ]
        mean = torch.stack(enlarged).mean(dim=0)[0, 0]
        x, y = ((100.0 - crop.left) * 128 / crop.width, (90.0 - crop.top) * 128 / crop.height)
        grid = torch.arange(128) + 0.5
        distance = (grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2
        sigma = 27.97853316316864 / 4
        loss = ((mean - torch.exp(-distance / (2 * sigma**2))) ** 2).mean()
        assert float(optimized.losses[1, 1, step]) == pytest.approx(loss.item(), rel=1e-4)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert_close_to_scale(optimized.embeddings[1, 1], embedding[0])


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_the_batch_size_changes_rounding_only(
    model: DiffusionModel, settings: PromptSettings, source: Image, batch: int
):
    reader = AttentionReader(model, settings)
    frame = squash(source.tensor(), 128)
    points = torch.tensor([[30.0, 40.0], [100.0, 90.0]], dtype=torch.float64)
    draws = SeededStreams(0, "image", points.numpy())
    example = Example.of_points(reader, CropLatents(model, frame), points, draws)
    whole, parts = (optimize(reader, [example], batch=size) for size in (4, batch))
    assert_close_to_scale(parts.embeddings, whole.embeddings)
    torch.testing.assert_close(parts.losses, whole.losses, rtol=1e-4, atol=0)


def test_progress_counts_up_to_its_total(model: DiffusionModel, settings: PromptSettings, source: Image):
    seen: list[tuple[int, int]] = []

    def progress(stage: str, done: int, total: int, **info: object) -> None:
        assert stage == "optimize"
        assert isinstance(info["loss"], float)
        seen.append((done, total))

    points = torch.tensor([[30.0, 40.0], [100.0, 90.0]], dtype=torch.float64)
    draws = SeededStreams(0, "image", points.numpy())
    latents = CropLatents(model, squash(source.tensor(), 128))
    reader = AttentionReader(model, settings)
    optimize(reader, [Example.of_points(reader, latents, points, draws)], batch=3, progress=progress)
    assert seen == [(3, 12), (6, 12), (9, 12), (10, 12), (11, 12), (12, 12)]


def test_the_network_is_left_without_gradients(matcher: PromptMatcher, source: Image):
    matcher.describe(source, [(10, 10)])
    assert all(weight.grad is None for weight in matcher.model.unet.parameters())
