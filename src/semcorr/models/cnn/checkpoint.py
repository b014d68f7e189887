"""What a loaded convolutional network is, whatever it was loaded from."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """A network of blocks that follow one another.

    Attributes:
        strides: Input pixels from one cell of each block's output to the next.
        lean: Where convolutions with a stride are centred beside a cell's middle: 1 to the right and down (TensorFlow's
            padding of even sides), -1 to the left and up (the same padding on both sides), 0 not at all. Each halving
            adds half a pixel of its own input, so that a cell of stride s is centred lean (s - 1) / 2 input pixels
            from its middle.
    """

    strides: tuple[int, ...]
    lean: int

    @abstractmethod
    def outputs(
        self, images: Float[Tensor, "batch 3 height width"], blocks: Sequence[int]
    ) -> list[Float[Tensor, "batch _channels _rows _columns"]]:
        """Return what some blocks put out for normalised images, in the order asked for; later blocks are not run."""


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
