import copy

import pytest
import torch

from closeness import assert_close_to_scale
from matchers.prompt.leading import crops_lead
from semcorr.imaging.geometry import Crop, squash
from semcorr.imaging.image import Image
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, override
from semcorr.matchers.prompt.aggregate import MapAggregator, uncalibrated_confidence
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.locate import fuse_layers, locate_rows
from semcorr.matchers.prompt.random_streams import SeededStream, SeededStreams
from semcorr.matchers.results import Query
from semcorr.models.diffusion import DiffusionModel


class ListedStream(SeededStream):
    """Seeded draws that write down the crops."""

    def __init__(self, seed: int, crops: list[Crop]) -> None:
        super().__init__(torch.Generator().manual_seed(seed))
        self._crops = crops

    def crop(self, allowed):
        self._crops.append(super().crop(allowed))
        return self._crops[-1]


class ListedDraws(SeededStreams):
    def __init__(self) -> None:
        super().__init__(0, "image", torch.zeros(2, 2).double().numpy())
        self.crops: dict[tuple[int, int], list[Crop]] = {}

    def locating(self, point: int, round_: int) -> ListedStream:
        crops = self.crops[point, round_] = []
        return ListedStream(10 * point + round_, crops)


@pytest.fixture(scope="module")
def embeddings() -> torch.Tensor:
    return torch.randn(2, 2, 77, 64, generator=torch.Generator().manual_seed(3))


def test_maps_are_the_mean_over_crops_and_crops_follow_the_running_peak(
    model: DiffusionModel, settings: PromptSettings, target: Image, embeddings: torch.Tensor
):
    """Everything again with one row, one crop and one layer at a time, in plain loops.

    Random weights have peaks that rounding may move: a crop is one of those that any pixel as high allows. Most often
    that is a single one.
    """
    settings = override(settings, locate_crops=7, locate_crop=0.7, crop_margin=0.15, locate_step=3)
    reader = AttentionReader(model, settings)
    frame = squash(target.tensor(), 128)
    draws = ListedDraws()
    rows, alone = list(locate_rows(reader, CropLatents(model, frame), embeddings, draws, batch=3)), []
    assert [(row.point, row.round_) for row, _ in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for row, maps in rows:
        crops = draws.crops[row.point, row.round_]
        assert [(crop.left, crop.top) for crop in crops[:4]] == [(0, 0), (0, 39), (39, 0), (39, 39)]
        stream = SeededStream(torch.Generator().manual_seed(10 * row.point + row.round_))
        total, count = torch.zeros(len(reader.layers), 128, 128), torch.zeros(128, 128)
        for number, crop in enumerate(crops):
            running = (total / count.clamp(min=1)).mean(dim=0)
            if number >= 4:
                down, across = (running >= (1 - 1e-5) * running.max()).nonzero().T
                peaks = set(zip((across + 0.5).tolist(), (down + 0.5).tolist(), strict=True))
                assert any(crop.left <= x < crop.left + 89 and crop.top <= y < crop.top + 89 for x, y in peaks)
            else:
                peaks = {[(0.0, 0.0), (0.0, 128.0), (128.0, 0.0), (128.0, 128.0)][number]}
            allowed = {reader.locate_range(x, y) for x, y in peaks}
            assert crop in {copy.deepcopy(stream).crop(one) for one in allowed}
            alone.append(len(allowed) == 1)
            stream.crop(allowed.pop())
            noise = stream.noise((4, 16, 16), "gaussian")[None]
            noisy = model.add_noise(model.encode(crop.cut(frame, 128)[None]), noise, 40)
            with torch.no_grad():
                attention = model.attention(noisy, 40, embeddings[row.point, row.round_][None], reader.layers)
            for index, layer in enumerate(reader.layers):
                mean = attention[layer.name].mean(dim=1)
                total[index, crop.top : crop.top + 89, crop.left : crop.left + 89] += torch.nn.functional.interpolate(
                    mean, (89, 89), mode="bilinear", align_corners=False
                )[0, 0]
            count[crop.top : crop.top + 89, crop.left : crop.left + 89] += 1
        assert_close_to_scale(maps, total / count)
    assert sum(alone) > 20  # of 28, of which 16 are corners


def test_the_faces_running_peaks_lead(toy_matcher: PromptMatcher, toy_query: Query, faces: tuple[Image, Image]):
    """Tests that compare whole maps of other batches rest on this: crops are the same, whatever is rounded."""
    assert crops_lead(toy_matcher, toy_query, faces[1]) > 0.1


def test_fusing_layers_follows_its_definition():
    maps = torch.rand(3, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fuse_layers(maps, "mean"), (maps[0] + maps[1] + maps[2]) / 3)
    powers = maps.exp()
    expected = sum(one / one.sum() for one in powers) / 3
    torch.testing.assert_close(fuse_layers(maps, "softmax"), expected)


def _predictions_of(rows: list[torch.Tensor], settings: PromptSettings, rounds: int):
    aggregator = MapAggregator(override(settings, rounds=rounds))
    for maps in rows:
        aggregator.add(maps)
    return aggregator.predictions()


def test_a_points_map_is_the_mean_over_its_rounds_and_layers(settings: PromptSettings):
    rows = list(torch.rand(6, 2, 8, 8, generator=torch.Generator().manual_seed(0)))
    predictions = _predictions_of(rows, settings, rounds=3)
    for point in range(2):
        mean = torch.stack(rows[3 * point : 3 * point + 3]).mean(dim=(0, 1))
        torch.testing.assert_close(predictions.heatmaps[point], mean)
        best = int(mean.argmax())
        assert predictions.points[point].tolist() == [best % 8 + 0.5, best // 8 + 0.5]
    alone = _predictions_of(rows[4:5], settings, rounds=1)
    torch.testing.assert_close(predictions.round_points[1, 1], alone.points[0])
    assert predictions.round_points.shape == (2, 3, 2)
    assert predictions.layer_points.shape == (2, 2, 2)


def test_layer_points_are_each_layers_own(settings: PromptSettings):
    maps = torch.zeros(2, 8, 8)
    maps[0, 1, 2] = 1.0
    maps[1, 6, 5] = 0.5
    predictions = _predictions_of([maps], settings, rounds=1)
    assert predictions.layer_points[0].tolist() == [[2.5, 1.5], [5.5, 6.5]]
    assert predictions.points[0].tolist() == [2.5, 1.5]


def test_confidence_falls_as_rounds_disagree_and_as_the_peak_sinks():
    together = torch.tensor([[50.0, 50.0], [50.0, 50.0], [50.0, 50.0]])
    apart = torch.tensor([[50.0, 50.0], [50.0, 55.0], [80.0, 50.0]])
    height = torch.tensor(0.64)
    assert float(uncalibrated_confidence(together, height, side=100)) == pytest.approx(0.8)
    assert float(uncalibrated_confidence(together, torch.tensor(0.16), side=100)) == pytest.approx(0.4)
    # Pairs at 5, 30 and sqrt(925) px with s = 5 px: exp(-1/2), exp(-18), exp(-18.5).
    expected = (0.64 * (0.6065306597 + 1.5e-8 + 0.9e-8) / 3) ** 0.5
    assert float(uncalibrated_confidence(apart, height, side=100)) == pytest.approx(expected, rel=1e-4)
    assert float(uncalibrated_confidence(together[:1], height, side=100)) == pytest.approx(0.8)
    assert float(uncalibrated_confidence(together, torch.tensor(1.7), side=100)) == 1.0
