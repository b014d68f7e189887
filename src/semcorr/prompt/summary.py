"""From every embedding's maps to one point, one heat map and one confidence for each query point."""

import dataclasses
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr import heatmaps
from semcorr.geometry import Size
from semcorr.prompt.locate import fuse_layers
from semcorr.prompt.settings import PromptSettings

AGREEMENT_SCALE = 0.05
"""Distance, as a fraction of the frame's side, at which two rounds agree by 0.61: one standard deviation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """Results in pixels of the model frame, on the CPU."""

    points: Float[Tensor, "points 2"]
    confidence: Float[Tensor, " points"]
    heatmaps: Float[Tensor, "points side side"]
    round_points: Float[Tensor, "points rounds 2"]
    layer_points: Float[Tensor, "points layers 2"]
    after_rounds: Float[Tensor, "points rounds 2"]


class Summary:
    """Takes the maps of (point, round) rows, point-major, and keeps only what is reported.

    Maps are averaged over a point's embeddings, then over layers (``fusion``); the peak is the point (paper section
    3.3). ``cells`` are the sides of the layers' own maps, before they were enlarged, which finer peaks are looked for
    in. ``on_layers`` is given each point's maps in between, before layers are fused, in the points' order.
    """

    def __init__(
        self,
        settings: PromptSettings,
        *,
        cells: Sequence[int] = (),
        on_layers: Callable[[Float[Tensor, "layers side side"]], None] | None = None,
    ) -> None:
        self._settings, self._peaks, self._on_layers = settings, _Peaks(settings, cells), on_layers
        self._sum: Tensor | None = None
        self._maps: list[Tensor] = []  # one for each round, its layers fused
        self._after: list[Tensor] = []
        self._points: list[tuple[Tensor, ...]] = []

    def add(self, maps: Float[Tensor, "layers side side"]) -> None:
        """Take the next row."""
        self._sum = maps.clone() if self._sum is None else self._sum + maps
        self._maps.append(fuse_layers(maps, self._settings.fusion))
        self._after.append(self._peaks.fused(fuse_layers(self._sum / len(self._maps), self._settings.fusion)))
        if len(self._maps) == self._settings.rounds:
            self._finish(self._sum / self._settings.rounds)
            self._sum, self._maps, self._after = None, [], []

    def _finish(self, mean: Float[Tensor, "layers side side"]) -> None:
        if self._on_layers is not None:
            self._on_layers(mean)
        fused, rounds = fuse_layers(mean, self._settings.fusion), torch.stack(self._maps)
        height = heatmaps.peak_value(mean.mean(dim=0))
        # The cells whatever the setting, so that a confidence does not depend on it.
        confidence = first_confidence(heatmaps.peak(rounds), height, side=fused.shape[-1])
        found = self._peaks.fused(fused), confidence, fused, self._peaks.fused(rounds), self._peaks.layers(mean)
        self._points.append((*found, torch.stack(self._after)))

    def found(self) -> Found:
        """The results of all points whose rounds are complete."""
        points, confidence, fused, rounds, layers, after = map(torch.stack, zip(*self._points, strict=True))
        return Found(
            points=points,
            confidence=confidence,
            heatmaps=fused,
            round_points=rounds,
            layer_points=layers,
            after_rounds=after,
        )


class CropTrace:
    """Where a point would have been found had locating ended after 1, 2, ... crops: an ablation from one run.

    Takes each row's maps after every crop, point-major as :class:`Summary` does, and keeps peaks only.
    """

    def __init__(self, settings: PromptSettings, *, cells: Sequence[int] = ()) -> None:
        self._settings, self._peaks = settings, _Peaks(settings, cells)
        self._sum: Tensor | None = None
        self._seen = 0
        self._points: list[Tensor] = []

    def add(self, maps: Float[Tensor, "crops layers side side"]) -> None:
        """Take the next row."""
        self._sum = maps.clone() if self._sum is None else self._sum + maps
        self._seen += 1
        if self._seen == self._settings.rounds:
            means = self._sum / self._settings.rounds
            self._points.append(
                torch.stack([self._peaks.fused(fuse_layers(mean, self._settings.fusion)) for mean in means])
            )
            self._sum, self._seen = None, 0

    def points(self) -> Float[Tensor, "points crops 2"]:
        """The peaks, in pixels of the model frame."""
        return torch.stack(self._points)


class _Peaks:
    """Where maps of the frame have their peaks, by the setting ``peak``; ``cells`` as for :class:`Summary`."""

    def __init__(self, settings: PromptSettings, cells: Sequence[int]) -> None:
        self._kind, self._cells = settings.peak, cells

    def fused(self, maps: Float[Tensor, "*batch side side"]) -> Float[Tensor, "*batch 2"]:
        """Of maps that all layers together made: in cells of the finest."""
        return heatmaps.find_peak(maps, self._kind, grid=_square(max(self._cells, default=None)))

    def layers(self, maps: Float[Tensor, "layers side side"]) -> Float[Tensor, "layers 2"]:
        """Of each layer's own map, in its own cells."""
        grids = [_square(side) for side in self._cells] or [None] * len(maps)
        found = [heatmaps.find_peak(one, self._kind, grid=grid) for one, grid in zip(maps, grids, strict=True)]
        return torch.stack(found)


def _square(side: int | None) -> Size | None:
    return None if side is None else (side, side)


def first_confidence(
    round_points: Float[Tensor, "rounds 2"], peak_height: Float[Tensor, ""], *, side: int
) -> Float[Tensor, ""]:
    """A first confidence in [0, 1]: the geometric mean of agreement and peak height. Not calibrated.

    Agreement is the mean over pairs of rounds of ``exp(-d^2 / 2 s^2)``, where d is the distance between where the two
    rounds find the point and s is 5 % of the frame's side; a single round agrees with itself. Peak height is the
    largest value of the mean attention map, between 0 and 1: what learning drives towards 1 at the query point.
    """
    together = heatmaps.agreement(round_points[None], AGREEMENT_SCALE * side)[0]
    return (together * peak_height.clamp(0, 1)).sqrt()
