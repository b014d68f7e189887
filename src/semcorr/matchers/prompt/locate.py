"""Locating: read learned embeddings from crops of another image and take the peak (paper section 3.2, "Inference")."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.matchers.prompt.attention_reader import AttentionReader, Row, naming, rows_of, stack_noise
from semcorr.matchers.prompt.crops import CORNERS, CropLatents
from semcorr.matchers.prompt.frozen_queries import FrozenRows, frozen_crops
from semcorr.matchers.prompt.random_streams import RandomStream, RandomStreams
from semcorr.models.memory import in_batches
from semcorr.progress import Progress

Report = Callable[[int], None]
"""Told how many crops every row of a batch has been read from."""

ReadRows = Callable[
    [Sequence[Row], Float[Tensor, "rows tokens dim"], bool, Report],
    tuple[Float[Tensor, "rows layers side side"], list[Tensor]],
]
"""Reads a batch of rows with their embeddings: their maps, and the same after each crop if those are wanted."""


def locate_rows(
    reader: AttentionReader,
    latents: CropLatents,
    embeddings: Float[Tensor, "points rounds tokens dim"],
    draws: RandomStreams,
    *,
    batch: int,
    on_crops: Callable[[Float[Tensor, "crops layers side side"]], None] | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Row, Float[Tensor, "layers side side"]]]:
    """Yield every row's maps over the whole image, point-major: each the mean over the crops that cover a pixel.

    The first four crops are the corners; the others keep the row's running peak, which is that of the mean over
    layers of what has been read so far. Rows with frozen queries share their crops instead.

    Args:
        reader: the model and settings.
        latents: the target image's.
        embeddings: what :func:`semcorr.matchers.prompt.optimize.learn` gave.
        draws: where random numbers come from.
        batch: rows that run together; halved when memory runs out.
        on_crops: called before each row is yielded with its maps after 1, 2, ... crops.
        progress: called as ``("locate", crops done, crops in all)``, after ``"queries"`` where they are frozen.

    Raises:
        SettingsError: frozen queries want an empty prompt that the model cannot encode.
        OutOfMemoryError: not even one row fits into memory.
        NumericsError: a map is not finite.
    """
    rows = rows_of(*embeddings.shape[:2])
    passes = reader.settings.locate_crops
    if reader.settings.queries == "frozen":
        read: ReadRows = FrozenRows(reader, frozen_crops(reader, latents, "locate", draws, progress=progress))
    else:
        read = _LiveRows(reader, latents, draws)
    finished = 0

    def work(batch_rows: Sequence[Row]) -> tuple[Tensor, list[Tensor]]:
        def report(crops: int) -> None:
            if progress is not None:
                progress("locate", finished * passes + crops * len(batch_rows), len(rows) * passes)

        chosen = torch.stack([embeddings[row.point, row.round_] for row in batch_rows]).to(reader.model.device)
        with naming("locating", batch_rows):
            return read(batch_rows, chosen, on_crops is not None, report)

    for done, (maps, history) in in_batches(rows, batch, work, stage="locate"):
        finished += len(done)
        for index, row in enumerate(done):
            if on_crops is not None:
                on_crops(torch.stack([after[index] for after in history]))
            yield row, maps[index]


class _LiveRows:
    """Every row with crops of its own: the corners, then around its running peak."""

    def __init__(self, reader: AttentionReader, latents: CropLatents, draws: RandomStreams) -> None:
        self._reader, self._latents, self._draws = reader, latents, draws

    def __call__(
        self, rows: Sequence[Row], embeddings: Float[Tensor, "rows tokens dim"], keep: bool, report: Report
    ) -> tuple[Float[Tensor, "rows layers side side"], list[Tensor]]:
        """Return a batch's maps, and if ``keep`` the same after each crop."""
        streams = [self._draws.locating(row.point, row.round_) for row in rows]
        reading, history = _Reading(self._reader, self._latents, embeddings, streams), []
        for number in range(self._reader.settings.locate_crops):
            with naming(f"crop {number + 1} of {self._reader.settings.locate_crops}", rows):
                reading.read_crops(number)
            if keep:
                history.append(reading.mean.mean().cpu())
            report(number + 1)
        return reading.mean.mean().cpu(), history


class _Reading:
    """A batch of rows on their way over one image."""

    def __init__(
        self,
        reader: AttentionReader,
        latents: CropLatents,
        embeddings: Float[Tensor, "rows tokens dim"],
        streams: Sequence[RandomStream],
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
