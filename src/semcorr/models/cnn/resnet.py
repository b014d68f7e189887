"""ResNet: residual blocks in four stages (He et al., 2016), of two convolutions (18, 34) or three (50, 101, 152).

Block 0 is the stem, after its pooling, and blocks from 1 on are the residual blocks: the numbers of Hyperpixel Flow
(Min et al., 2019), which reads them, as here, before their last ReLU. For an image of 513 x 513 pixels:

=======  ====  ========  =========  ========  ========  =========  =========
stage    side  channels  ResNet-18  34        50        101        152
=======  ====  ========  =========  ========  ========  =========  =========
stem     129   64        0          0         0         0          0
1        129   64, 256   1, 2       1 to 3    1 to 3    1 to 3     1 to 3
2        65    128, 512  3, 4       4 to 7    4 to 7    4 to 7     4 to 11
3        33    256,1024  5, 6       8 to 13   8 to 13   8 to 30    12 to 47
4        17    512,2048  7, 8       14 to 16  14 to 16  31 to 33   48 to 50
=======  ====  ========  =========  ========  ========  =========  =========
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.models.cnn.checkpoint import Backbone
from semcorr.models.cnn.tensors import NamedTensors


class _Block(nn.Module):
    """Add what convolutions make of the input to what the shortcut makes of it."""

    def __init__(self, convolutions: Sequence[nn.Conv2d], shortcut: nn.Module) -> None:
        super().__init__()
        self.convolutions, self.shortcut = nn.ModuleList(convolutions), shortcut
        self.channels = convolutions[-1].out_channels

    def forward(self, x: Float[Tensor, "batch _inputs _h _w"]) -> Float[Tensor, "batch _outputs _oh _ow"]:
        """Return the sum; the ReLU after it is the network's."""
        y = x
        for convolution in self.convolutions[:-1]:
            y = F.relu(convolution(y))
        result: Tensor = self.convolutions[-1](y) + self.shortcut(x)
        return result


class ResNet(Backbone):
    """The stem and the residual blocks of a ResNet.

    Args:
        stem: The first convolution, with batch normalisation folded in, as in all of them.
        blocks: The residual blocks, in order.
        strides: Input pixels of a cell of the stem's output, and of each block's.
    """

    def __init__(self, stem: nn.Conv2d, blocks: Sequence[nn.Module], strides: Sequence[int]) -> None:
        super().__init__()
        self.stem, self.blocks, self.strides = stem, nn.ModuleList(blocks), tuple(strides)

    def each_output(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Iterator[Float[Tensor, "batch _channels _rows _columns"]]:
        """Run the stem and the blocks one after the other and yield the output of each."""
        x = F.max_pool2d(F.relu(self.stem(images)), 3, 2, 1)
        yield x
        for block in self.blocks:
            x = block(F.relu(x))
            yield x


@dataclass(frozen=True, kw_only=True)
class Names:
    """How a library names a ResNet's tensors.

    Attributes:
        first: Number of the first stage and of the first convolution of a block.
        stem: Names of the first convolution and of its normalisation.
        block: Name of a block, by the numbers of its stage and in it.
        convolution, norm: Names of a convolution in a block and of its normalisation, by its number.
        shortcut: Names of a shortcut's convolution and of its normalisation in a block.
    """

    first: int
    stem: tuple[str, str]
    block: str
    convolution: str
    norm: str
    shortcut: tuple[str, str]


TIMM = Names(
    first=1,
    stem=("conv1", "bn1"),
    block="layer{}.{}.",
    convolution="conv{}",
    norm="bn{}",
    shortcut=("downsample.0", "downsample.1"),
)
TRANSFORMERS = Names(
    first=0,
    stem=("embedder.embedder.convolution", "embedder.embedder.normalization"),
    block="encoder.stages.{}.layers.{}.",
    convolution="layer.{}.convolution",
    norm="layer.{}.normalization",
    shortcut=("shortcut.convolution", "shortcut.normalization"),
)


def resnet(tensors: NamedTensors, names: Names, *, stride_first: bool = False) -> tuple[str, ResNet]:
    """Build a ResNet from its tensors, and return it after its family, as "resnet50".

    Args:
        tensors: The tensors.
        names: How they are named.
        stride_first: Whether in blocks of three convolutions the first has the stride, and not the second.

    Raises:
        ValueError: A tensor is missing or has another shape.
    """
    stem = tensors.convolution(*names.stem, inputs=3, kernel=7, stride=2)
    blocks: list[_Block] = []
    inputs, strides, stage, layers = stem.out_channels, [4], 0, 2
    while tensors.has(names.block.format(stage + names.first, 0)):
        number, step = 0, 1 if stage == 0 else 2
        while tensors.has(prefix := names.block.format(stage + names.first, number)):
            blocks.append(_block(tensors, names, prefix, inputs, step if number == 0 else 1, stride_first))
            inputs = blocks[-1].channels
            layers += len(blocks[-1].convolutions)
            strides.append(4 * 2**stage)
            number += 1
        stage += 1
    if not blocks:
        raise ValueError("it has no residual blocks")
    return f"resnet{layers}", ResNet(stem, blocks, strides)


def _block(tensors: NamedTensors, names: Names, prefix: str, inputs: int, stride: int, stride_first: bool) -> _Block:
    def name(kind: str, number: int = 0) -> str:
        return prefix + kind.format(number + names.first)

    third = (name(names.convolution, 2), name(names.norm, 2))
    kernels = (1, 3, 1) if any(map(tensors.has, third)) else (3, 3)
    strided = 1 if len(kernels) == 3 and not stride_first else 0
    convolutions: list[nn.Conv2d] = []
    for number, kernel in enumerate(kernels):
        convolutions.append(
            tensors.convolution(
                name(names.convolution, number),
                name(names.norm, number),
                inputs=convolutions[-1].out_channels if convolutions else inputs,
                kernel=kernel,
                stride=stride if number == strided else 1,
            )
        )
    shortcut: nn.Module = nn.Identity()
    if stride > 1 or convolutions[-1].out_channels != inputs:
        shortcut = tensors.convolution(*map(name, names.shortcut), inputs=inputs, kernel=1, stride=stride)
    return _Block(convolutions, shortcut)
