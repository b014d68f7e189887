"""Frozen queries: the image's side of the attention is computed once a crop, and then no pass of the network is needed.

The paper computes the queries at every step, under the embedding that is optimized. Computed once under a neutral
context, they are the same for all points, rounds and steps; what is left of a step is one product with the context's
keys.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.attention_reader import AttentionReader, Row, stack_noise
from semcorr.matchers.prompt.attention_targets import AttentionTargets
from semcorr.matchers.prompt.crops import CORNERS, CropLatents, anywhere
from semcorr.matchers.prompt.least_squares import TokenEquations, token_equations
from semcorr.matchers.prompt.random_streams import RandomStream, RandomStreams, Stage
from semcorr.models.diffusion.prompt_context import prompt_context
from semcorr.models.memory import in_batches
from semcorr.progress import Progress

_PASSES = 4
"""Crops that go through the network together, at most."""


class FrozenQueries:
    """An :class:`semcorr.matchers.prompt.attention_source.AttentionSource` over crops that all rows share.

    Args:
        reader: The model and settings.
        crops: Crops of one image.
        queries: The queries of all positions of each crop, by layer.
    """

    def __init__(
        self,
        reader: AttentionReader,
        crops: Sequence[Crop],
        queries: Sequence[Mapping[str, Float[Tensor, "heads _height _width _dim"]]],
    ) -> None:
        self.crops, self.queries, self._reader = tuple(crops), tuple(queries), reader

    @classmethod
    def of_image(
        cls,
        reader: AttentionReader,
        latents: CropLatents,
        stage: Stage,
        streams: RandomStreams,
        *,
        progress: Progress | None = None,
    ) -> "FrozenQueries":
        """Draw an image's shared crops and noise, and compute their queries under the neutral context.

        Raises:
            SettingsError: The model has no text encoder for the empty prompt.
            OutOfMemoryError: Not even one crop fits into memory.
        """
        settings, stream = reader.settings, streams.shared(stage)
        if stage == "optimize":
            count, fraction, t = settings.optimize_crops or 0, settings.optimize_crop, reader.optimize_t
        else:
            count, fraction, t = settings.locate_crops, settings.locate_crop, reader.locate_t
        crops = shared_crops(stream, count, resolution=reader.resolution, fraction=fraction)
        clean = latents(crops)
        noise = stack_noise([stream.noise(reader.latent_shape, settings.noise) for _ in crops], clean)
        noisy = reader.model.add_noise(clean, noise, t)
        context = neutral_context(reader)

        def compute(numbers: Sequence[int]) -> list[dict[str, Tensor]]:
            chosen = list(numbers)
            layers = reader.model.queries(noisy[chosen], t, context.expand(len(chosen), -1, -1), reader.layers)
            return [{name: values[i].float() for name, values in layers.items()} for i in range(len(chosen))]

        queries: list[dict[str, Tensor]] = []
        for _, computed in in_batches(range(len(crops)), _PASSES, compute, stage="queries"):
            queries += computed
            if progress is not None:
                progress("queries", len(queries), len(crops))
        return cls(reader, crops, queries)

    @cached_property
    def _paste(self) -> heatmaps.CropPaste:
        return heatmaps.CropPaste(self.crops, self._reader.resolution)

    def token_equations(
        self, targets: AttentionTargets, points: Sequence[int], drawn: Float[Tensor, "rows tokens dim"]
    ) -> TokenEquations | None:
        """Return the least-squares equations of the token that is read, unless the start is random."""
        if self._reader.settings.start == "random":
            return None
        return token_equations(self._reader, self.crops, self.queries, targets, points, drawn)

    def optimization_maps(
        self,
        streams: Sequence[RandomStream],
        targets: AttentionTargets,
        points: Sequence[int],
        embeddings: Float[Tensor, "rows context dim"],
    ) -> tuple[list[Float[Tensor, "rows *tokens _h _w"]], list[Crop]]:
        """Read each row from one of the crops that its target allows, such as those that contain its point."""
        picks = [
            int(possible.nonzero()[stream.pick(int(possible.sum()))])
            for stream, possible in zip(streams, targets.usable(points, self.crops), strict=True)
        ]
        keys = self._reader.model.keys(embeddings, self._reader.layers)
        # Rows that read the same crop share one product.
        groups = [[row for row, pick in enumerate(picks) if pick == number] for number in sorted(set(picks))]
        by_group = [
            self._reader.frozen_maps(
                self.queries[picks[rows[0]]], {name: values[rows] for name, values in keys.items()}
            )
            for rows in groups
        ]
        back = torch.tensor([row for rows in groups for row in rows]).argsort().to(embeddings.device)
        maps = [torch.cat(layer)[back] for layer in zip(*by_group, strict=True)]
        return maps, [self.crops[pick] for pick in picks]

    @torch.no_grad()
    def location_maps(
        self,
        rows: Sequence[Row],  # noqa: ARG002  # nothing is drawn for a row
        embeddings: Float[Tensor, "rows context dim"],
        *,
        each_crop: bool,
        report: Callable[[int], None],
    ) -> tuple[Float[Tensor, "rows layers *tokens side side"], list[Tensor]]:
        """Read all rows from the same crops."""
        keys = self._reader.model.keys(embeddings, self._reader.layers)
        maps = [self._reader.frozen_maps(queries, keys) for queries in self.queries]
        layers = [torch.stack(layer) for layer in zip(*maps, strict=True)]  # (crops, rows, tokens, h, w) each
        count = len(self.crops)
        after = [
            torch.stack([self._paste.mean(layer[:number]) for layer in layers], dim=1).cpu()
            for number in (range(1, count + 1) if each_crop else [count])
        ]
        report(count)
        return after[-1], after if each_crop else []

    def whole_image_maps(
        self, embeddings: Float[Tensor, "rows context dim"]
    ) -> Float[Tensor, "rows *tokens side side"]:
        """The mean over the shared crops."""
        maps, _ = self.location_maps([], embeddings, each_crop=False, report=lambda _: None)
        return maps.mean(dim=1)


def neutral_context(reader: AttentionReader) -> Float[Tensor, "1 tokens dim"]:
    """Return the context that stands for no prompt in particular (the setting ``neutral``).

    Raises:
        SettingsError: The model has no text encoder for the empty prompt.
    """
    return prompt_context(
        reader.model,
        "" if reader.settings.neutral == "empty" else None,
        setting="neutral",
        instead="neutral=zeros (and with attention-dift dift_prompt=null), or the method prompt with the preset paper",
    )


def shared_crops(stream: RandomStream, count: int, *, resolution: int, fraction: float) -> list[Crop]:
    """Return ``count`` crops of the frame: first its corners, so that every point is in a crop, then any, at random.

    Where a crop is the whole frame, there is one corner.
    """
    allowed = anywhere(resolution=resolution, fraction=fraction)
    corners = [allowed.crop(int(x) * allowed.left_max, int(y) * allowed.top_max) for x, y in CORNERS]
    crops = list(dict.fromkeys(corners))[:count]
    return crops + [allowed.at(*stream.position()) for _ in range(count - len(crops))]
