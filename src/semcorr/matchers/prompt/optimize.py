"""Optimization: find embeddings whose attention is high at the query point (paper section 3.2, "Optimization")."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import NumericsError
from semcorr.imaging import heatmaps
from semcorr.matchers.prompt.attention_reader import AttentionReader, Row, naming, rows_of
from semcorr.matchers.prompt.attention_source import AttentionSource, attention_source
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.preview import preview_of
from semcorr.matchers.prompt.random_streams import RandomStreams
from semcorr.matchers.prompt.settings import PromptSettings
from semcorr.models.finite import all_finite, largest, precision_of
from semcorr.models.memory import in_batches
from semcorr.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimized:
    """Optimized embeddings and the loss before each of their steps, on the CPU in float32."""

    embeddings: Float[Tensor, "points rounds tokens dim"]
    losses: Float[Tensor, "points rounds steps"]


def optimize(
    reader: AttentionReader,
    latents: CropLatents,
    points: Float[Tensor, "points 2"],
    streams: RandomStreams,
    *,
    batch: int,
    progress: Progress | None = None,
) -> Optimized:
    """Optimize ``rounds`` embeddings for every point, ``batch`` of them at a time.

    Every (point, round) is a row with its own crops, noise and optimizer state: but for rounding, the result does not
    depend on which rows share a batch.

    Args:
        reader: The model and settings.
        latents: The source image's.
        points: Query points in the model frame (continuous, pixels).
        streams: Where random numbers come from.
        batch: Rows that run together; halved when memory runs out.
        progress: Called as ``("optimize", steps done, steps in all, loss=mean, preview=...)``, where ``preview`` is a
            :class:`semcorr.matchers.prompt.preview.AttentionPreview`, which computes the maps over the source if it is
            called; with frozen queries as ``("queries", crops done, crops in all)`` before that.

    Raises:
        OutOfMemoryError: Not even one row fits into memory.
        NumericsError: A map, a loss, a gradient or an embedding is not finite.
    """
    settings = reader.settings
    rows = rows_of(len(points), settings.rounds)
    source = attention_source(reader, latents, "optimize", streams, progress=progress)
    finished = 0

    def work(batch_rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        def report(step: int, loss: float, embeddings: Tensor) -> None:
            if progress is not None:
                done = finished * settings.steps + step * len(batch_rows)
                preview = preview_of(batch_rows, embeddings, source)
                progress("optimize", done, len(rows) * settings.steps, loss=loss, preview=preview)

        return _optimize_rows(reader, source, batch_rows, points, streams, report)

    embeddings, losses = [], []
    for done, (embedding, loss) in in_batches(rows, batch, work, stage="optimize"):
        finished += len(done)
        embeddings.append(embedding)
        losses.append(loss)
    shape = (len(points), settings.rounds)
    return Optimized(
        embeddings=torch.cat(embeddings).reshape(*shape, reader.context_length, reader.model.context_dim),
        losses=torch.cat(losses).reshape(*shape, settings.steps),
    )


def row_losses(
    maps: Sequence[Float[Tensor, "rows _h _w"]], target: Float[Tensor, "rows side side"], kind: str
) -> Float[Tensor, " rows"]:
    """Mean squared error of each row's maps, enlarged bilinearly, against its target.

    ``"mean_map"`` compares the mean over layers (paper section 3.2); ``"per_layer"`` compares every layer's map
    and averages (authors' code).
    """
    size = (target.shape[-1], target.shape[-2])
    if kind == "mean_map":
        return ((heatmaps.fuse_mean(maps, size) - target) ** 2).mean(dim=(-2, -1))
    errors = [((heatmaps.upsample(layer, size) - target) ** 2).mean(dim=(-2, -1)) for layer in maps]
    return torch.stack(errors).mean(dim=0)


def _optimize_rows(
    reader: AttentionReader,
    source: AttentionSource,
    rows: Sequence[Row],
    points: Float[Tensor, "points 2"],
    streams: RandomStreams,
    report: Callable[[int, float, Tensor], None],
) -> tuple[Float[Tensor, "rows tokens dim"], Float[Tensor, "rows steps"]]:
    settings, model = reader.settings, reader.model
    row_streams = [streams.optimizing(row.point, row.round_) for row in rows]
    row_points = [points[row.point] for row in rows]
    drawn = torch.stack([stream.embedding(reader.context_length, model.context_dim) for stream in row_streams])
    embeddings = source.starts(row_points, drawn.to(model.device, torch.float32)).requires_grad_()
    # Adam updates every number by itself, so one optimizer over the batch is one optimizer for each row.
    optimizer = torch.optim.Adam([embeddings], lr=settings.lr)
    # float16 would round small gradients to zero on their way through the network.
    scale = 4096.0 if model.dtype == torch.float16 else 1.0
    losses = []
    for step in range(settings.steps):
        with naming(f"step {step + 1} of {settings.steps}", rows):
            maps, centres = source.optimization_maps(row_streams, row_points, embeddings)
            target = _targets(centres.to(model.device), settings, reader.resolution)
            loss = row_losses(maps, target, settings.loss)
            # The sum, not the mean: a row's gradient must not depend on how many others there are.
            torch.autograd.backward(scale * loss.sum())
            mean = _checked_mean(loss.detach(), embeddings, precision_of(model.unet))
        if scale != 1.0 and embeddings.grad is not None:
            embeddings.grad /= scale
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        report(step + 1, mean, embeddings)
    with naming(f"the last of {settings.steps} steps", rows):
        _check_last(embeddings, settings.lr, precision_of(model.unet))
    return embeddings.detach().cpu(), torch.stack(losses, dim=1).cpu()


def _checked_mean(loss: Float[Tensor, " rows"], embeddings: Tensor, precision: str) -> float:
    """Return the mean loss; insist that it and the gradient are finite, with one synchronisation of the device."""
    assert embeddings.grad is not None  # noqa: S101  # the maps depend on them
    mean, steepest = torch.stack((loss.mean(), largest(embeddings.grad))).tolist()
    for name, number in (("loss", mean), ("gradient to the embeddings", steepest)):
        if not math.isfinite(number):
            raise NumericsError(f"The {name} is not finite, in {precision}.", "Use dtype='float32'.", precision)
    return float(mean)


def _check_last(embeddings: Tensor, rate: float, precision: str) -> None:
    if not all_finite([embeddings]):
        raise NumericsError("Embeddings are not finite.", f"Lower the setting 'lr', which is {rate:g}.", precision)


def _targets(
    centres: Float[Tensor, "rows 2"], settings: PromptSettings, resolution: int
) -> Float[Tensor, "rows {resolution} {resolution}"]:
    """A Gaussian of peak 1 around each row's point (paper section 3.2)."""
    sigma = settings.sigma * resolution
    return heatmaps.gaussian(centres.float(), sigma, (resolution, resolution), settings.pixel_centre)
