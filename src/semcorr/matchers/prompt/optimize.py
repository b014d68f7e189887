"""Optimization: find embeddings whose attention is high at the query point (paper section 3.2, "Optimization").

Where attention should be is a target of :mod:`semcorr.matchers.prompt.attention_targets`: a Gaussian at the point, or
the labels of all pixels. Where several images show the same points, one embedding is optimized over all of them.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.matchers.prompt.attention_reader import AttentionReader, Row, rows_of
from semcorr.matchers.prompt.attention_source import AttentionSource, attention_source
from semcorr.matchers.prompt.attention_targets import AttentionTargets, GaussianTargets
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.descent import Step, descend
from semcorr.matchers.prompt.least_squares import solved
from semcorr.matchers.prompt.preview import preview_of
from semcorr.matchers.prompt.random_streams import RandomStream, RandomStreams
from semcorr.models.memory import in_batches
from semcorr.progress import Progress, part_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimized:
    """Optimized embeddings and the loss before each of their steps, on the CPU in float32."""

    embeddings: Float[Tensor, "points rounds tokens dim"]
    losses: Float[Tensor, "points rounds steps"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One image, and where attention should be in it.

    Attributes:
        latents: The image's.
        targets: Where attention should be, for each point.
        streams: Where random numbers come from.
    """

    latents: CropLatents
    targets: AttentionTargets
    streams: RandomStreams

    @classmethod
    def of_points(
        cls, reader: AttentionReader, latents: CropLatents, points: Float[Tensor, "points 2"], streams: RandomStreams
    ) -> "Example":
        """Return an example whose targets are points of the model frame (continuous, pixels); NaN where not shown."""
        return cls(latents=latents, targets=GaussianTargets(reader, points), streams=streams)


def optimize(
    reader: AttentionReader, examples: Sequence[Example], *, batch: int, progress: Progress | None = None
) -> Optimized:
    """Optimize ``rounds`` embeddings for every point, ``batch`` of them at a time.

    Every (point, round) is a row with its own crops, noise and optimizer state: but for rounding, the result does not
    depend on which rows share a batch. In every step a row reads a crop of each example that shows its point, and its
    loss is the mean over them; they run one after the other, so that they need no more memory than one.

    Args:
        reader: The model and settings.
        examples: The source image; or several, which all have the same points. Each point is shown in one at least. A
            row's start is drawn by the first that shows its point.
        batch: Rows that run together; halved when memory runs out.
        progress: Called as ``("optimize", steps done, steps in all, loss=mean, preview=...)``, where ``preview`` is a
            :class:`semcorr.matchers.prompt.preview.AttentionPreview`, which computes the maps over the first image if
            it is called; with frozen queries as ``("queries", crops done, crops in all)`` before that.

    Raises:
        OutOfMemoryError: Not even one row fits into memory.
        NumericsError: A map, a loss, a gradient or an embedding is not finite.
    """
    settings, points = reader.settings, len(examples[0].targets.shown)
    rows = rows_of(points, settings.rounds)
    sources = [
        attention_source(
            reader, one.latents, "optimize", one.streams, progress=part_of(progress, "queries", number, len(examples))
        )
        for number, one in enumerate(examples)
    ]
    finished = 0

    def work(batch_rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        parts = _shown_rows(batch_rows, examples, sources, reader.model.device)

        def losses(_: int, embeddings: Tensor) -> Iterator[Tensor]:
            return (part.loss(embeddings) for part in parts)

        def report(step: Step) -> None:
            if progress is not None:
                done = finished * settings.steps + step.number * len(batch_rows)
                preview = preview_of(batch_rows, step.embeddings, sources[0])
                progress("optimize", done, len(rows) * settings.steps, loss=step.loss, preview=preview)

        start = _starts(reader, parts, len(batch_rows))
        return descend(
            reader.model, start, losses, steps=settings.steps, lr=settings.lr, report=report, rows=batch_rows
        )

    embeddings, losses = [], []
    for done, (embedding, loss) in in_batches(rows, batch, work, stage="optimize"):
        finished += len(done)
        embeddings.append(embedding)
        losses.append(loss)
    shape = (points, settings.rounds)
    return Optimized(
        embeddings=torch.cat(embeddings).reshape(*shape, reader.context_length, reader.model.context_dim),
        losses=torch.cat(losses).reshape(*shape, settings.steps),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ShownRows:
    """The rows of a batch whose points one example shows.

    Attributes:
        source: The example's attention.
        targets: The example's.
        rows: Their numbers in the batch.
        points: Their points.
        streams: Their draws, from the start.
        index: The same numbers as a tensor; None where all rows are shown.
        share: How much each row's loss counts beside those of other examples; None where this is the only one.
    """

    source: AttentionSource
    targets: AttentionTargets
    rows: list[int]
    points: list[int]
    streams: list[RandomStream]
    index: Tensor | None
    share: Float[Tensor, " rows"] | None

    def loss(self, embeddings: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, " batch"]:
        """Read a crop for each row, and return their shares of the losses of the batch; 0 for all other rows."""
        own = embeddings if self.index is None else embeddings[self.index]
        maps, crops = self.source.optimization_maps(self.streams, self.targets, self.points, own)
        loss = self.targets.losses(maps, self.points, crops)
        if self.share is not None:
            loss = loss * self.share
        return loss if self.index is None else loss.new_zeros(len(embeddings)).index_add(0, self.index, loss)


def _shown_rows(
    rows: Sequence[Row], examples: Sequence[Example], sources: Sequence[AttentionSource], device: torch.device
) -> list[_ShownRows]:
    """Return the rows of a batch that each example shows."""
    shown = torch.stack([one.targets.shown for one in examples])[:, [row.point for row in rows]]
    shares = 1 / shown.sum(dim=0)
    parts = []
    for example, source, numbers in zip(examples, sources, shown, strict=True):
        chosen = numbers.nonzero()[:, 0]
        own = [rows[number] for number in chosen.tolist()]
        if own:
            parts.append(
                _ShownRows(
                    source=source,
                    targets=example.targets,
                    rows=chosen.tolist(),
                    points=[row.point for row in own],
                    streams=[example.streams.optimizing(row.point, row.round_) for row in own],
                    index=None if len(own) == len(rows) else chosen.to(device),
                    share=None if len(examples) == 1 else shares[chosen].to(device),
                )
            )
    return parts


def _starts(reader: AttentionReader, parts: Sequence[_ShownRows], rows: int) -> Float[Tensor, "rows tokens dim"]:
    """Return where embeddings start: at random, or solved for the token that is read (the setting ``start``)."""
    by_row: dict[int, Tensor] = {}
    for part in parts:
        for row, stream in zip(part.rows, part.streams, strict=True):
            if row not in by_row:
                by_row[row] = stream.embedding(reader.context_length, reader.model.context_dim)
    drawn = torch.stack([by_row[row] for row in range(rows)]).to(reader.model.device, torch.float32)
    equations = [part.source.token_equations(part.targets, part.points, drawn[part.rows]) for part in parts]
    known = [(part.rows, one) for part, one in zip(parts, equations, strict=True) if one is not None]
    return solved(drawn, reader.settings.token, known) if known else drawn
