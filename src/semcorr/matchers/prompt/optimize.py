"""Learning: find embeddings whose attention lights up the query point (paper section 3.2, "Optimization")."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import NumericsError
from semcorr.imaging import heatmaps
from semcorr.matchers.prompt.attention_reader import AttentionReader, Row, naming, rows_of, stack_noise
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.frozen_queries import FrozenMaps, frozen_crops
from semcorr.matchers.prompt.least_squares import solve_token
from semcorr.matchers.prompt.preview import AttentionPreview, frozen_whole, live_whole, look_at
from semcorr.matchers.prompt.random_streams import RandomStream, RandomStreams
from semcorr.matchers.prompt.settings import PromptSettings
from semcorr.models.diffusion import PrefixCache
from semcorr.models.finite import all_finite, largest, precision_of
from semcorr.models.memory import in_batches
from semcorr.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimized:
    """What learning gives, on the CPU in float32: the embeddings, and each one's loss before every step."""

    embeddings: Float[Tensor, "points rounds tokens dim"]
    losses: Float[Tensor, "points rounds steps"]


Read = Callable[
    [Sequence[RandomStream], Sequence[Float[Tensor, "2"]], Float[Tensor, "rows tokens dim"]],
    tuple[list[Float[Tensor, "rows _h _w"]], Float[Tensor, "rows 2"]],
]
"""One look of every row at the source: from streams, points and embeddings to maps, and the points in what was read."""


Begin = Callable[[Sequence[Float[Tensor, "2"]], Float[Tensor, "rows tokens dim"]], Float[Tensor, "rows tokens dim"]]
"""From every row's point and the embedding drawn for it to the one that learning starts from."""


class LiveMaps:
    """A crop, noise and a pass of the network for every row: of its own, or one of those that an image's rows share."""

    def __init__(self, reader: AttentionReader, latents: CropLatents, draws: RandomStreams) -> None:
        self._reader, self._latents = reader, latents
        self._shared = None if reader.settings.optimize_crops is None else draws.shared("learn")
        count = reader.settings.optimize_crops or 0
        self._places = [self._shared.place() for _ in range(count)] if self._shared else []
        self._noise: list[Tensor] = []
        self._prefixes = PrefixCache()

    def __call__(
        self,
        streams: Sequence[RandomStream],
        points: Sequence[Float[Tensor, "2"]],
        embeddings: Float[Tensor, "rows tokens dim"],
    ) -> tuple[list[Float[Tensor, "rows _h _w"]], Float[Tensor, "rows 2"]]:
        """Return every row's maps, one tensor a layer, and where its point lies in its resized crop."""
        reader = self._reader
        ranges = [reader.optimize_range(*point.tolist()) for point in points]
        picks: list[int] = []
        if self._places:
            # A shared place is taken within what the point allows, which is the same crop for most points.
            picks = [stream.pick(len(self._places)) for stream in streams]
            crops = [allowed.at(*self._places[pick]) for pick, allowed in zip(picks, ranges, strict=True)]
        else:
            crops = [stream.crop(allowed) for stream, allowed in zip(streams, ranges, strict=True)]
        clean = self._latents(crops)
        shape, kind = clean.shape[1:], reader.settings.noise
        if reader.settings.optimize_noise == "shared":
            bank = self._shared_noise(shape)
            noise = stack_noise([bank[pick] for pick in picks], clean)
            with self._prefixes.use(list(zip(crops, picks, strict=True))):
                maps = reader.maps(clean, noise, reader.optimize_t, embeddings)
        else:
            noise = stack_noise([stream.noise(shape, kind) for stream in streams], clean)
            maps = reader.maps(clean, noise, reader.optimize_t, embeddings)
        centres = [crop.to_crop(point, reader.resolution) for crop, point in zip(crops, points, strict=True)]
        return maps, torch.stack(centres)

    def _shared_noise(self, shape: Sequence[int]) -> list[Tensor]:
        """Each shared place's noise, drawn after all the places."""
        if not self._noise and self._shared is not None:
            self._noise = [self._shared.noise(shape, self._reader.settings.noise) for _ in self._places]
        return self._noise


def learn(
    reader: AttentionReader,
    latents: CropLatents,
    points: Float[Tensor, "points 2"],
    draws: RandomStreams,
    *,
    batch: int,
    progress: Progress | None = None,
) -> Optimized:
    """Learn ``rounds`` embeddings for every point, ``batch`` of them at a time.

    Every (point, round) is a row with its own crop, noise and optimiser state, so that the result does not depend on
    which rows share a batch beyond rounding.

    Args:
        reader: the model and settings.
        latents: the source image's.
        points: query points in the model frame (continuous, pixels).
        draws: where random numbers come from.
        batch: rows that run together; halved when memory runs out.
        progress: called as ``("learn", steps done, steps in all, loss=mean, look=...)``; ``look`` is a
            :class:`semcorr.matchers.prompt.preview.AttentionPreview`, which works out the maps over the source if it
            is called.

    Raises:
        OutOfMemoryError: not even one row fits into memory.
        NumericsError: a map, a loss, a gradient or an embedding is not finite.
    """
    settings = reader.settings
    rows = rows_of(len(points), settings.rounds)
    begin: Begin = _as_drawn
    if settings.queries == "frozen":
        shared = frozen_crops(reader, latents, "learn", draws, progress=progress)
        read: Read = FrozenMaps(reader, shared)
        whole = frozen_whole(reader, shared)
        if settings.start == "least_squares":
            begin = partial(solve_token, reader, shared)
    else:
        read = LiveMaps(reader, latents, draws)
        whole = live_whole(reader, latents)
    finished = 0

    def work(batch_rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        def report(step: int, loss: float, embeddings: Tensor) -> None:
            if progress is not None:
                done = finished * settings.steps + step * len(batch_rows)
                look: AttentionPreview = look_at(batch_rows, embeddings, whole)
                progress("learn", done, len(rows) * settings.steps, loss=loss, look=look)

        return _learn_rows(reader, begin, read, batch_rows, points, draws, report)

    embeddings, losses = [], []
    for done, (embedding, loss) in in_batches(rows, batch, work, stage="learn"):
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


def _as_drawn(
    points: Sequence[Float[Tensor, "2"]],  # noqa: ARG001  # as Begin has it
    drawn: Float[Tensor, "rows tokens dim"],
) -> Float[Tensor, "rows tokens dim"]:
    """The random start (paper section 3.3)."""
    return drawn


def _learn_rows(
    reader: AttentionReader,
    begin: Begin,
    read: Read,
    rows: Sequence[Row],
    points: Float[Tensor, "points 2"],
    draws: RandomStreams,
    report: Callable[[int, float, Tensor], None],
) -> tuple[Float[Tensor, "rows tokens dim"], Float[Tensor, "rows steps"]]:
    settings, model = reader.settings, reader.model
    streams = [draws.learning(row.point, row.round_) for row in rows]
    row_points = [points[row.point] for row in rows]
    drawn = [stream.embedding(reader.context_length, model.context_dim) for stream in streams]
    embeddings = begin(row_points, torch.stack(drawn).to(model.device, torch.float32)).requires_grad_()
    # Adam works on every number by itself, so one optimiser over the batch is one optimiser for each row.
    optimizer = torch.optim.Adam([embeddings], lr=settings.lr)
    # float16 would round small gradients to zero on their way through the network.
    scale = 4096.0 if model.dtype == torch.float16 else 1.0
    losses = []
    for step in range(settings.steps):
        with naming(f"step {step + 1} of {settings.steps}", rows):
            maps, centres = read(streams, row_points, embeddings)
            target = _targets(centres.to(model.device), settings, reader.resolution)
            loss = row_losses(maps, target, settings.loss)
            # The sum, not the mean: a row's gradient must not know how many others there are.
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
    """The mean loss, after a look at it and at the gradient: both in one wait for the device."""
    assert embeddings.grad is not None  # noqa: S101  # the maps depend on them
    mean, steepest = torch.stack((loss.mean(), largest(embeddings.grad))).tolist()
    for what, number in (("loss", mean), ("gradient to the embeddings", steepest)):
        if not math.isfinite(number):
            raise NumericsError(f"The {what} is not finite, in {precision}.", "Use dtype='float32'.", precision)
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
