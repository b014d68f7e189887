"""Tiny networks in folders as their libraries save them: timm's by its names, transformers' by transformers itself."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import ResNetConfig, ResNetForImageClassification, ResNetModel

MEAN, STD = [0.5, 0.4, 0.3], [0.3, 0.25, 0.2]
"""Of timm's folders: not ImageNet's, which are the default."""

VGG_STAGES = {"vgg11": (1, 1, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
WIDTHS = (4, 6, 8, 10, 10)


def _random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _norm(name: str, width: int, seed: int) -> dict[str, Tensor]:
    return {
        f"{name}.weight": 1 + 0.3 * _random((width,), seed),
        f"{name}.bias": 0.3 * _random((width,), seed + 1),
        f"{name}.running_mean": 0.3 * _random((width,), seed + 2),
        f"{name}.running_var": 1 + 0.5 * _random((width,), seed + 3).abs(),
        f"{name}.num_batches_tracked": torch.tensor(7),
    }


def timm_vgg(name: str) -> dict[str, Tensor]:
    """Tensors of "vgg19" or "vgg19_bn" and the like: convolution, (normalisation,) ReLU, and pooling after a stage."""
    tensors: dict[str, Tensor] = {}
    index, inputs = 0, 3
    for width, count in zip(WIDTHS, VGG_STAGES[name.removesuffix("_bn")], strict=True):
        for _ in range(count):
            tensors[f"features.{index}.weight"] = _random((width, inputs, 3, 3), index) * (2 / (9 * inputs)) ** 0.5
            tensors[f"features.{index}.bias"] = 0.1 * _random((width,), index + 100)
            if name.endswith("_bn"):
                tensors |= _norm(f"features.{index + 1}", width, index + 200)
            index, inputs = index + (3 if name.endswith("_bn") else 2), width
        index += 1
    tensors["pre_logits.fc1.weight"] = torch.zeros(12, inputs, 7, 7)
    tensors["head.fc.weight"] = torch.zeros(5, 12)
    return tensors


def timm_resnet(depths: tuple[int, ...], *, bottleneck: bool) -> dict[str, Tensor]:
    """Tensors of a ResNet whose stages have so many blocks."""
    tensors: dict[str, Tensor] = {}

    def convolution(name: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        seed = len(tensors)
        scale = (2 / (kernel**2 * inputs)) ** 0.5
        tensors[f"{name}.weight"] = _random((outputs, inputs, kernel, kernel), seed) * scale
        tensors.update(_norm(norm, outputs, seed + 1000))

    inputs = WIDTHS[0]
    convolution("conv1", "bn1", inputs, 3, 7)
    for stage, depth in enumerate(depths):
        width = WIDTHS[stage]
        for block in range(depth):
            path, outputs = f"layer{stage + 1}.{block}", width * (4 if bottleneck else 1)
            kernels = ((width, 1), (width, 3), (outputs, 1)) if bottleneck else ((width, 3), (outputs, 3))
            before = inputs
            for number, (channels, kernel) in enumerate(kernels, start=1):
                convolution(f"{path}.conv{number}", f"{path}.bn{number}", channels, before, kernel)
                before = channels
            if block == 0 and (stage > 0 or inputs != outputs):
                convolution(f"{path}.downsample.0", f"{path}.downsample.1", outputs, inputs, 1)
            inputs = outputs
    tensors["fc.weight"], tensors["fc.bias"] = torch.zeros(5, inputs), torch.zeros(5)
    return tensors


def save_timm(folder: Path, architecture: str, tensors: dict[str, Tensor], **config: Any) -> Path:
    """Write the configuration and the weights as timm does on the hub."""
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    colours = {"mean": MEAN, "std": STD, "first_conv": "conv1"}
    document = {"architecture": architecture, "num_classes": 5, "pretrained_cfg": colours, **config}
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def transformers_resnet(*, head: bool = False, **config: Any) -> Any:
    """A ResNet of transformers with random weights and statistics: a fresh network's would hide mistakes."""
    torch.manual_seed(0)
    settings = ResNetConfig(**{"embedding_size": 4, "hidden_sizes": [8, 12, 16], "depths": [1, 2, 1], **config})
    network = (ResNetForImageClassification if head else ResNetModel)(settings).eval()
    with torch.no_grad():
        for number, module in enumerate(network.modules()):
            if isinstance(module, torch.nn.BatchNorm2d):
                for name, value in _norm("", module.num_features, 10 * number).items():
                    getattr(module, name.removeprefix(".")).copy_(value)
    return network
