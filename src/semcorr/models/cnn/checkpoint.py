"""What a loaded convolutional network is, whatever it was loaded from."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from jaxtyping import Float
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """A network of blocks that follow one another.

    Attributes:
        strides: Input pixels from one cell of each block's output to the next.
    """

    strides: tuple[int, ...]

    @abstractmethod
    def each_output(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Iterator[Float[Tensor, "batch _channels _rows _columns"]]:
        """Run the blocks one after the other on normalised images, and yield what each puts out."""

    def outputs(
        self, images: Float[Tensor, "batch 3 height width"], blocks: Sequence[int]
    ) -> list[Float[Tensor, "batch _channels _rows _columns"]]:
        """Return what some blocks put out for normalised images, in the order asked for; later blocks are not run."""
        run = enumerate(islice(self.each_output(images), max(blocks) + 1))
        kept = {number: output for number, output in run if number in blocks}
        return [kept[number] for number in blocks]


@dataclass(frozen=True, kw_only=True)
class ConvolutionalCheckpoint:
    """A loaded network; :class:`semcorr.models.cnn.ConvolutionalModel` documents the fields.

    ``mean`` and ``std`` are those of each colour channel, for images in [0, 1].
    """

    model_id: str
    revision: str | None
    fingerprint: str
    family: str
    network: Backbone
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
