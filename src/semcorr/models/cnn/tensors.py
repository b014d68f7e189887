"""Build convolutions from the tensors of a file: widths are read from the tensors, and nothing is left over unseen."""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_weights

_EPSILON = 1e-5  # PyTorch's for batch normalisation, which timm, torchvision and transformers leave as it is


class NamedTensors:
    """The tensors of a network by name, each to be taken once.

    Args:
        tensors: The tensors; :meth:`convolution` converts them to float32.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._left = dict(tensors)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the tensors that were not taken."""
        return iter(self._left)

    def has(self, prefix: str) -> bool:
        """Whether the name of a tensor that was not taken begins so."""
        return any(name.startswith(prefix) for name in self._left)

    def convolution(
        self, name: str, norm: str | None, *, inputs: int, kernel: int, stride: int = 1, biased: bool = False
    ) -> nn.Conv2d:
        """Take a convolution, padded by half its kernel, with the batch normalisation after it folded in.

        Args:
            name: Its name.
            norm: Name of the normalisation, or None.
            inputs: Channels of its input.
            kernel: Side of its kernel.
            stride: Its stride.
            biased: Whether it has a bias of its own, beside that of the normalisation.

        Raises:
            ValueError: A tensor is missing, or has another shape.
        """
        weight = self._take(f"{name}.weight", None, inputs, kernel, kernel)
        outputs = len(weight)
        bias = self._take(f"{name}.bias", outputs) if biased else torch.zeros(outputs)
        if norm is not None:
            mean, variance, scale, shift = (
                self._take(f"{norm}.{kind}", outputs) for kind in ("running_mean", "running_var", "weight", "bias")
            )
            weight, bias = fuse_conv_bn_weights(weight, bias, mean, variance, _EPSILON, scale, shift)
        # On no device, so that no random weights are drawn first.
        result = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, device="meta")
        result.weight, result.bias = nn.Parameter(weight), nn.Parameter(bias)
        return result

    def _take(self, name: str, *shape: int | None) -> Float[Tensor, "..."]:
        if name not in self._left:
            raise ValueError(f"the weight {name} is missing")
        tensor = self._left.pop(name)
        if len(tensor.shape) != len(shape) or any(
            right not in (None, side) for right, side in zip(shape, tensor.shape, strict=True)
        ):
            expected = ", ".join("any" if side is None else str(side) for side in shape)
            raise ValueError(f"the weight {name} has the shape {tuple(tensor.shape)}, expected ({expected})")
        # A copy: tensors of a file share its memory, which ends with the file.
        return tensor.to(torch.float32, copy=True)
