"""Embeddings that are optimized over several images, and targets that are masks."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from closeness import assert_close_to_scale
from semcorr.errors import PointError, SettingsError
from semcorr.imaging.geometry import Crop, squash
from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, fast, override
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.attention_targets import GaussianTargets
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.least_squares import TokenEquations, solved
from semcorr.matchers.prompt.optimize import Example, optimize
from semcorr.matchers.prompt.random_streams import SeededStreams
from semcorr.matchers.results import Query
from semcorr.models.diffusion import DiffusionModel

NAN = (float("nan"), float("nan"))
FIRST = [(30.0, 40.0), (100.0, 60.0), NAN]
SECOND = [(20.0, 50.0), NAN, (60.0, 100.0)]


def test_a_list_of_one_image_is_that_image(matcher: PromptMatcher, source: Image):
    several, one = matcher.describe([source], [FIRST[:2]]), matcher.describe(source, FIRST[:2])
    np.testing.assert_array_equal(several.tensors["embeddings"], one.tensors["embeddings"])
    assert several.further_examples == one.further_examples == ()


def test_the_loss_of_several_examples_is_the_mean_over_them(
    model: DiffusionModel, settings: PromptSettings, source: Image, target: Image
):
    """One row, written out: torch's own Adam, a crop of each image in every step."""
    settings = override(settings, rounds=1)
    reader = AttentionReader(model, settings)
    frames = [squash(image.tensor(), 128) for image in (source, target)]
    points = [torch.tensor([[30.0, 40.0], [90.0, 90.0]]).double(), torch.tensor([[100.0, 80.0], [NAN[0]] * 2]).double()]
    draws = [SeededStreams(7, name, own.numpy()) for name, own in zip(("a", "b"), points, strict=True)]
    examples = [
        Example.of_points(reader, CropLatents(model, frame), own, draw)
        for frame, own, draw in zip(frames, points, draws, strict=True)
    ]
    optimized = optimize(reader, examples, batch=2)

    streams = [draw.optimizing(0, 0) for draw in draws]
    embedding = streams[0].embedding(77, 64)[None].requires_grad_()
    adam = torch.optim.Adam([embedding], lr=settings.lr)
    grid = torch.arange(128) + 0.5
    for step in range(settings.steps):
        losses = []
        for stream, frame, own in zip(streams, frames, points, strict=True):
            px, py = own[0].tolist()
            crop = stream.crop(reader.optimize_range(px, py))
            latent = model.encode(crop.cut(frame, 128)[None])
            noisy = model.add_noise(latent, stream.noise(latent.shape[1:], "gaussian")[None], 140)
            maps = model.attention(noisy, 140, embedding, reader.layers, tokens=(1,))
            enlarged = [
                torch.nn.functional.interpolate(one.mean(dim=1), (128, 128), mode="bilinear") for one in maps.values()
            ]
            x, y = ((px - crop.left) * 128 / crop.width, (py - crop.top) * 128 / crop.height)
            distance = (grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2
            gaussian = torch.exp(-distance / (2 * (27.97853316316864 / 4) ** 2))
            losses.append(((torch.stack(enlarged).mean(dim=0)[0, 0] - gaussian) ** 2).mean())
        loss = (losses[0] + losses[1]) / 2
        assert float(optimized.losses[0, 0, step]) == pytest.approx(loss.item(), rel=1e-4)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert_close_to_scale(optimized.embeddings[0, 0], embedding[0])

    # A point that one image alone shows is optimized over that image alone.
    alone = optimize(reader, [Example.of_points(reader, CropLatents(model, frames[0]), points[0], draws[0])], batch=2)
    assert_close_to_scale(optimized.embeddings[1], alone.embeddings[1])


@pytest.mark.parametrize("queries", ["live", "frozen"])
def test_order_and_batches_change_rounding_only(
    model: DiffusionModel, settings: PromptSettings, source: Image, target: Image, queries: str
):
    if queries == "frozen":
        small = {"resolution": 128, "context_length": 4, "optimize_crops": 4, "locate_crops": 4, "rounds": 2}
        settings = override(fast("sd1"), neutral="zeros", steps=2, **small)
    else:
        settings = override(settings, steps=1, locate_crops=4)
    matcher = PromptMatcher(model, settings)
    images, points = [source, target], [FIRST, SECOND]
    query = matcher.describe(images, points)
    single_rows = PromptMatcher(model, settings, memory_budget=1).describe(images[::-1], points[::-1])
    assert_close_to_scale(query.tensors["embeddings"], single_rows.tensors["embeddings"], rel=1e-3)
    assert len(matcher.locate(query, target).points) == 3


def test_the_closed_form_adds_the_equations_of_the_images_that_show_a_point():
    generator = torch.Generator().manual_seed(0)

    def equations(rows: int) -> tuple[TokenEquations, np.ndarray, np.ndarray]:
        left = torch.randn(40, 3, generator=generator, dtype=torch.float64)
        right = torch.randn(40, rows, generator=generator, dtype=torch.float64)
        return TokenEquations(matrix=left.T @ left, right=left.T @ right), left.numpy(), right.numpy()

    (first, left, right), (second, other_left, other_right) = equations(3), equations(2)
    starts = torch.zeros(3, 2, 3)
    solution = solved(starts, 1, [([0, 1, 2], first), ([1, 2], second)])
    for row in range(3):
        parts = [(left, right[:, row])] + ([(other_left, other_right[:, row - 1])] if row else [])
        stacked = np.concatenate([one for one, _ in parts])
        ridge = 1e-3 * (stacked**2).sum(axis=0).mean()
        rows = np.concatenate([stacked, np.sqrt(ridge) * np.eye(3)])
        expected, *_ = np.linalg.lstsq(rows, np.concatenate([*(one for _, one in parts), np.zeros(3)]))
        np.testing.assert_allclose(solution[row, 1], expected, rtol=1e-4, atol=1e-6)


class _Greedy(GaussianTargets):
    """Needs more memory than any machine has for more than one row."""

    batches: list[int]

    def maps(self, points: Sequence[int], crops: Sequence[Crop]) -> torch.Tensor:
        self.batches.append(len(points))
        torch.empty(2**46 if len(points) > 1 else 1, dtype=torch.uint8)
        return super().maps(points, crops)


def test_where_memory_runs_out_at_a_later_image_its_rows_run_again_from_their_start(
    model: DiffusionModel, settings: PromptSettings, source: Image, target: Image
):
    reader = AttentionReader(model, override(settings, rounds=1, steps=1, resolution=64))
    points = torch.tensor([[30.0, 40.0], [50.0, 20.0]]).double()
    first, second = (
        Example.of_points(
            reader, CropLatents(model, squash(image.tensor(), 64)), points, SeededStreams(0, name, points.numpy())
        )
        for name, image in (("a", source), ("b", target))
    )
    greedy = _Greedy(reader, points)
    greedy.batches = []
    backed_off = optimize(reader, [first, dataclasses.replace(second, targets=greedy)], batch=2)
    assert greedy.batches == [2, 1, 1]
    alone = optimize(reader, [first, second], batch=1)
    assert torch.equal(backed_off.embeddings, alone.embeddings)
    assert torch.equal(backed_off.losses, alone.losses)


def test_a_query_keeps_all_its_images(matcher: PromptMatcher, source: Image, target: Image, tmp_path: Path):
    query = matcher.describe([source, target], [FIRST, SECOND], names=["a", "b", "c"])
    again = Query.load(query.save(tmp_path / "several.safetensors"))
    for one in (query, again):
        assert [example.image_sha256 for example in one.examples] == [source.sha256, target.sha256]
        assert [example.image_size for example in one.examples] == [source.size, target.size]
        np.testing.assert_array_equal(one.examples[0].points, FIRST)
        np.testing.assert_array_equal(one.take([2]).examples[1].points, SECOND[2:])
    assert "2 images" in repr(query)
    matches = matcher.locate(again, source)
    assert [point["source"] for point in matches.to_dict()["points"]] == [[30.0, 40.0], [100.0, 60.0], None]
    assert len(matches.to_keypoint_matches()) == 2
    np.testing.assert_array_equal(type(matches).load(matches.save(tmp_path / "m.safetensors")).query_points, FIRST)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([FIRST], "for each of the 2 images, got 1"),
        ([FIRST, SECOND[:2]], "the same points in every example, got 3, 2 points"),
        ([FIRST, [NAN, None, None]], r"at least one point in example 2, blobs 1, got none"),
        ([[*FIRST[:2], None], [*SECOND[:2], None]], "Point 3 is in none of the 2 examples"),
        ([FIRST, [(20.0, 50.0), (500.0, 5.0), None]], r"Point 2 is \(500, 5\), outside example 2, blobs 1"),
        ([FIRST, [(float("nan"), 5.0), *SECOND[1:]]], "both coordinates must be finite"),
        ([(30.0, 40.0), (20.0, 50.0)], r"For one point write \[\(x, y\)\]"),
        ([FIRST, "abc"], "expected a list of"),
    ],
)
def test_what_does_not_fit_is_refused(
    matcher: PromptMatcher, source: Image, target: Image, points: object, message: str
):
    with pytest.raises(PointError, match=message):
        matcher.describe([source, target], points)  # type: ignore[arg-type]  # some of it is wrong on purpose
    with pytest.raises(PointError, match="empty list"):
        matcher.describe([], [])


def test_methods_that_take_one_image_say_so(source: Image, target: Image):
    dift = load_matcher("dift", "toy", samples=1, device="cpu", calibration="none")
    assert not dift.capabilities.examples
    with pytest.raises(SettingsError, match="'dift' describes points of one image, got 2 images"):
        dift.describe([source, target], [FIRST[:1], SECOND[:1]])


def test_features_of_several_examples_are_the_mean_of_unit_vectors(source: Image, target: Image):
    options = {"device": "cpu", "calibration": "none", "dift_samples": 1, "steps": 1, "resolution": 64}
    matcher: Matcher = load_matcher("attention-dift", "toy", **options)
    query = matcher.describe([source, target], [FIRST, SECOND])
    (one, two), other = matcher.describe(source, FIRST[:2]).tensors["vectors"], None
    other, third = matcher.describe(target, [SECOND[0], SECOND[2]]).tensors["vectors"]
    units = [vector / np.linalg.norm(vector) for vector in (one, two, other, third)]
    expected = np.stack([(units[0] + units[2]) / 2, units[1], units[3]])
    np.testing.assert_allclose(query.tensors["vectors"], expected, rtol=1e-4, atol=1e-6)
