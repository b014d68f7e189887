"""One interface to the attention that embeddings pay to an image, with live queries and with frozen ones."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.attention_reader import AttentionReader, Row
from semcorr.matchers.prompt.attention_targets import AttentionTargets
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.frozen_queries import FrozenQueries
from semcorr.matchers.prompt.least_squares import TokenEquations
from semcorr.matchers.prompt.live_queries import LiveQueries
from semcorr.matchers.prompt.random_streams import RandomStream, RandomStreams, Stage
from semcorr.progress import Progress


@runtime_checkable
class AttentionSource(Protocol):
    """The attention of any batch of rows over one image. ``points`` are the numbers of their points in the targets."""

    def token_equations(
        self, targets: AttentionTargets, points: Sequence[int], drawn: Float[Tensor, "rows tokens dim"]
    ) -> TokenEquations | None:
        """Return the equations of the token that is read, given random embeddings; None where the start is random."""
        ...

    def optimization_maps(
        self,
        streams: Sequence[RandomStream],
        targets: AttentionTargets,
        points: Sequence[int],
        embeddings: Float[Tensor, "rows context dim"],
    ) -> tuple[list[Float[Tensor, "rows *tokens _h _w"]], list[Crop]]:
        """Return each row's maps of a crop, one tensor a layer, and the crop: one that its target allows."""
        ...

    def location_maps(
        self,
        rows: Sequence[Row],
        embeddings: Float[Tensor, "rows context dim"],
        *,
        each_crop: bool,
        report: Callable[[int], None],
    ) -> tuple[Float[Tensor, "rows layers *tokens side side"], list[Tensor]]:
        """Return each row's maps over the whole image, the mean over crops, and if ``each_crop`` after each of them.

        ``report`` is called with the number of crops read so far. Results are on the CPU.
        """
        ...

    def whole_image_maps(
        self, embeddings: Float[Tensor, "rows context dim"]
    ) -> Float[Tensor, "rows *tokens side side"]:
        """Return a preview: each row's map over the whole image, the mean over layers. No row's draws are used."""
        ...


def attention_source(
    reader: AttentionReader,
    latents: CropLatents,
    stage: Stage,
    streams: RandomStreams,
    *,
    progress: Progress | None = None,
) -> AttentionSource:
    """Return the source that the setting ``queries`` asks for; frozen queries are computed now.

    Raises:
        SettingsError: Frozen queries need an empty prompt that the model cannot encode.
        OutOfMemoryError: Not even one crop fits into memory.
    """
    if reader.settings.queries == "frozen":
        return FrozenQueries.of_image(reader, latents, stage, streams, progress=progress)
    return LiveQueries(reader, latents, streams)
