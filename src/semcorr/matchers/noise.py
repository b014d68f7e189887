"""Noise samples of an image's latents, some of them in a batch, and the sum of what a network makes of all."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.matchers.seeds import seeded_generator
from semcorr.models.memory import in_batches
from semcorr.progress import Progress

Evaluate = Callable[
    [Float[Tensor, "some channels height width"], Float[Tensor, "some channels height width"]], list[Tensor]
]
"""Takes the latents, repeated, and as many noise samples; returns tensors that are summed over these samples."""

_BATCH = 4
"""Samples in a batch, at most."""


def sum_over_noise(
    evaluate: Evaluate,
    latents: Float[Tensor, "1 channels height width"],
    samples: int,
    key: str,
    *,
    stage: str,
    progress: Progress | None = None,
) -> list[Tensor]:
    """Return the sums of what ``evaluate`` returns, over all noise samples.

    Args:
        evaluate: Called once a batch; with a smaller batch again if memory runs out.
        latents: The image's latents, without noise.
        samples: Number of noise samples: standard normal numbers, drawn together.
        key: What the noise depends on; see :func:`semcorr.matchers.seeds.seeded_generator`.
        stage: Names the work in messages.
        progress: Called as ``(stage, samples done, samples in all)``.

    Raises:
        OutOfMemoryError: Not even one sample fits into memory.
    """
    noise = torch.randn(samples, *latents.shape[1:], generator=seeded_generator(key))

    def run(numbers: Sequence[int]) -> list[Tensor]:
        return evaluate(latents.expand(len(numbers), -1, -1, -1), noise[list(numbers)].to(latents))

    totals: list[Tensor] = []
    done = 0
    for numbers, sums in in_batches(range(samples), _BATCH, run, stage=stage):
        totals = [total + one for total, one in zip(totals, sums, strict=True)] if totals else sums
        done += len(numbers)
        if progress is not None:
            progress(stage, done, samples)
    return totals
