"""Regions by one context: a token for each label, compared by cross-entropy, read in other images."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from closeness import assert_close_to_scale
from semcorr.errors import ImageError, OutOfMemoryError, QueryError
from semcorr.imaging.geometry import Crop, squash
from semcorr.imaging.image import Image
from semcorr.imaging.label_map import LabelMap
from semcorr.matchers.load import load_matcher
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, fast, override
from semcorr.matchers.prompt.attention_targets import LabelTargets
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.labels import LabelReader, self_attention, spread
from semcorr.matchers.regions.results import RegionQuery, Regions
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.models.diffusion import DiffusionModel
from semcorr.toy.parts import part_map
from semcorr.toy.render import render_scene

HOW = RegionSettings(steps=2)


@pytest.fixture
def reader(model: DiffusionModel, settings: PromptSettings) -> LabelReader:
    return LabelReader(model, settings, HOW, 3)


@pytest.fixture(scope="module")
def frozen(model: DiffusionModel) -> PromptMatcher:
    """The tiny network with frozen queries and two rounds."""
    small = {"resolution": 128, "optimize_crops": 4, "locate_crops": 4, "rounds": 2}
    return PromptMatcher(model, override(fast("sd1"), neutral="zeros", **small))


@pytest.fixture(scope="module")
def halves() -> LabelMap:
    """Background, a left half and a corner of it, over the source's 150 x 100 pixels."""
    labels = np.zeros((100, 150), dtype=np.uint8)
    labels[:, :75], labels[:40, :30] = 2, 7
    return LabelMap(labels=labels, names={2: "left", 7: "corner"})


def masks() -> torch.Tensor:
    """Three labels with 1/2, 1/4 and 1/4 of the area, each a multiple of 32 rows of 128."""
    result = torch.zeros(3, 128, 128)
    result[0, :64] = result[1, 64:96] = result[2, 96:] = 1
    return result


def test_the_loss_is_the_weighted_cross_entropy(reader: LabelReader) -> None:
    """Scores that are the same everywhere: a label counts by the square root of its area."""
    scores = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]])
    maps = [scores[:, :, None, None].expand(2, 3, side, side) for side in (4, 4, 4, 8)]
    whole, lower = (Crop(left=0, top=top, width=128, height=128 - top) for top in (0, 64))
    losses = LabelTargets(reader, masks()).losses(maps, [0, 0], [whole, lower])
    counts = np.sqrt([1 / 2, 1 / 4, 1 / 4])
    logs = scores[0].numpy() - np.log(np.exp(scores[0].numpy()).sum())
    expected = [-(counts * logs).sum() / counts.sum(), np.log(3)]
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-5)
    upper = masks()
    upper[:, 64:] = 0  # ignored: the first label is alone
    losses = LabelTargets(reader, upper).losses(maps, [0, 0], [whole, Crop(left=0, top=80, width=128, height=48)])
    np.testing.assert_allclose(losses.numpy(), [-logs[0], 0], rtol=1e-5)
    (shares,) = LabelTargets(reader, masks()).cells([0], lower, (2, 4)).numpy()
    np.testing.assert_allclose(shares[:, :, 0], [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]], atol=0.07)


def test_the_loss_of_spread_shares_is_their_cross_entropy(reader: LabelReader) -> None:
    """Cells that attend evenly: each has the mean of the crop's shares. Gradients reach the scores."""
    whole = Crop(left=0, top=0, width=128, height=128)
    columns, rows = reader.grid
    scores = torch.randn(1, 3, rows, columns, generator=torch.Generator().manual_seed(0)).requires_grad_()
    even = torch.full((rows * columns, rows * columns), 1 / (rows * columns))
    targets = LabelTargets(reader, masks(), lambda shares, _: spread(shares, even, reader.grid, 1.0), 0.5)
    first = LabelTargets(reader, masks()).losses([scores], [0], [whole])
    second = targets.losses([scores], [0], [whole]) - first
    enlarged = torch.nn.functional.interpolate(scores, scale_factor=2, mode="bilinear")
    mean = enlarged.softmax(dim=1).mean(dim=(0, 2, 3)).detach().numpy()
    counts = np.sqrt([1 / 2, 1 / 4, 1 / 4])
    np.testing.assert_allclose(
        second.detach().numpy(), [-0.5 * (counts * np.log(mean)).sum() / counts.sum()], rtol=1e-4
    )
    (gradient,) = torch.autograd.grad(second.sum(), scores)
    assert gradient.abs().max() > 0


@torch.no_grad()
def test_live_and_frozen_queries_give_the_same_shares(
    reader: LabelReader, model: DiffusionModel, source: Image
) -> None:
    """Queries under the embedding itself are the live ones; the mean over heads is of scores, not of shares."""
    latents = CropLatents(model, squash(source.tensor(), 128))([Crop(left=0, top=0, width=128, height=128)])
    context, noise = torch.randn(1, 3, 64, generator=torch.Generator().manual_seed(0)), torch.zeros_like(latents)
    live = reader.maps(latents, noise, 140, context)
    queries = model.queries(model.add_noise(latents, noise, 140), 140, context, reader.layers)
    keys = model.keys(context, reader.layers)
    scores = reader.frozen_maps({name: values[0] for name, values in queries.items()}, keys)
    for layer, one, other in zip(reader.layers, live, scores, strict=True):
        by_head = torch.einsum("nhwd,ntd->nthw", queries[layer.name][0], keys[layer.name][0])
        expected = by_head.mean(dim=0).softmax(dim=0)
        assert (expected - by_head.softmax(dim=1).mean(dim=0)).abs().max() > 1e-4
        for maps in (one, other):
            assert_close_to_scale(maps[0].softmax(dim=0), expected)


def test_a_cell_takes_over_what_it_attends_to() -> None:
    shares = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))
    grid, cells = (6, 4), shares.reshape(3, 4, 2, 6, 2).mean(dim=(2, 4))
    assert torch.equal(spread(shares, torch.eye(24), grid, 0.0), shares)
    even = spread(shares, torch.full((24, 24), 1 / 24), grid, 1.0)
    torch.testing.assert_close(even, cells.mean(dim=(1, 2))[:, None, None].expand_as(even))
    # Each cell attends to itself and, half as much, to the first: squared, a quarter as much.
    attention = torch.eye(24) * 2 / 3
    attention[:, 0] += 1 / 3
    expected = cells * 4 / 5 + cells[:, :1, :1] / 5
    half = spread(shares, attention, grid, 0.5).reshape(3, 4, 2, 6, 2).mean(dim=(2, 4))
    torch.testing.assert_close(half[:, 1:-1, 1:-1], _enlarged_mean(cells, expected)[:, 1:-1, 1:-1])


def _enlarged_mean(cells: torch.Tensor, spread_cells: torch.Tensor) -> torch.Tensor:
    enlarged = torch.nn.functional.interpolate(spread_cells[None], size=(8, 12), mode="bilinear")[0]
    return (cells + enlarged.reshape(3, 4, 2, 6, 2).mean(dim=(2, 4))) / 2


@pytest.mark.parametrize("queries", ["live", "frozen"])
def test_order_and_batches_change_rounding_only(
    frozen: PromptMatcher,
    model: DiffusionModel,
    settings: PromptSettings,
    source: Image,
    target: Image,
    halves: LabelMap,
    queries: str,
) -> None:
    live = PromptMatcher(model, override(settings, neutral="zeros"))
    matcher = live if queries == "live" else frozen
    other = LabelMap(labels=np.full((120, 90), 2, dtype=np.uint8), names={2: "left"})
    query = matcher.describe_regions([source, target], [halves, other], settings=HOW)
    assert query.tensors["embeddings"].shape == (1, 2, 3, 64)
    single = PromptMatcher(model, matcher.settings, memory_budget=1)
    turned = single.describe_regions([target, source], [other, halves], settings=HOW)
    assert_close_to_scale(query.tensors["embeddings"], turned.tensors["embeddings"], rel=1e-3)
    regions = matcher.locate_regions(query, target)
    assert regions.labels.shape == (120, 90)
    again = single.locate_regions(query, target)
    assert_close_to_scale(regions.pixel_confidence, again.pixel_confidence, rel=1e-3)


def test_the_loss_of_spread_shares_reads_each_shared_crop_once(
    frozen: PromptMatcher, source: Image, halves: LabelMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = []

    def counted(*args: Any) -> torch.Tensor:
        crops.append(args[-1])
        return self_attention(*args)

    monkeypatch.setattr("semcorr.matchers.prompt.labels.self_attention", counted)
    without = frozen.describe_regions(source, halves, settings=HOW).tensors
    assert not crops
    spread = frozen.describe_regions(source, halves, settings=dataclasses.replace(HOW, spread_loss=1)).tensors
    assert 1 <= len(crops) == len(set(crops)) <= 4
    # The starts are the same: the difference is the second loss.
    assert (spread["losses"][..., 0] > without["losses"][..., 0] * 1.1).all()
    assert not np.array_equal(spread["embeddings"], without["embeddings"])


def test_without_memory_batches_are_halved(
    frozen: PromptMatcher, source: Image, halves: LabelMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = frozen.describe_regions(source, halves, settings=HOW)
    read, most = LabelReader.frozen_maps, 1

    def with_little_memory(self: LabelReader, queries: Mapping[str, Any], keys: Mapping[str, Any]) -> list[Any]:
        if len(next(iter(keys.values()))) > most:
            raise torch.OutOfMemoryError("out of memory")
        return read(self, queries, keys)

    monkeypatch.setattr(LabelReader, "frozen_maps", with_little_memory)
    query = frozen.describe_regions(source, halves, settings=HOW)
    assert_close_to_scale(query.tensors["embeddings"], expected.tensors["embeddings"], rel=1e-3)
    most = 0
    with pytest.raises(OutOfMemoryError, match="in stage 'optimize' with a single row"):
        frozen.describe_regions(source, halves, settings=HOW)


def test_what_does_not_fit_is_refused(frozen: PromptMatcher, source: Image, halves: LabelMap) -> None:
    with pytest.raises(ImageError, match="is empty"):
        frozen.describe_regions(source, np.zeros((100, 150), dtype=np.uint8))
    query = frozen.describe_regions(source, halves, settings=HOW)
    with pytest.raises(QueryError, match=r"expected shape \(1, 2, 4, 64\), got \(1, 2, 3, 64\)"):
        frozen.locate_regions(dataclasses.replace(query, names={**query.names, 9: "more"}), source)


@pytest.fixture(scope="module")
def toy() -> PromptMatcher:
    matcher = load_matcher("prompt", "toy", preset="fast", device="cpu").unwrapped
    assert isinstance(matcher, PromptMatcher)
    return matcher


def iou(regions: Regions, truth: LabelMap, name: str) -> float:
    own, predicted = truth.labels == {n: label for label, n in truth.names.items()}[name], regions.mask(name)
    return float((own & predicted).sum() / (own | predicted).sum())


def test_a_shifted_copy_and_another_face_have_the_same_regions(toy: PromptMatcher, tmp_path: Path) -> None:
    first, second = (render_scene(seed, 64, split="val", category="face") for seed in (3, 5))
    query = toy.describe_regions(first.image, part_map(first))
    regions = toy.locate_regions(query, first.image)
    for name in ("face", "hair", "mouth"):
        assert iou(regions, part_map(first), name) > 0.6
    moved, labels = (np.roll(array, -4, axis=1) for array in (first.image, part_map(first).labels))
    shifted = toy.locate_regions(query, np.ascontiguousarray(moved))
    for name in ("face", "hair"):
        assert iou(shifted, LabelMap(labels=labels, names=part_map(first).names), name) > 0.6
    other = toy.locate_regions(RegionQuery.load(query.save(tmp_path / "query.safetensors")), second.image)
    assert np.array_equal(other.labels, toy.locate_regions(query, second.image).labels)
    assert min(iou(other, part_map(second), name) for name in ("face", "hair")) > 0.4
