"""EfficientNet-Lite0: an EfficientNet without squeeze-and-excitation (Tan and Le, 2019; Google, 2020).

An image (batch, 3, height, width) is halved five times; convolutions pad as TensorFlow does ("same"), because the
published weights were trained so: of even sides one pixel more to the right and below. Cells are centred on their
middles all the same, as the trained kernels make up for it. Block outputs, for an image of 512 x 512 pixels:

========  ========  =======
blocks    channels  side
========  ========  =======
0         16        256
1, 2      24        128
3, 4      40        64
5 to 7    80        32
8 to 10   112       32
11 to 14  192       16
15        320       16
========  ========  =======
"""

from collections.abc import Iterator, Mapping

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from semcorr.models.cnn.checkpoint import Backbone

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""Of each colour channel, for images in [0, 1]: what the published weights expect."""

_STEM, _HEAD, _CLASSES = 32, 1280, 1000
# Expansion, kernel, stride, channels and number of blocks of each stage.
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_EPSILON = 1e-3  # TensorFlow's for batch normalisation


class _Convolution(nn.Sequential):
    """A convolution with TensorFlow's "same" padding, batch normalisation, and ReLU6 but for the last of a block."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, activation: bool = True
    ) -> None:
        super().__init__()
        even = 0 if stride > 1 else kernel // 2  # on all sides; of larger strides it depends on the input's
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, even, groups=groups, bias=False)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(outputs, eps=_EPSILON)
        self.activation = nn.ReLU6(inplace=True) if activation else nn.Identity()

    def fold_norm(self) -> None:
        """Make the normalisation part of the convolution: the same results but for rounding, in evaluation mode."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()

    def forward(self, x: Float[Tensor, "batch _inputs _h _w"]) -> Float[Tensor, "batch _outputs _oh _ow"]:
        """Convolve, normalise and activate."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        if stride > 1:
            down, across = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
            x = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        result: Tensor = super().forward(x)
        return result


class _Block(nn.Module):
    """An inverted residual block (MobileNetV2): expand, filter each channel, project."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = _Convolution(inputs, inner, 1) if expansion > 1 else nn.Identity()
        self.filter = _Convolution(inner, inner, kernel, stride=stride, groups=inner)
        self.project = _Convolution(inner, outputs, 1, activation=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "batch _inputs _h _w"]) -> Float[Tensor, "batch _outputs _oh _ow"]:
        """Add what the three convolutions make of the input to it, where sizes allow."""
        y: Tensor = self.project(self.filter(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite0(Backbone):
    """The whole network; :attr:`blocks` are its 16 blocks in order."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, _STEM, 3, stride=2)
        blocks, strides, inputs, step = [], [], _STEM, 2
        for expansion, kernel, stride, outputs, count in _STAGES:
            for number in range(count):
                blocks.append(_Block(inputs, outputs, expansion, kernel, stride if number == 0 else 1))
                inputs = outputs
            step *= stride
            strides += [step] * count
        self.blocks, self.strides = nn.ModuleList(blocks), tuple(strides)
        self.head = _Convolution(inputs, _HEAD, 1)
        self.classifier = nn.Linear(_HEAD, _CLASSES)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Return a score for each of ImageNet's 1,000 classes, of normalised images."""
        *_, last = self.each_output(images)
        scores: Tensor = self.classifier(self.head(last).mean(dim=(2, 3)))
        return scores

    def each_output(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Iterator[Float[Tensor, "batch _channels _rows _columns"]]:
        """Run the blocks one after the other and yield what each puts out."""
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
            yield x

    def fold_norms(self) -> "EfficientNetLite0":
        """Make every batch normalisation part of its convolution, which halves the time of a pass; return itself."""
        for module in self.modules():
            if isinstance(module, _Convolution):
                module.fold_norm()
        return self


_NAMES = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
_BLOCK_NAMES = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "filter.conv",
    "_bn1": "filter.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


def from_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the published weights under this module's names.

    Raises:
        KeyError: A weight belongs to another network.
    """
    renamed = {}
    for name, value in weights.items():
        *path, module, kind = name.split(".")
        known = f"{'.'.join(path).removeprefix('_')}.{_BLOCK_NAMES[module]}" if path else _NAMES[module]
        renamed[f"{known}.{kind}"] = value
    return renamed
