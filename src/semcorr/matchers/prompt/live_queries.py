"""Live queries: every map takes a pass of the network over a crop, under the embedding itself (the paper's way)."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.attention_reader import AttentionReader, Row, naming, stack_noise
from semcorr.matchers.prompt.attention_targets import AttentionTargets
from semcorr.matchers.prompt.crops import CORNERS, CropLatents, anywhere
from semcorr.matchers.prompt.random_streams import RandomStream, RandomStreams
from semcorr.models.diffusion import PrefixCache


class LiveQueries:
    """An :class:`semcorr.matchers.prompt.attention_source.AttentionSource` that runs the network for each row."""

    def __init__(self, reader: AttentionReader, latents: CropLatents, streams: RandomStreams) -> None:
        self._reader, self._latents, self._streams = reader, latents, streams
        self._prefixes = PrefixCache()

    @cached_property
    def _shared(self) -> tuple[list[tuple[float, float]], list[Tensor]]:
        """The positions of the image's shared crops, and each one's noise: all positions are drawn first."""
        settings, stream = self._reader.settings, self._streams.shared("optimize")
        positions = [stream.position() for _ in range(settings.optimize_crops or 0)]
        if settings.optimize_noise == "fresh":
            return positions, []
        return positions, [stream.noise(self._reader.latent_shape, settings.noise) for _ in positions]

    def token_equations(
        self,
        targets: AttentionTargets,  # as AttentionSource has it
        points: Sequence[int],
        drawn: Float[Tensor, "rows tokens dim"],
    ) -> None:
        """None: the start is random (paper section 3.3)."""

    def optimization_maps(
        self,
        streams: Sequence[RandomStream],
        targets: AttentionTargets,
        points: Sequence[int],
        embeddings: Float[Tensor, "rows context dim"],
    ) -> tuple[list[Float[Tensor, "rows *tokens _h _w"]], list[Crop]]:
        """Draw a crop for each row, fresh or one of those that the image's rows share, and read its maps."""
        reader, settings = self._reader, self._reader.settings
        allowed = [targets.crop_range(point) for point in points]
        if settings.optimize_crops is None:
            picks: list[int] = []
            crops = [stream.crop(one) for stream, one in zip(streams, allowed, strict=True)]
        else:
            # A shared position is taken within what the point allows, which is the same crop for most points.
            positions, noises = self._shared
            picks = [stream.pick(len(positions)) for stream in streams]
            crops = [one.at(*positions[pick]) for pick, one in zip(picks, allowed, strict=True)]
        clean = self._latents(crops)
        if settings.optimize_noise == "shared":
            noise = stack_noise([noises[pick] for pick in picks], clean)
            with self._prefixes.use(list(zip(crops, picks, strict=True))):
                maps = reader.maps(clean, noise, reader.optimize_t, embeddings)
        else:
            noise = stack_noise([stream.noise(reader.latent_shape, settings.noise) for stream in streams], clean)
            maps = reader.maps(clean, noise, reader.optimize_t, embeddings)
        return maps, crops

    def location_maps(
        self,
        rows: Sequence[Row],
        embeddings: Float[Tensor, "rows context dim"],
        *,
        each_crop: bool,
        report: Callable[[int], None],
    ) -> tuple[Float[Tensor, "rows layers *tokens side side"], list[Tensor]]:
        """Read each row from crops of its own: the corners, then around its running peak."""
        reader, side, count = self._reader, self._reader.resolution, self._reader.settings.locate_crops
        streams = [self._streams.locating(row.point, row.round_) for row in rows]
        axes = (len(rows), len(reader.layers), *reader.token_axis)
        mean = heatmaps.CoverageMean((*axes, side, side), device=embeddings.device)
        history = []
        for number in range(count):
            with naming(f"crop {number + 1} of {count}", rows):
                self._add_crops(mean, number, streams, embeddings)
            if each_crop:
                history.append(mean.mean().cpu())
            report(number + 1)
        return mean.mean().cpu(), history

    def whole_image_maps(
        self, embeddings: Float[Tensor, "rows context dim"]
    ) -> Float[Tensor, "rows *tokens side side"]:
        """One pass over the whole image, with the same noise for all rows."""
        reader, count = self._reader, len(embeddings)
        clean = self._latents([anywhere(resolution=reader.resolution, fraction=1.0).crop(0, 0)])
        noise = torch.randn(reader.latent_shape, generator=torch.Generator().manual_seed(0))
        maps = reader.maps(
            clean.expand(count, -1, -1, -1), stack_noise([noise] * count, clean), reader.optimize_t, embeddings
        )
        return heatmaps.fuse_mean(maps, (reader.resolution, reader.resolution))

    @torch.no_grad()
    def _add_crops(
        self,
        mean: heatmaps.CoverageMean,
        number: int,
        streams: Sequence[RandomStream],
        embeddings: Float[Tensor, "rows context dim"],
    ) -> None:
        """Draw one crop for each row, read its maps, and add them."""
        reader = self._reader
        allowed = [reader.locate_range(*point) for point in self._points_to_keep(mean, number, len(streams))]
        crops: list[Crop] = [stream.crop(one) for stream, one in zip(streams, allowed, strict=True)]
        clean = self._latents(crops)
        noise = stack_noise([stream.noise(reader.latent_shape, reader.settings.noise) for stream in streams], clean)
        maps = reader.maps(clean, noise, reader.locate_t, embeddings)
        size = (crops[0].width, crops[0].height)
        mean.add(torch.stack([heatmaps.upsample(layer, size) for layer in maps], dim=1), crops)

    def _points_to_keep(self, mean: heatmaps.CoverageMean, number: int, rows: int) -> list[list[float]]:
        """The points that the next crops must contain: a corner, then each row's running peak."""
        if number < len(CORNERS):
            return [[fraction * self._reader.resolution for fraction in CORNERS[number]]] * rows
        return heatmaps.peak(mean.mean().mean(dim=1)).tolist()
