"""Locating: read learned embeddings from crops of another image and take the peak (paper section 3.2, "Inference")."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr import heatmaps
from semcorr.progress import Progress
from semcorr.prompt.crops import CORNERS, CropLatents
from semcorr.prompt.draws import Draws, DrawStream
from semcorr.prompt.memory import in_batches
from semcorr.prompt.reading import Reader, Row, rows_of, stack_noise


def locate_rows(
    reader: Reader,
    frame: Float[Tensor, "3 side side"],
    embeddings: Float[Tensor, "points rounds tokens dim"],
    draws: Draws,
    *,
    batch: int,
    on_crops: Callable[[Float[Tensor, "crops layers side side"]], None] | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Row, Float[Tensor, "layers side side"]]]:
    """Yield every row's maps over the whole image, point-major: each the mean over the crops that cover a pixel.

    The first four crops are the corners; the others keep the row's running peak, which is that of the mean over
    layers of what has been read so far.

    Args:
        reader: the model and settings.
        frame: the target image in the model frame, values in [0, 1].
        embeddings: what :func:`semcorr.prompt.learn.learn` gave.
        draws: where random numbers come from.
        batch: rows that run together; halved when memory runs out.
        on_crops: called before each row is yielded with its maps after 1, 2, ... crops.
        progress: called as ``("locate", crops done, crops in all)``.

    Raises:
        OutOfMemoryError: not even one row fits into memory.
    """
    points, rounds = embeddings.shape[:2]
    rows = rows_of(points, rounds)
    latents = CropLatents(reader.model, frame)
    passes = reader.settings.locate_crops
    finished = 0

    def work(batch_rows: Sequence[Row]) -> tuple[Tensor, list[Tensor]]:
        """Maps (rows, layers, side, side), and the same after each crop if they are wanted."""
        streams = [draws.locating(row.point, row.round_) for row in batch_rows]
        chosen = torch.stack([embeddings[row.point, row.round_] for row in batch_rows]).to(reader.model.device)
        reading, history = _Reading(reader, latents, chosen, streams), []
        for number in range(passes):
            reading.read_crops(number)
            if on_crops is not None:
                history.append(reading.mean.mean().cpu())
            if progress is not None:
                progress("locate", finished * passes + (number + 1) * len(batch_rows), len(rows) * passes)
        return reading.mean.mean().cpu(), history

    for done, (maps, history) in in_batches(rows, batch, work, stage="locate"):
        finished += len(done)
        for index, row in enumerate(done):
            if on_crops is not None:
                on_crops(torch.stack([after[index] for after in history]))
            yield row, maps[index]


class _Reading:
    """A batch of rows on their way over one image."""

    def __init__(
        self,
        reader: Reader,
        latents: CropLatents,
        embeddings: Float[Tensor, "rows tokens dim"],
        streams: Sequence[DrawStream],
    ) -> None:
        self._reader, self._latents, self._embeddings, self._streams = reader, latents, embeddings, streams
        shape = (len(streams), len(reader.layers), reader.resolution, reader.resolution)
        self.mean = heatmaps.CoverageMean(shape, device=embeddings.device)

    @torch.no_grad()
    def read_crops(self, number: int) -> None:
        """Draw one crop a row, read its maps, and add them."""
        kept = self._points_to_keep(number)
        ranges = [self._reader.locate_range(*point) for point in kept]
        crops = [stream.crop(allowed) for stream, allowed in zip(self._streams, ranges, strict=True)]
        clean = self._latents(crops)
        noise = [stream.noise(clean.shape[1:], self._reader.settings.noise) for stream in self._streams]
        maps = self._reader.maps(clean, stack_noise(noise, clean), self._reader.locate_t, self._embeddings)
        size = (crops[0].width, crops[0].height)
        self.mean.add(torch.stack([heatmaps.upsample(layer, size) for layer in maps], dim=1), crops)

    def _points_to_keep(self, number: int) -> list[list[float]]:
        side = self._reader.resolution
        if number < len(CORNERS):
            return [[fraction * side for fraction in CORNERS[number]]] * len(self._streams)
        return heatmaps.peak(self.mean.mean().mean(dim=1)).tolist()


def fuse_layers(maps: Float[Tensor, "layers side side"], kind: str) -> Float[Tensor, "side side"]:
    """Make one map of a point's layers (already averaged over its embeddings).

    ``"mean"`` is the paper's (section 3.3); ``"softmax"`` takes a softmax over the pixels of each layer first
    (authors' code).
    """
    return (maps if kind == "mean" else heatmaps.softmax_pixels(maps)).mean(dim=0)
