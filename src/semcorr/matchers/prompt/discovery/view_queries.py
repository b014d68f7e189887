"""The queries of views of images, computed when they are needed and kept while there is room for them."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import squash
from semcorr.imaging.image import Image
from semcorr.matchers.prompt.discovery.settings import DiscoverySettings
from semcorr.matchers.prompt.discovery.views import draw_view, view_of
from semcorr.matchers.seeds import seeded_generator
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.prompt_context import prompt_context

Queries = dict[str, Float[Tensor, "heads _height _width _dim"]]
"""By layer."""


class ViewQueries:
    """Frozen queries (:mod:`semcorr.matchers.prompt.frozen_queries`) of the views of images.

    A view's noise follows from its image and number alone, so that queries that had no room are the same again.

    Args:
        model: The frozen network.
        settings: Of the discovery.
        load: Returns an image by its number.
        hashes: The SHA-256 of each image's content.
        limit_bytes: Memory for queries.
    """

    def __init__(
        self,
        model: DiffusionModel,
        settings: DiscoverySettings,
        load: Callable[[int], Image],
        hashes: Sequence[str],
        *,
        limit_bytes: int = 2**30,
    ) -> None:
        self.model, self._settings, self._load, self._hashes = model, settings, load, hashes
        self.layers = model.select_layers(settings.layers)
        self.resolution = settings.resolution or model.resolution
        self._t = model.timestep(settings.step, settings.steps_of)
        self._neutral = prompt_context(
            model, "" if settings.neutral == "empty" else None, setting="neutral", instead="neutral=zeros"
        )
        self._known: dict[tuple[int, int], Queries] = {}
        self._left = limit_bytes

    def __len__(self) -> int:
        """How many images there are."""
        return len(self._hashes)

    @property
    def context_shape(self) -> tuple[int, int]:
        """(tokens, dim) of a context."""
        return self.model.context_tokens, self.model.context_dim

    @property
    def side(self) -> int:
        """Side of the maps: twice the finest layer's, so that a peak lies between its positions too."""
        latent = self.resolution // self.model.vae_factor
        return 2 * max(max(layer.map_size(latent, latent)) for layer in self.layers)

    def matrices(self, images: Sequence[int], view: int) -> Float[Tensor, "images 2 3"]:
        """Return how a view of each of some images shows it."""
        return torch.stack([draw_view(self._settings, self._hashes[number], view) for number in images])

    def maps(
        self, images: Sequence[int], view: int, context: Float[Tensor, "1 tokens dim"]
    ) -> Float[Tensor, "images tokens side side"]:
        """Return the attention of a view of some images to every token: the mean over heads and layers."""
        keys = self.model.keys(context, self.layers)
        queries = [self(number, view) for number in images]
        layers = []
        for layer in self.layers:
            own = torch.stack([one[layer.name] for one in queries])
            scores = torch.einsum("nhyxd,htd->nhtyx", own, keys[layer.name][0].float())
            layers.append(torch.softmax(scores, dim=2).mean(dim=1))
        return heatmaps.fuse_mean(layers, (self.side, self.side))

    def __call__(self, image: int, view: int) -> Queries:
        """Return the queries of a view of an image."""
        key = (image, view)
        if key not in self._known:
            computed = self._compute(image, view)
            size = sum(values.nbytes for values in computed.values())
            if size > self._left:
                return computed
            self._known[key], self._left = computed, self._left - size
        return self._known[key]

    @torch.no_grad()
    def _compute(self, image: int, view: int) -> Queries:
        frame = squash(self._load(image).tensor(), self.resolution)
        clean = self.model.encode(view_of(frame, draw_view(self._settings, self._hashes[image], view))[None])
        generator = seeded_generator(f"discover-noise|{self._settings.seed}|{self._hashes[image]}|{view}")
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        noisy = self.model.add_noise(clean, noise, self._t)
        queries = self.model.queries(noisy, self._t, self._neutral, self.layers)
        return {name: values[0].float() for name, values in queries.items()}
