"""Tiny instances of the real classes: each kind's topology, 32 wide, random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    ViTConfig,
    ViTModel,
)

KINDS = ("vit", "dinov2", "dinov2_with_registers", "dinov3_vit")
DEPTH, DIM, IMAGE = 4, 32, 32
PATCH = {"vit": 8, "dinov2": 4, "dinov2_with_registers": 4, "dinov3_vit": 8}
REGISTERS = {"vit": 0, "dinov2": 0, "dinov2_with_registers": 2, "dinov3_vit": 3}

_BASE: dict[str, Any] = {
    "hidden_size": DIM,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 4,
    "image_size": IMAGE,
}
_CLASSES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "vit": (ViTConfig, ViTModel, {"intermediate_size": 64}),
    "dinov2": (Dinov2Config, Dinov2Model, {"mlp_ratio": 2}),
    "dinov2_with_registers": (
        Dinov2WithRegistersConfig,
        Dinov2WithRegistersModel,
        {"mlp_ratio": 2, "num_register_tokens": REGISTERS["dinov2_with_registers"]},
    ),
    "dinov3_vit": (
        DINOv3ViTConfig,
        DINOv3ViTModel,
        {"intermediate_size": 64, "num_register_tokens": REGISTERS["dinov3_vit"]},
    ),
}


def make_network(kind: str, seed: int = 0, **changes: Any) -> Any:
    settings, network_class, own = _CLASSES[kind]
    torch.manual_seed(seed)
    options = {"add_pooling_layer": False} if kind == "vit" else {}
    network = network_class(settings(**{**_BASE, **own, "patch_size": PATCH[kind], **changes}), **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            # A fresh network's biases are 0, its norms 1, its registers equal and its blocks next to nothing: a
            # mistake with any of them would not show.
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.3 * noise if "norm" in name and name.endswith("weight") else 0.3 * noise)
    return network.eval().requires_grad_(False)


def save_folder(folder: Path, kind: str, *, preprocessor: dict[str, Any] | None = None, **changes: Any) -> Path:
    make_network(kind, **changes).save_pretrained(folder)
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def random_image(height: int, width: int, seed: int = 3) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def whole_network(network: Any, kind: str, image: Tensor) -> Any:
    """What transformers gives for an image of whole patches: all hidden states and the last normalised one."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((image.movedim(0, -1) - mean) / std).movedim(-1, 0)[None]
    options = {"interpolate_pos_encoding": True} if kind == "vit" else {}
    return network(pixels, output_hidden_states=True, **options)


def as_map(tokens: Tensor, kind: str, image: Tensor) -> Tensor:
    """Tokens (1, tokens, dim) as a map (dim, rows, columns): the patches are the last of them, row by row."""
    rows, columns = image.shape[1] // PATCH[kind], image.shape[2] // PATCH[kind]
    assert tokens.shape[1] == 1 + REGISTERS[kind] + rows * columns
    return tokens[0, -rows * columns :].T.reshape(-1, rows, columns)
