"""What the training reads: the collection's features, its pseudo-correspondences and where the object is."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from semcorr.errors import ImageError
from semcorr.imaging.geometry import squash
from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.collection.pseudo_matches import PseudoMatches, foreground, pseudo_matches, shares
from semcorr.matchers.collection.settings import CollectionSettings
from semcorr.models.memory import in_batches
from semcorr.progress import Progress

LEAST_IMAGES = 3
LEAST_MATCHES = 12
"""Consistent pseudo-correspondences that an image needs with the one that it has most with."""


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """Principal components of a collection's features.

    Attributes:
        mean: Of unit vectors.
        components: Rows of length 1 over the standard deviation of all that is left.
    """

    mean: Float[Tensor, " channels"]
    components: Float[Tensor, "dim channels"]

    @classmethod
    def of(cls, features: Float[Tensor, "images channels grid grid"], dim: int) -> "Reduction":
        """The components of the largest variance over all cells; at most as many as there are channels."""
        cells = features.movedim(1, -1).flatten(0, -2).double()
        mean = cells.mean(dim=0)
        # A few thousand cells and some hundred channels: the smaller matrix.
        _, vectors = torch.linalg.eigh((cells - mean).T @ (cells - mean) / len(cells))
        components = vectors.T.flip(0)[:dim]
        scale = ((cells - mean) @ components.T).std().clamp(min=1e-12)
        return cls(mean=mean.float(), components=(components / scale).float())

    def __call__(self, features: Float[Tensor, "images channels grid grid"]) -> Float[Tensor, "images _dim grid grid"]:
        """Return the components of every cell."""
        centred = features - self.mean.to(features)[:, None, None]
        return torch.einsum("nchw,dc->ndhw", centred, self.components.to(features))


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """All that the training depends on besides its settings.

    Attributes:
        features: Of every image, squashed to a square and reduced.
        reduction: How they were reduced.
        matches: The pseudo-correspondences of every pair of images.
        share: How often each cell has one, averaged over its neighbourhood.
        inside: The cells of the object.
    """

    features: Float[Tensor, "images dim grid grid"]
    reduction: Reduction
    matches: list[PseudoMatches]
    share: Float[Tensor, "images grid grid"]
    inside: Bool[Tensor, "images grid grid"]


def image_features(
    matcher: Matcher, image: Image, grid: int, progress: Progress | None = None
) -> Float[Tensor, "channels {grid} {grid}"]:
    """Return a method's features of an image squashed to a square of cells, each of length 1."""
    (features,) = matcher.feature_maps([image], progress=progress)
    unit = F.normalize(features.float(), dim=0)
    return F.normalize(F.interpolate(unit[None], size=(grid, grid), mode="bilinear", antialias=True)[0], dim=0)


def prepare(
    matcher: Matcher,
    images: Sequence[Callable[[], Image]],
    names: Sequence[str],
    settings: CollectionSettings,
    *,
    masks: Sequence[Image] | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Compute the features and compare all pairs of images.

    Args:
        matcher: A method on features.
        images: What reads each image; one is in memory at a time.
        names: Of the images, for messages.
        settings: Of the training.
        masks: Of each image, white where the object is, in place of the share of mutual neighbours.
        progress: Called as ("features", images done, in all) and ("compare", pairs done, in all).

    Raises:
        ImageError: Images share too little.
        OutOfMemoryError: One image does not fit into memory.
    """
    every: list[Tensor] = []
    for batch, features in in_batches(
        list(images), 1, lambda some: image_features(matcher, some[0](), settings.grid), stage="features"
    ):
        every.append(features)
        if progress is not None:
            progress("features", len(every), len(images), image=names[len(every) - len(batch)])
    stacked = torch.stack(every)
    matches = _compare(stacked, settings.consistent, progress)
    _check(matches, names)
    share = shares(matches, len(images), settings.grid)
    inside = foreground(share, settings.foreground) if masks is None else _read_masks(masks, settings.grid)
    reduction = Reduction.of(stacked, settings.dim)
    return Prepared(
        features=reduction(stacked).contiguous(), reduction=reduction, matches=matches, share=share, inside=inside
    )


def _compare(
    features: Float[Tensor, "images channels grid grid"], consistent: int, progress: Progress | None
) -> list[PseudoMatches]:
    pairs = list(itertools.combinations(range(len(features)), 2))
    matches = []
    for first, second in pairs:
        matches.append(pseudo_matches(first, second, features, consistent=consistent))
        if progress is not None:
            progress("compare", len(matches), len(pairs))
    return matches


def _check(matches: Sequence[PseudoMatches], names: Sequence[str]) -> None:
    """Refuse images that share too little with all others."""
    most = np.zeros(len(names), dtype=int)
    for one in matches:
        for image in one.images:
            most[image] = max(most[image], len(one.source))
    alone = [f"{names[image]} ({count})" for image, count in enumerate(most) if count < LEAST_MATCHES]
    if alone:
        raise ImageError(
            f"Expected images of one kind, which have at least {LEAST_MATCHES} consistent mutual neighbours with "
            f"another image. Fewer have: {', '.join(alone)}. Leave them out, or choose features that know the object "
            "by --method and --model."
        )


def _read_masks(masks: Sequence[Image], grid: int) -> Bool[Tensor, "images {grid} {grid}"]:
    shares_of_white = torch.stack([squash(mask.tensor(), grid).mean(dim=0) for mask in masks])
    inside = shares_of_white >= 0.5
    for mask, cells in zip(masks, inside, strict=True):
        if not cells.any():
            raise ImageError(f"The mask {mask.name!r} is empty. Expected white where the object is.")
    return inside
