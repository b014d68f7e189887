"""Feature maps that taps of a diffusion network read, averaged over noise, as DIFT and DiTF make them of an image.

DIFT (Tang et al., 2023) averages a block's output over noise samples. DiTF (Gan et al., 2025) averages a transformer
block's input, sets channels of massive activation to zero, and applies the block's own adaptive layer norm:
``LayerNorm(x) * (1 + scale) + shift``, with the shift and the scale that the block makes of the time step.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from semcorr.imaging.geometry import squash
from semcorr.imaging.image import Image
from semcorr.matchers.features.dift_settings import DiftSettings
from semcorr.matchers.noise import sum_over_noise
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.prompt_context import prompt_context
from semcorr.models.diffusion.taps import Norm, Tap
from semcorr.progress import Progress, part_of

MASSIVE = 10.0
"""How many times the median channel's magnitude that of a massive one is."""

PASS_NUMBERS = 2**28
"""Numbers that the maps of one run of the network may have together: 1 GB."""


def tap_maps(
    model: DiffusionModel,
    image: Image,
    settings: DiftSettings,
    taps: Sequence[Tap],
    progress: Progress | None = None,
) -> Iterator[tuple[Tap, Float[Tensor, "_dim _height _width"]]]:
    """Yield what each tap reads of an image, in float32.

    Taps are read in one run of the network, or in several where their maps would have more than ``PASS_NUMBERS``. Noise
    follows from the seed and the image's content alone, so that a map does not depend on the other taps.

    Raises:
        SettingsError: The model has no text encoder for the prompt.
        OutOfMemoryError: Not even one sample fits into memory.
    """
    frame = squash(image.tensor(), settings.resolution or model.resolution)
    latents = model.encode(frame[None])
    context = prompt_context(model, settings.prompt, setting="prompt", instead="prompt=null: a context of zeros")
    runs = list(_runs(taps, latents.shape[2], latents.shape[3]))
    for number, together in enumerate(runs):
        watch = part_of(progress, "features", number, len(runs)) if len(runs) > 1 else progress
        means, norms = _means(model, image, settings, latents, context, together, watch)
        for tap, mean in zip(together, means, strict=True):
            kept = leave_out(mean, settings.discard) if tap.residual else mean
            norm = norms.get(tap.name)
            yield tap, kept if norm is None else _normed(kept, norm, model.dtype)


def massive_channels(features: Float[Tensor, "dim height width"]) -> Bool[Tensor, " dim"]:
    """Say which channels are massive: their mean magnitude over all positions is above ``MASSIVE`` times the median.

    The median is that of all channels' mean magnitudes. The publication (Gan et al., 2025) names the channels of one
    network, 154 and 1446 of FLUX.1 dev, and gives no rule for others: this one is ours.
    """
    magnitudes = features.abs().mean(dim=(1, 2))
    return magnitudes > MASSIVE * magnitudes.median()


def leave_out(
    features: Float[Tensor, "dim height width"], channels: str | Sequence[int]
) -> Float[Tensor, "dim height width"]:
    """Return features in which some channels are zero: "none", the "massive" ones, or those of these numbers."""
    if channels == "none":
        return features
    if channels == "massive":
        chosen = massive_channels(features)
    else:
        chosen = torch.zeros(len(features), dtype=torch.bool, device=features.device)
        chosen[[int(channel) for channel in channels]] = True
    return features.masked_fill(chosen[:, None, None], 0)


def _runs(taps: Sequence[Tap], height: int, width: int) -> Iterator[list[Tap]]:
    """Yield the taps that are read together, in their order."""
    together: list[Tap] = []
    numbers = 0
    for tap in taps:
        dim, rows, columns = tap.size(height, width)
        if together and numbers + dim * rows * columns > PASS_NUMBERS:
            yield together
            together, numbers = [], 0
        together.append(tap)
        numbers += dim * rows * columns
    yield together


def _means(
    model: DiffusionModel,
    image: Image,
    settings: DiftSettings,
    latents: Tensor,
    context: Tensor,
    taps: Sequence[Tap],
    progress: Progress | None,
) -> tuple[list[Tensor], dict[str, Norm]]:
    """Return the means over noise samples of what taps read in the same runs, and the norms that remain."""
    norms: dict[str, Norm] = {}

    def evaluate(latents: Tensor, noise: Tensor) -> list[Tensor]:
        noisy = model.add_noise(latents, noise, settings.t) if settings.noise == "gaussian" else latents
        contexts = context.expand(len(latents), -1, -1)
        read = model.read_taps(noisy, settings.t, contexts, taps, lambda values: values.sum(dim=0))
        norms.update({name: one.norm for name, one in read.items() if one.norm is not None})
        return [read[tap.name].values for tap in taps]

    # The text of the key decides the noise: it stays as it is.
    key = f"dift|{settings.seed}|{image.sha256}"
    totals = sum_over_noise(evaluate, latents, settings.samples, key, stage="features", progress=progress)
    return [total / settings.samples for total in totals], norms


@torch.no_grad()
def _normed(
    features: Float[Tensor, "dim height width"], norm: Norm, dtype: torch.dtype
) -> Float[Tensor, "dim height width"]:
    positions = features.flatten(1).T[None].to(dtype)
    return norm(positions)[0].T.float().reshape(features.shape)
