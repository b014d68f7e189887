from collections import Counter

import numpy as np
import pytest
import torch

from closeness import assert_close_to_scale
from semcorr.errors import SettingsError
from semcorr.imaging.geometry import Crop, squash
from semcorr.imaging.image import Image
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, fast, override, paper
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.crops import CropLatents, containing, crop_range
from semcorr.matchers.prompt.frozen_queries import FrozenQueries, shared_crops
from semcorr.matchers.prompt.optimize import Example, optimize
from semcorr.matchers.prompt.random_streams import SeededStream, SeededStreams
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.attention import attention_to

POINTS = [(20.0, 30.0), (100.0, 60.0), (75.0, 50.0), (149.0, 99.0), (0.0, 0.0)]


@pytest.fixture(scope="module")
def frozen() -> PromptSettings:
    small = {"resolution": 128, "steps": 3, "rounds": 2, "context_length": 6, "optimize_crops": 4, "locate_crops": 5}
    return override(fast("sd1"), start="random", neutral="zeros", **small)


@pytest.fixture(scope="module")
def matcher(model: DiffusionModel, frozen: PromptSettings) -> PromptMatcher:
    return PromptMatcher(model, frozen)


def _rows_through_the_network(model: DiffusionModel, work) -> int:
    rows: list[int] = []
    hook = model.unet.conv_in.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    try:
        work()
    finally:
        hook.remove()
    return sum(rows)


def test_queries_and_keys_of_one_context_give_its_attention(model: DiffusionModel):
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(2, 4, 16, 16, generator=generator)
    context = torch.randn(2, 77, model.context_dim, generator=generator)
    layers = model.select_layers()
    whole = model.attention(noisy, 140, context, layers, tokens=(1, 5))
    queries, keys = model.queries(noisy, 140, context, layers), model.keys(context, layers)
    for layer in layers:
        for row in range(2):
            for number, token in enumerate((1, 5)):
                maps = attention_to(token, queries[layer.name][row], keys[layer.name])
                assert_close_to_scale(maps[row], whole[layer.name][row, :, number])


def test_a_row_is_optimized_as_written_out(model: DiffusionModel, frozen: PromptSettings, source: Image):
    """The first point's second embedding, one step at a time, by the whole attention's definition."""
    reader = AttentionReader(model, frozen)
    frame = squash(source.tensor(), 128)
    points = torch.tensor([[30.0, 40.0], [100.0, 90.0]], dtype=torch.float64)
    draws = SeededStreams(7, "image", points.numpy())
    optimized = optimize(reader, [Example.of_points(reader, CropLatents(model, frame), points, draws)], batch=4)

    shared = draws.shared("optimize")
    crops = [Crop(left=left, top=top, width=119, height=119) for left, top in [(0, 0), (0, 9), (9, 0), (9, 9)]]
    noisy = [
        model.add_noise(model.encode(crop.cut(frame, 128)[None]), shared.noise((4, 16, 16), "gaussian")[None], 140)
        for crop in crops
    ]
    neutral = torch.zeros(1, 77, model.context_dim)
    queries = [model.queries(one, 140, neutral, reader.layers) for one in noisy]
    stream = draws.optimizing(0, 1)
    embedding = stream.embedding(6, model.context_dim)[None].requires_grad_()
    adam = torch.optim.Adam([embedding], lr=frozen.lr)
    for step in range(3):
        pick = stream.pick(4)  # all four corner crops hold the point
        maps = []
        for layer in reader.layers:
            key = model.keys(embedding, [layer])[layer.name][0]
            query = queries[pick][layer.name][0]
            scores = torch.einsum("nhwd,ntd->nhwt", query, key)
            map_ = scores.exp()[..., 1] / scores.exp().sum(dim=-1)
            maps.append(torch.nn.functional.interpolate(map_.mean(dim=0)[None, None], (128, 128), mode="bilinear"))
        mean = torch.stack(maps).mean(dim=0)[0, 0]
        x, y = ((30.0 - crops[pick].left) * 128 / 119, (40.0 - crops[pick].top) * 128 / 119)
        grid = torch.arange(128) + 0.5
        distance = (grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2
        loss = ((mean - torch.exp(-distance / (2 * (27.97853316316864 / 4) ** 2))) ** 2).mean()
        assert float(optimized.losses[0, 1, step]) == pytest.approx(loss.item(), rel=1e-4)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert_close_to_scale(optimized.embeddings[0, 1], embedding[0])


def test_no_point_asks_for_a_pass_of_its_own(matcher: PromptMatcher, source: Image, target: Image):
    """One pass a crop: four to optimize, five to locate, for one point or five, each with two embeddings."""
    for points in (POINTS[:1], POINTS):
        queries = []
        rows = _rows_through_the_network(
            matcher.model, lambda points=points, queries=queries: queries.append(matcher.describe(source, points))
        )
        assert rows == 4
        query = queries[0]
        assert _rows_through_the_network(matcher.model, lambda query=query: matcher.locate(query, target)) == 5


def test_points_do_not_depend_on_each_other_or_on_memory(
    matcher: PromptMatcher, model: DiffusionModel, frozen: PromptSettings, source: Image, target: Image
):
    together = matcher.describe(source, POINTS)
    alone = PromptMatcher(model, frozen, memory_budget=1).describe(source, POINTS[3:4])
    assert_close_to_scale(together.tensors["embeddings"][3:4], alone.tensors["embeddings"])
    many = matcher.locate(together, target, trace=True)
    one = PromptMatcher(model, frozen, memory_budget=1).locate(together.take([3]), target, trace=True)
    assert_close_to_scale(many.heatmaps[3:4], one.heatmaps)
    assert many.diagnostics is not None
    np.testing.assert_array_equal(many.diagnostics.after_crops[:, -1], many.points)
    np.testing.assert_array_equal(many.diagnostics.after_rounds[:, -1], many.points)


def test_located_maps_are_the_mean_over_the_shared_crops(
    matcher: PromptMatcher, frozen: PromptSettings, source: Image, target: Image
):
    """Crop by crop and embedding by embedding, by diffusers' bilinear enlarging and a plain count."""
    query = matcher.describe(source, POINTS[:1])
    matches = matcher.locate(query, target)
    reader, model = AttentionReader(matcher.model, frozen), matcher.model
    latents = CropLatents(model, squash(target.tensor(), 128))
    streams = SeededStreams(frozen.seed, target.sha256, query.points)
    shared = FrozenQueries.of_image(reader, latents, "locate", streams)
    assert [(crop.left, crop.top) for crop in shared.crops[:4]] == [(0, 0), (0, 9), (9, 0), (9, 9)]
    total, count = torch.zeros(128, 128), torch.zeros(128, 128)
    for crop, queries in zip(shared.crops, shared.queries, strict=True):
        for round_ in range(2):
            context = torch.tensor(query.tensors["embeddings"][:, round_])
            for layer in reader.layers:
                key = model.keys(context, [layer])[layer.name][0]
                scores = torch.einsum("nhwd,ntd->nhwt", queries[layer.name], key).softmax(dim=-1)[..., 1].mean(dim=0)
                enlarged = torch.nn.functional.interpolate(scores[None, None], (119, 119), mode="bilinear")[0, 0]
                total[crop.top : crop.top + 119, crop.left : crop.left + 119] += enlarged / 2 / len(reader.layers)
        count[crop.top : crop.top + 119, crop.left : crop.left + 119] += 1
    assert_close_to_scale(matches.heatmaps[0], total / count)


def test_progress_counts_up_to_its_totals(matcher: PromptMatcher, source: Image, target: Image):
    """Four crops, then 3 steps of 2 embeddings of 2 points; five crops, then all of them read by each embedding."""
    calls: dict[str, list[tuple[int, int]]] = {}

    def progress(stage: str, done: int, total: int, **info: object) -> None:
        calls.setdefault(stage, []).append((done, total))

    query = matcher.describe(source, POINTS[:2], progress=progress)
    assert calls.pop("queries") == [(4, 4)]
    assert calls.pop("optimize")[-1] == (12, 12)
    matcher.locate(query, target, progress=progress)
    assert calls == {"queries": [(4, 5), (5, 5)], "locate": [(20, 20)]}


def test_every_point_of_the_frame_is_in_a_shared_crop():
    crops = shared_crops(SeededStream(torch.Generator().manual_seed(0)), 4, resolution=128, fraction=0.5)
    points = torch.tensor([(0.0, 0.0), (128.0, 128.0), (64.0, 64.0), (0.0, 128.0), (63.9, 64.1)], dtype=torch.float64)
    assert containing(crops, points).any(dim=1).all()
    assert containing(crops, points)[0].tolist() == [True, False, False, False]


def test_a_crop_of_the_whole_frame_has_one_corner():
    crops = shared_crops(SeededStream(torch.Generator().manual_seed(0)), 2, resolution=128, fraction=1.0)
    assert crops == [Crop(left=0, top=0, width=128, height=128)] * 2


def test_shared_positions_give_every_allowed_crop_the_same_chance():
    """Near the left edge 20 of 36 columns are allowed; 20 x 36 equally spaced positions give each allowed crop once."""
    allowed = crop_range(90.7, 256.0, resolution=512, fraction=0.9316549294381423, margin=0.15)
    columns, rows = allowed.left_max - allowed.left_min + 1, allowed.top_max - allowed.top_min + 1
    assert (columns, rows) == (20, 36)
    positions = [((i + 0.5) / columns, (j + 0.5) / rows) for i in range(columns) for j in range(rows)]
    counts = Counter((crop.left, crop.top) for crop in (allowed.at(*position) for position in positions))
    assert counts == {(left, top): 1 for left in range(20) for top in range(36)}


def test_shared_positions_are_uniform():
    """Of 4,000 in a 4 x 4 grid each cell expects 250 with a deviation of 15.3: five of them is the bound."""
    stream = SeededStream(torch.Generator().manual_seed(0))
    cells = Counter((int(4 * x), int(4 * y)) for x, y in (stream.position() for _ in range(4000)))
    assert len(cells) == 16
    assert max(abs(count - 250) for count in cells.values()) < 77


def test_shared_crops_of_a_live_optimization_are_encoded_once(model: DiffusionModel, source: Image):
    """Points at least 10 px from the edge allow all crops, so three positions make at most three crops in all."""
    settings = override(paper("sd1"), resolution=128, steps=4, rounds=2, locate_crops=5, optimize_crops=3)
    encoded: list[int] = []
    hook = model.vae.encoder.register_forward_hook(lambda module, inputs, output: encoded.append(len(output)))
    try:
        PromptMatcher(model, settings).describe(source, [(75.0, 50.0), (60.0, 40.0), (90.0, 60.0)])
    finally:
        hook.remove()
    assert 1 <= sum(encoded) <= 3


@pytest.mark.parametrize("crops", [None, 3])
def test_frozen_queries_need_crops_that_cover_the_image(frozen: PromptSettings, crops: int | None):
    with pytest.raises(SettingsError, match=r"optimize_crops.*at least 4"):
        override(frozen, optimize_crops=crops)


def test_a_model_without_a_text_encoder_says_what_to_do(model: DiffusionModel, frozen: PromptSettings, source: Image):
    with pytest.raises(SettingsError, match="neutral=zeros"):
        PromptMatcher(model, override(frozen, neutral="empty")).describe(source, POINTS)


def test_the_fast_preset_finds_points_of_the_toy_world_and_its_query_is_saved(tmp_path):
    """Its peak on the source itself is near the point, which that of a context that is not optimized would not be."""
    from semcorr.matchers.results import Query
    from semcorr.toy.render import render_scene

    scene = render_scene(3, 128, split="val", category="face")
    points = np.array([scene.keypoints[name] for name in sorted(scene.visible)])
    matcher = PromptMatcher.from_pretrained("toy", "fast")
    query = Query.load(matcher.describe(scene.image, points).save(tmp_path / "query.safetensors"))
    assert query.tensors["embeddings"].shape[1:] == (1, 32, 128)
    matches = matcher.locate(query, scene.image)
    errors = np.linalg.norm(matches.points - points, axis=1)
    assert np.median(errors) < 0.1 * 128
