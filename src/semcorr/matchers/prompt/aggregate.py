"""Aggregate the maps of all embeddings to one point, one heat map and one confidence for each query point."""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Size
from semcorr.matchers.prompt.locate import fuse_layers
from semcorr.matchers.prompt.settings import PromptSettings

AGREEMENT_SCALE = 0.05
"""Distance, as a fraction of the frame's side, at which two rounds agree by 0.61: one standard deviation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """What is predicted for each query point, in pixels of the model frame, on the CPU."""

    points: Float[Tensor, "points 2"]
    confidence: Float[Tensor, " points"]
    heatmaps: Float[Tensor, "points side side"]
    round_points: Float[Tensor, "points rounds 2"]
    layer_points: Float[Tensor, "points layers 2"]
    after_rounds: Float[Tensor, "points rounds 2"]


class MapAggregator:
    """Takes the maps of (point, round) rows, point-major, and keeps only what is reported.

    Maps are averaged over a point's embeddings, then over layers (``fusion``); the peak is the point (paper section
    3.3). The points of single rounds and layers are the middles of their largest pixels, whatever the setting ``peak``.

    Args:
        settings: Its ``fusion``, ``peak`` and ``rounds`` are used.
        grid: (columns, rows) of cells that the maps were enlarged from, in which peaks are refined.
        on_layers: Called with each point's maps before layers are fused, in the points' order.
    """

    def __init__(
        self,
        settings: PromptSettings,
        *,
        grid: Size | None = None,
        on_layers: Callable[[Float[Tensor, "layers side side"]], None] | None = None,
    ) -> None:
        self._settings, self._grid, self._on_layers = settings, grid, on_layers
        self._sum: Tensor | None = None
        self._rounds: list[Tensor] = []
        self._after: list[Tensor] = []
        self._points: list[tuple[Tensor, ...]] = []

    def add(self, maps: Float[Tensor, "layers side side"]) -> None:
        """Take the next row."""
        self._sum = maps.clone() if self._sum is None else self._sum + maps
        self._rounds.append(heatmaps.peak(fuse_layers(maps, self._settings.fusion)))
        so_far = fuse_layers(self._sum / len(self._rounds), self._settings.fusion)
        self._after.append(heatmaps.find_peak(so_far, self._settings.peak, grid=self._grid))
        if len(self._rounds) == self._settings.rounds:
            self._finish(self._sum / self._settings.rounds)
            self._sum, self._rounds, self._after = None, [], []

    def _finish(self, mean: Float[Tensor, "layers side side"]) -> None:
        if self._on_layers is not None:
            self._on_layers(mean)
        fused = fuse_layers(mean, self._settings.fusion)
        round_points = torch.stack(self._rounds)
        height = heatmaps.peak_value(mean.mean(dim=0))
        confidence = uncalibrated_confidence(round_points, height, side=fused.shape[-1])
        after = torch.stack(self._after)
        self._points.append((after[-1], confidence, fused, round_points, heatmaps.peak(mean), after))

    def predictions(self) -> Predictions:
        """Return the predictions for all points whose rounds are complete."""
        points, confidence, fused, rounds, layers, after = map(torch.stack, zip(*self._points, strict=True))
        return Predictions(
            points=points,
            confidence=confidence,
            heatmaps=fused,
            round_points=rounds,
            layer_points=layers,
            after_rounds=after,
        )


class CropTrace:
    """What would be predicted after 1, 2, ... crops: an ablation from one run.

    Takes each row's maps after every crop, point-major as :class:`MapAggregator` does, and keeps peaks only.
    """

    def __init__(self, settings: PromptSettings, *, grid: Size | None = None) -> None:
        self._settings, self._grid = settings, grid
        self._sum: Tensor | None = None
        self._rows = 0
        self._points: list[Tensor] = []

    def add(self, maps: Float[Tensor, "crops layers side side"]) -> None:
        """Take the next row."""
        self._sum = maps.clone() if self._sum is None else self._sum + maps
        self._rows += 1
        if self._rows == self._settings.rounds:
            means = self._sum / self._settings.rounds
            fused = torch.stack([fuse_layers(mean, self._settings.fusion) for mean in means])
            self._points.append(heatmaps.find_peak(fused, self._settings.peak, grid=self._grid))
            self._sum, self._rows = None, 0

    def points(self) -> Float[Tensor, "points crops 2"]:
        """Return the peaks, in pixels of the model frame."""
        return torch.stack(self._points)


def uncalibrated_confidence(
    round_points: Float[Tensor, "rounds 2"], peak_height: Float[Tensor, ""], *, side: int
) -> Float[Tensor, ""]:
    """Return a confidence in [0, 1], not calibrated: the geometric mean of agreement and peak height.

    Agreement is the mean over pairs of rounds of ``exp(-d^2 / 2 s^2)``, where d is the distance between the points of
    the two rounds and s is 5 % of the frame's side; a single round agrees with itself. Peak height is the largest value
    of the mean attention map, between 0 and 1: the optimization drives it towards 1 at the query point.
    """
    together = heatmaps.agreement(round_points[None], AGREEMENT_SCALE * side)[0]
    return (together * peak_height.clamp(0, 1)).sqrt()
