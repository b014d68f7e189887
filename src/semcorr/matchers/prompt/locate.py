"""Location: read optimized embeddings from crops of another image (paper section 3.2, "Inference")."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.matchers.prompt.attention_reader import AttentionReader, Row, naming, rows_of
from semcorr.matchers.prompt.attention_source import attention_source
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.random_streams import RandomStreams
from semcorr.models.memory import in_batches
from semcorr.progress import Progress


def locate_rows(
    reader: AttentionReader,
    latents: CropLatents,
    embeddings: Float[Tensor, "points rounds context dim"],
    streams: RandomStreams,
    *,
    batch: int,
    on_crops: Callable[[Float[Tensor, "crops layers side side"]], None] | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Row, Float[Tensor, "layers *tokens side side"]]]:
    """Yield every row's maps over the whole image, point-major: each the mean over the crops that cover a pixel.

    The first four crops are the corners; the others contain the row's running peak, which is that of the mean over
    layers of the crops so far. With frozen queries all rows share their crops instead.

    Args:
        reader: The model and settings.
        latents: The target image's.
        embeddings: As :func:`semcorr.matchers.prompt.optimize.optimize` returns them.
        streams: Where random numbers come from.
        batch: Rows that run together; halved when memory runs out.
        on_crops: Called before each row is yielded with its maps after 1, 2, ... crops.
        progress: Called as ``("locate", crops done, crops in all)``; with frozen queries as ``("queries", crops done,
            crops in all)`` before that.

    Raises:
        SettingsError: Frozen queries need an empty prompt that the model cannot encode.
        OutOfMemoryError: Not even one row fits into memory.
        NumericsError: A map is not finite.
    """
    rows = rows_of(*embeddings.shape[:2])
    passes = reader.settings.locate_crops
    source = attention_source(reader, latents, "locate", streams, progress=progress)
    finished = 0

    def work(batch_rows: Sequence[Row]) -> tuple[Tensor, list[Tensor]]:
        def report(crops: int) -> None:
            if progress is not None:
                progress("locate", finished * passes + crops * len(batch_rows), len(rows) * passes)

        chosen = torch.stack([embeddings[row.point, row.round_] for row in batch_rows]).to(reader.model.device)
        with naming("locating", batch_rows):
            return source.location_maps(batch_rows, chosen, each_crop=on_crops is not None, report=report)

    for done, (maps, history) in in_batches(rows, batch, work, stage="locate"):
        finished += len(done)
        for index, row in enumerate(done):
            if on_crops is not None:
                on_crops(torch.stack([after[index] for after in history]))
            yield row, maps[index]


def fuse_layers(maps: Float[Tensor, "layers side side"], kind: str) -> Float[Tensor, "side side"]:
    """Fuse a point's layers, already averaged over its embeddings, into one map.

    ``"mean"`` is the paper's (section 3.3); ``"softmax"`` takes a softmax over the pixels of each layer first
    (authors' code).
    """
    return (maps if kind == "mean" else heatmaps.softmax_pixels(maps)).mean(dim=0)
