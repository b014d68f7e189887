"""The paper's method as a matcher."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import QueryError, SettingsError, suggest
from semcorr.imaging.geometry import scale_points, squash
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.base import Capabilities, NetworkMatcher, Tensors
from semcorr.matchers.prompt.aggregate import CropTrace, MapAggregator, Predictions
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.attention_targets import LabelTargets
from semcorr.matchers.prompt.batch_size import batch_size
from semcorr.matchers.prompt.crops import CropLatents, anywhere
from semcorr.matchers.prompt.labels import LabelReader, self_attention, spread, spreading
from semcorr.matchers.prompt.latent_cache import LatentCache
from semcorr.matchers.prompt.locate import locate_rows
from semcorr.matchers.prompt.optimize import Example, optimize
from semcorr.matchers.prompt.presets import PRESETS
from semcorr.matchers.prompt.random_streams import SeededStreams
from semcorr.matchers.prompt.settings import PromptSettings
from semcorr.matchers.regions.examples import Example as LabelledImage
from semcorr.matchers.regions.examples import one_hot
from semcorr.matchers.regions.results import RegionQuery
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.matchers.results import Diagnostics, Matches, Query
from semcorr.models.diffusion import DiffusionModel
from semcorr.progress import Progress
from semcorr.settings import override

LOCATE_SETTINGS = (
    "noise",
    "locate_step",
    "steps_of",
    "locate_crop",
    "locate_crops",
    "crop_margin",
    "fusion",
    "peak",
    "seed",
)
"""Settings that may differ from those a query was optimized with: they concern locating alone, or draws."""

_ALL_LABELS = np.zeros((1, 2))
"""Labels have no points: what is optimized for all of them counts as one, whose draws depend on the image alone."""


class PromptMatcher(NetworkMatcher):
    """Semantic correspondence by optimized prompt embeddings.

    Hedlin et al., "Unsupervised Semantic Correspondence Using Stable Diffusion". The slow half, :meth:`describe`,
    optimizes several embeddings for each point of one image; the fast half, :meth:`locate`, reads their attention in
    any other image. There is no hidden state: the same matcher may be used for any number of images in any order, with
    the same results.

    ``describe`` calls ``progress`` as ``("optimize", steps done, steps in all, loss=mean)``, ``locate`` as ``("locate",
    crops done, crops in all)``, all embeddings' counted; both before that as ``("queries", crops done, crops in all)``
    where queries are frozen.

    Args:
        model: The frozen network.
        settings: Complete settings; see :func:`semcorr.matchers.prompt.preset`.
        memory_budget: Bytes that a batch may take; ``None`` is a share of what is free. It decides how many embeddings
            run together and changes results by rounding only.
        gradient_checkpointing: Optimize in less memory and more time: activations are computed again for the gradient.
            It changes nothing where queries are frozen, and results by rounding only.
        latents_cache: A folder in which the latents of crops are kept for other calls and runs; results are the same
            with and without. See :class:`semcorr.matchers.prompt.latent_cache.LatentCache`.

    Raises:
        LayerError: A layer that was asked for is not in the model.
        SettingsError: A setting that does not fit the model, or a folder that cannot be made.
    """

    method = "prompt"
    settings_type = PromptSettings
    presets = PRESETS
    network_type = DiffusionModel
    capabilities = Capabilities(
        optimizes=True, examples=True, layer_heatmaps=True, attention_heatmaps=True, regions=True
    )

    def __init__(
        self,
        model: DiffusionModel,
        settings: PromptSettings,
        *,
        memory_budget: int | None = None,
        gradient_checkpointing: bool = False,
        latents_cache: str | os.PathLike[str] | None = None,
    ) -> None:
        if memory_budget is not None and memory_budget < 1:
            raise SettingsError(f"memory_budget: expected a positive number of bytes or None, got {memory_budget}.")
        super().__init__(model, settings)
        self.memory_budget = memory_budget
        self.gradient_checkpointing = gradient_checkpointing
        self.latents_cache = None if latents_cache is None else LatentCache(latents_cache)
        AttentionReader(model, settings)  # a layer, head or token that is not there is an error now, not after an hour

    @classmethod
    def _check_arguments(cls, **arguments: Any) -> None:
        if arguments.get("latents_cache") is not None:
            LatentCache(arguments["latents_cache"])

    def _describe(
        self, image: Image, points: Float[np.ndarray, "points 2"], progress: Progress | None
    ) -> tuple[Tensors, Tensors]:
        return self._describe_examples([image], points[None], progress)

    def _describe_examples(
        self, images: Sequence[Image], points: Float[np.ndarray, "examples points 2"], progress: Progress | None
    ) -> tuple[Tensors, Tensors]:
        reader = AttentionReader(self.model, self.settings, gradient_checkpointing=self.gradient_checkpointing)
        side = (reader.resolution, reader.resolution)
        examples = [
            Example.of_points(
                reader,
                self._latents(image, reader.resolution),
                torch.from_numpy(scale_points(own, image.size, side)),
                SeededStreams(self.settings.seed, image.sha256, own),
            )
            # By content, so that the order in which images are given changes nothing.
            for image, own in sorted(zip(images, points, strict=True), key=lambda pair: pair[0].sha256)
        ]
        optimized = optimize(
            reader,
            examples,
            batch=batch_size(reader, points.shape[1], self.memory_budget, optimizing=True),
            progress=progress,
        )
        return {"embeddings": optimized.embeddings.numpy(), "losses": optimized.losses.numpy()}, {}

    def locate(
        self,
        query: Query,
        image: "ImageSource",
        *,
        trace: bool = False,
        progress: Progress | None = None,
        **overrides: object,
    ) -> Matches:
        """Find a query's points in another image; see :meth:`semcorr.Matcher.locate`.

        Args:
            query: What :meth:`describe` returned, perhaps in another process.
            image: The target.
            trace: Keep where the points would have been found after fewer crops (``Diagnostics.after_crops``).
            progress: Called as the class says; raise from it to stop.
            **overrides: Settings that concern locating alone (``LOCATE_SETTINGS``), to replace the query's.

        Raises:
            QueryError: The query belongs to another model or method.
            ImageError: The image cannot be used.
            SettingsError: A setting that is unknown or that a query fixes.
            OutOfMemoryError: Not even one embedding fits into memory.
        """
        settings = self.settings_of(query)
        for name in overrides:
            if name not in LOCATE_SETTINGS:
                raise SettingsError(
                    f"Setting {name!r} cannot be changed when locating.{suggest(name, LOCATE_SETTINGS)} "
                    f"Those that can are: {', '.join(LOCATE_SETTINGS)}; the others belong to the query."
                )
        settings = override(settings, **overrides)
        return self._locate(query, load_image(image), settings, trace=trace, progress=progress)

    def _locate(
        self,
        query: Query,
        target: Image,
        settings: PromptSettings,
        *,
        trace: bool = False,
        progress: Progress | None = None,
    ) -> Matches:
        reader = AttentionReader(self.model, settings)
        aggregator = MapAggregator(settings, grid=reader.grid)
        crops = CropTrace(settings, grid=reader.grid) if trace else None
        self._read(query, reader, target, aggregator, crops=crops, progress=progress)
        return self._matches(query, aggregator.predictions(), crops, reader, target)

    def layer_heatmaps(
        self, query: Query, image: "ImageSource", *, progress: Progress | None = None
    ) -> Float[np.ndarray, "points layers height width"]:
        """Return each layer's own heat map of each of a query's points in another image: float32, the whole target.

        The mean over crops, rounds and heads, before layers are fused; layers are in the order of
        ``Matches.layer_names``, and each map's peak is that of ``Diagnostics.layer_points``. It takes as long as
        :meth:`locate`, whose args and errors it has.
        """
        return self._layer_heatmaps(query, load_image(image), self.settings_of(query), progress)

    def _layer_heatmaps(
        self, query: Query, target: Image, settings: PromptSettings, progress: Progress | None
    ) -> Float[np.ndarray, "points layers height width"]:
        reader = AttentionReader(self.model, settings)
        side = reader.resolution
        # Filled in place: stacking a list of its rows would hold everything twice.
        heatmaps = np.empty((len(query.points), len(reader.layers), side, side), dtype=np.float32)
        rows = iter(heatmaps)

        def keep(maps: Float[Tensor, "layers side side"]) -> None:
            next(rows)[:] = maps.numpy()

        aggregator = MapAggregator(reader.settings, grid=reader.grid, on_layers=keep)
        self._read(query, reader, target, aggregator, progress=progress)
        return heatmaps

    def _read(
        self,
        query: Query,
        reader: AttentionReader,
        target: Image,
        aggregator: MapAggregator,
        *,
        crops: CropTrace | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Read every row of the query from the target, and hand its maps to the aggregator."""
        embeddings = self._embeddings(query, reader.settings)
        located = locate_rows(
            reader,
            self._latents(target, reader.resolution),
            embeddings,
            SeededStreams(reader.settings.seed, target.sha256, query.points),
            batch=batch_size(reader, len(embeddings), self.memory_budget, optimizing=False),
            on_crops=crops.add if crops else None,
            progress=progress,
        )
        for _, maps in located:
            aggregator.add(maps)

    def _describe_regions(
        self,
        examples: Sequence[LabelledImage],
        names: Mapping[int, str],
        how: RegionSettings,
        progress: Progress | None,
    ) -> Tensors:
        """Optimize a context whose tokens are the labels, over all examples."""
        reader = LabelReader(
            self.model, self.settings, how, len(names) + 1, gradient_checkpointing=self.gradient_checkpointing
        )
        optimized = optimize(
            reader,
            [
                Example(
                    latents=latents,
                    targets=LabelTargets(
                        reader,
                        torch.from_numpy(one_hot(label_map, tuple(names))),
                        spreading(reader, latents, streams) if how.spread_loss > 0 else None,
                        how.spread_loss,
                    ),
                    streams=streams,
                )
                for image, label_map in sorted(examples, key=lambda pair: pair[0].sha256)
                for latents in [self._latents(image, reader.resolution)]
                for streams in [SeededStreams(self.settings.seed, image.sha256, _ALL_LABELS)]
            ],
            batch=batch_size(reader, 1, self.memory_budget, optimizing=True),
            progress=progress,
        )
        return {"embeddings": optimized.embeddings.numpy(), "losses": optimized.losses.numpy()}

    def _region_scores(
        self,
        query: RegionQuery,
        target: Image,
        settings: PromptSettings,
        how: RegionSettings,
        progress: Progress | None,
    ) -> Float[Tensor, "labels side side"]:
        """Read the labels' scores as a point's attention is located; the mean over rounds, layers and crops."""
        reader = LabelReader(self.model, settings, how, len(query.names) + 1)
        latents = self._latents(target, reader.resolution)
        streams = SeededStreams(settings.seed, target.sha256, _ALL_LABELS)
        located = locate_rows(
            reader,
            latents,
            self._embeddings(query, reader.settings),
            streams,
            batch=batch_size(reader, 1, self.memory_budget, optimizing=False),
            progress=progress,
        )
        shares = torch.stack([maps.mean(dim=0) for _, maps in located]).mean(dim=0).softmax(dim=0)
        if how.self_attention == 0:
            return shares
        whole = anywhere(resolution=reader.resolution, fraction=1.0).crop(0, 0)
        attention = self_attention(reader, latents, streams, "locate", whole).to(shares)
        return spread(shares, attention, reader.grid, how.self_attention)

    def _matches(
        self, query: Query, predictions: Predictions, crops: CropTrace | None, reader: AttentionReader, target: Image
    ) -> Matches:
        side = (reader.resolution, reader.resolution)

        def in_target(points: Tensor) -> Float[np.ndarray, "..."]:
            return scale_points(points.double().numpy(), side, target.size)

        return Matches(
            points=in_target(predictions.points),
            confidence=predictions.confidence.double().numpy(),
            heatmaps=predictions.heatmaps.numpy(),
            image_size=target.size,
            image_sha256=target.sha256,
            query_points=query.points,
            names=query.names,
            diagnostics=Diagnostics(
                layer_names=tuple(layer.name for layer in reader.layers),
                layer_points=in_target(predictions.layer_points),
                round_points=in_target(predictions.round_points),
                after_rounds=in_target(predictions.after_rounds),
                after_crops=in_target(crops.points()) if crops else None,
            ),
        )

    def _embeddings(
        self, query: Query | RegionQuery, settings: PromptSettings
    ) -> Float[Tensor, "points rounds tokens dim"]:
        embeddings = query.tensors.get("embeddings")
        tokens = settings.context_length or self.model.context_tokens
        points = len(query.points) if isinstance(query, Query) else len(_ALL_LABELS)
        shape = (points, settings.rounds, tokens, self.model.context_dim)
        if embeddings is None or embeddings.shape != shape:
            got = "none" if embeddings is None else str(embeddings.shape)
            raise QueryError(f"The query's embeddings: expected shape {shape}, got {got}. Describe the points again.")
        return torch.from_numpy(np.array(embeddings, dtype=np.float32))

    def _latents(self, image: Image, resolution: int) -> CropLatents:
        cache = self.latents_cache
        cached = None if cache is None else cache.of(self.model, image.sha256, resolution)
        return CropLatents(self.model, squash(image.tensor(), resolution), cache=cached)
