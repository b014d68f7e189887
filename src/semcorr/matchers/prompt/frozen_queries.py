"""Frozen queries: the image's side of the attention once a crop, then learning and locating without the network.

The paper works the queries out at every step, under the embedding that is being learned. Worked out once under a
neutral context, they are the same for all points, rounds and steps; what is left of a step is one product with the
context's keys.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from semcorr.errors import ModelError, SettingsError
from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.attention_reader import AttentionReader, Row, stack_noise
from semcorr.matchers.prompt.crops import CORNERS, CropLatents, anywhere
from semcorr.matchers.prompt.random_streams import RandomStream, RandomStreams, Stage
from semcorr.models.memory import in_batches
from semcorr.progress import Progress

_PASSES = 4
"""Crops that go through the network together, at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenCrops:
    """Crops of one image with the queries of all their positions, one mapping by layer for each crop."""

    crops: tuple[Crop, ...]
    queries: tuple[Mapping[str, Float[Tensor, "heads _height _width _dim"]], ...]

    def containing(self, points: Float[Tensor, "points 2"]) -> Bool[Tensor, "points crops"]:
        """Which crops a point of the model frame is in."""
        low = torch.tensor([(crop.left, crop.top) for crop in self.crops], dtype=points.dtype)
        high = low + torch.tensor([(crop.width, crop.height) for crop in self.crops], dtype=points.dtype)
        return ((points[:, None] >= low) & (points[:, None] <= high)).all(dim=-1)


def frozen_crops(
    reader: AttentionReader,
    latents: CropLatents,
    stage: Stage,
    draws: RandomStreams,
    *,
    progress: Progress | None = None,
) -> FrozenCrops:
    """Draw an image's shared crops and noise, and work their queries out under the neutral context.

    The corners come first, so that every point of the image is in a crop; the others lie anywhere.

    Raises:
        SettingsError: the model has no text encoder for the empty prompt.
        OutOfMemoryError: not even one crop fits into memory.
    """
    settings, stream = reader.settings, draws.shared(stage)
    learning = stage == "learn"
    count = settings.optimize_crops if learning else settings.locate_crops
    fraction = settings.optimize_crop if learning else settings.locate_crop
    t = reader.optimize_t if learning else reader.locate_t
    crops = shared_crops(stream, count or 0, resolution=reader.resolution, fraction=fraction)
    clean = latents(crops)
    noise = stack_noise([stream.noise(clean.shape[1:], settings.noise) for _ in crops], clean)
    noisy = reader.model.add_noise(clean, noise, t)
    context = _neutral_context(reader, settings.neutral)

    def work(numbers: Sequence[int]) -> list[dict[str, Tensor]]:
        chosen = list(numbers)
        found = reader.model.queries(noisy[chosen], t, context.expand(len(chosen), -1, -1), reader.layers)
        return [{name: queries[i].float() for name, queries in found.items()} for i in range(len(chosen))]

    queries: list[dict[str, Tensor]] = []
    for _, found in in_batches(range(len(crops)), _PASSES, work, stage="queries"):
        queries += found
        if progress is not None:
            progress("queries", len(queries), len(crops))
    return FrozenCrops(crops=tuple(crops), queries=tuple(queries))


def shared_crops(stream: RandomStream, count: int, *, resolution: int, fraction: float) -> list[Crop]:
    """The corners (one crop where a crop is the whole frame), then crops anywhere, each with equal chance."""
    allowed = anywhere(resolution=resolution, fraction=fraction)
    corners = [allowed.crop(int(x) * allowed.left_max, int(y) * allowed.top_max) for x, y in CORNERS]
    crops = list(dict.fromkeys(corners))[:count]
    return crops + [allowed.at(*stream.place()) for _ in range(count - len(crops))]


class FrozenMaps:
    """What a step of learning reads: for every row, one of the shared crops that its point is in."""

    def __init__(self, reader: AttentionReader, shared: FrozenCrops) -> None:
        self._reader, self._shared = reader, shared

    def __call__(
        self,
        streams: Sequence[RandomStream],
        points: Sequence[Float[Tensor, "2"]],
        embeddings: Float[Tensor, "rows tokens dim"],
    ) -> tuple[list[Float[Tensor, "rows _h _w"]], Float[Tensor, "rows 2"]]:
        """Return every row's maps, one tensor a layer, and where its point lies in the crop that was read."""
        inside = self._shared.containing(torch.stack(list(points)))
        picks = [
            int(possible.nonzero()[stream.pick(int(possible.sum()))])
            for stream, possible in zip(streams, inside, strict=True)
        ]
        keys = self._reader.model.keys(embeddings, self._reader.layers)
        # Rows that read the same crop share one product.
        groups = [[row for row, pick in enumerate(picks) if pick == number] for number in sorted(set(picks))]
        parts = [
            self._reader.frozen_maps(
                self._shared.queries[picks[rows[0]]], {name: values[rows] for name, values in keys.items()}
            )
            for rows in groups
        ]
        back = torch.tensor([row for rows in groups for row in rows]).argsort().to(embeddings.device)
        maps = [torch.cat(layer)[back] for layer in zip(*parts, strict=True)]
        side = self._reader.resolution
        centres = [self._shared.crops[pick].to_crop(point, side) for pick, point in zip(picks, points, strict=True)]
        return maps, torch.stack(centres)


class FrozenRows:
    """What locating reads: all rows from the same crops, without a pass of the network."""

    def __init__(self, reader: AttentionReader, shared: FrozenCrops) -> None:
        self._reader, self._shared = reader, shared
        self._paste = heatmaps.CropPaste(shared.crops, reader.resolution)

    @torch.no_grad()
    def __call__(
        self,
        rows: Sequence[Row],  # noqa: ARG002  # nothing is drawn for a row
        embeddings: Float[Tensor, "rows tokens dim"],
        keep: bool,
        report: Callable[[int], None],
    ) -> tuple[Float[Tensor, "rows layers side side"], list[Tensor]]:
        """Return a batch's maps, and if ``keep`` the same after each crop."""
        keys = self._reader.model.keys(embeddings, self._reader.layers)
        read = [self._reader.frozen_maps(queries, keys) for queries in self._shared.queries]
        layers = [torch.stack(layer) for layer in zip(*read, strict=True)]  # (crops, rows, h, w) each
        crops = len(self._shared.crops)
        after = [
            torch.stack([self._paste.mean(one[:count]) for one in layers], dim=1).cpu()
            for count in (range(1, crops + 1) if keep else [crops])
        ]
        report(crops)
        return after[-1], after if keep else []


def frozen_row_bytes(reader: AttentionReader, *, learning: bool) -> int:
    """Bytes of a row's scores over all positions, heads and tokens, with what is made of them on the way."""
    side = reader.resolution // reader.model.vae_factor
    positions = 0
    for layer in reader.layers:
        height, width = layer.map_size(side, side)
        positions += layer.heads * height * width
    return positions * reader.context_length * 4 * (4 if learning else 2)


def _neutral_context(reader: AttentionReader, kind: Literal["empty", "zeros"]) -> Float[Tensor, "1 tokens dim"]:
    model = reader.model
    if kind == "zeros":
        return torch.zeros(1, model.context_tokens, model.context_dim)
    try:
        return model.encode_text([""])
    except ModelError as error:
        raise SettingsError(
            f"Setting 'neutral': expected a model with a text encoder for the empty prompt ({error}). "
            "Without one, use neutral=zeros (and with attention-dift dift_prompt=null), or the method prompt with the "
            "preset paper."
        ) from error
