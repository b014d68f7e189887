"""VGG: convolutions of 3 x 3 in stages, and the maximum of 2 x 2 between them (Simonyan and Zisserman, 2015).

Block k is the k-th convolution with its ReLU, from 0; all later layers are left out. The first of each stage, as
publications name it, and what it puts out for an image of 224 x 224 pixels:

=======  ========  ====  =====  =====  =====  =====
name     channels  side  VGG11  VGG13  VGG16  VGG19
=======  ========  ====  =====  =====  =====  =====
relu1_1  64        224   0      0      0      0
relu2_1  128       112   1      2      2      2
relu3_1  256       56    2      4      4      4
relu4_1  512       28    4      6      7      8
relu5_1  512       14    6      8      10     12
=======  ========  ====  =====  =====  =====  =====
"""

import re
from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.models.cnn.checkpoint import Backbone
from semcorr.models.cnn.tensors import NamedTensors


class Vgg(Backbone):
    """The convolutions of a VGG.

    Args:
        convolutions: In order, with batch normalisation folded in.
        strides: Input pixels of a cell of each; where they grow, pooling comes before.
    """

    def __init__(self, convolutions: Sequence[nn.Conv2d], strides: Sequence[int]) -> None:
        super().__init__()
        self.convolutions, self.strides = nn.ModuleList(convolutions), tuple(strides)

    def each_output(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Iterator[Float[Tensor, "batch _channels _rows _columns"]]:
        """Run the convolutions one after the other and yield the output of each, after its ReLU."""
        x, before = images, 1
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            if stride > before:
                x, before = F.max_pool2d(x, 2), stride
            x = F.relu(convolution(x))
            yield x


def vgg(tensors: NamedTensors) -> tuple[str, Vgg]:
    """Build a VGG from tensors with the names of timm and torchvision, and return it after its family, as "vgg19".

    They number convolutions, normalisations, activations and pooling in one sequence (``features.0.weight``); the last
    two have no tensors and leave gaps, from which it follows where they are.

    Raises:
        ValueError: A tensor is missing or has another shape.
    """
    numbers = {int(match[1]) for match in (re.match(r"features\.(\d+)\.", name) for name in tensors) if match}
    indices = sorted(number for number in numbers if number - 1 not in numbers)
    if indices[:1] != [0]:
        raise ValueError("the weight features.0.weight is missing")
    layers = 3 if 1 in numbers else 2
    convolutions, strides, inputs, stride, due = [], [], 3, 1, 0
    for index in indices:
        if index not in (due, due + 1):
            raise ValueError(f"the weight features.{due}.weight is missing")
        stride *= 1 if index == due else 2
        norm = f"features.{index + 1}" if layers == 3 else None
        convolutions.append(tensors.convolution(f"features.{index}", norm, inputs=inputs, kernel=3, biased=True))
        strides.append(stride)
        inputs, due = convolutions[-1].out_channels, index + layers
    return f"vgg{len(convolutions) + 3}", Vgg(convolutions, strides)
