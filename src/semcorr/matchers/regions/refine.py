"""From scores on a coarse grid to a label for each pixel of the image."""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging.guided_filter import guided_maps
from semcorr.imaging.heatmaps import upsample
from semcorr.imaging.image import Image
from semcorr.matchers.regions.results import Regions
from semcorr.matchers.regions.settings import RegionSettings


def regions_of(
    scores: Float[Tensor, "labels _height _width"], target: Image, names: Mapping[int, str], settings: RegionSettings
) -> Regions:
    """Return the label with the highest score at each pixel, and its share of all scores as confidence.

    Args:
        scores: Of the background and of each of ``names`` in their order, on a grid that covers the whole target, not
            negative.
        target: The image.
        names: The name of each label.
        settings: How scores are enlarged.
    """
    width, height = target.size
    best, total = scores.new_full((height, width), -1), scores.new_zeros(height, width)
    labels = torch.zeros(height, width, dtype=torch.uint8, device=scores.device)
    # One label at a time: all of them at an image's resolution may not fit into memory.
    for label, fine in zip((0, *names), _enlarged(scores, target, settings), strict=True):
        fine = fine.clamp(min=0)
        total += fine
        better = fine > best
        labels[better] = label
        best = torch.where(better, fine, best)
    return Regions(
        labels=labels.cpu().numpy(),
        names=names,
        pixel_confidence=(best / total.clamp(min=torch.finfo(total.dtype).tiny)).cpu().numpy(),
        image_size=target.size,
        image_sha256=target.sha256,
    )


def _enlarged(
    scores: Float[Tensor, "labels _height _width"], target: Image, settings: RegionSettings
) -> Iterator[Float[Tensor, "height width"]]:
    if settings.refine == "none":
        return (upsample(one[None], target.size)[0] for one in scores)
    pixels = target.tensor().to(scores)
    return guided_maps(pixels, scores, radius=settings.radius, smoothness=settings.smoothness)
