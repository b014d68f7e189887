"""Load a VGG or a ResNet from a folder in timm's layout, or a ResNet in transformers'. Neither library is needed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from semcorr.errors import ModelError, suggest
from semcorr.models.cnn.checkpoint import Backbone, ConvolutionalCheckpoint
from semcorr.models.cnn.resnet import TIMM, TRANSFORMERS, resnet
from semcorr.models.cnn.tensors import NamedTensors
from semcorr.models.cnn.vgg import vgg
from semcorr.models.names import BUNDLED_PHOTO_MODEL
from semcorr.models.network_folder import STEM, NetworkFolder, NetworkKind, colours
from semcorr.models.weights import as_model_error, check_files, folder_weights

_SUGGESTED = ("vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_ARCHITECTURE = re.compile(r"vgg\d+(_bn)?|resnet\d+")
_HEADS = re.compile(r"(fc|head|classifier|pre_logits)\..*|.*\.num_batches_tracked")
"""Tensors that no block's output depends on."""

# What transformers writes where a ResNet has it otherwise than all published ones.
_TRANSFORMERS_CONFIG: Mapping[str, object] = {"hidden_act": "relu", "downsample_in_first_stage": False}


def check_kind(config: Mapping[str, Any], model_id: str) -> None:
    """Check that a configuration is of a VGG or a ResNet.

    Raises:
        ModelError: It is of another network.
    """
    name = _architecture(config)
    if _is_transformers(config) or _ARCHITECTURE.fullmatch(name):
        return
    raise ModelError(
        f"{model_id} is a network of type {name!r}.{suggest(name, _SUGGESTED)} Expected a VGG (vgg11 to vgg19, or with "
        "_bn) or a ResNet (resnet18 to resnet152) as timm saves it ('architecture' in config.json), or a ResNet as "
        "transformers saves it ('model_type': 'resnet')."
    )


CONVOLUTIONAL = NetworkKind(
    name="convolutional network",
    layout="a VGG or ResNet as timm or transformers saves it",
    expected=f"Expected {BUNDLED_PHOTO_MODEL!r}, which is bundled, a folder with config.json and model.safetensors of "
    "a VGG or ResNet, or a hub id such as timm/vgg19.tv_in1k or timm/resnet101.tv_in1k.",
    check=check_kind,
)


def load_folder(folder: NetworkFolder, dtype: torch.dtype = torch.float32) -> ConvolutionalCheckpoint:
    """Load a folder of :data:`CONVOLUTIONAL`, frozen and in evaluation mode.

    Widths and depths are those of its tensors. Colours are timm's ``pretrained_cfg`` or transformers'
    ``preprocessor_config.json``, and ImageNet's if there are none.

    Raises:
        ModelError: A file is damaged, or weights are missing or of another network.
    """
    with as_model_error("network", folder.model_id):
        family, network = _network(folder)
    with as_model_error("configuration", folder.model_id):
        if _is_transformers(folder.config):
            mean, std = colours(folder.preprocessor)
        else:
            mean, std = colours(folder.config.get("pretrained_cfg") or folder.config, "mean", "std")
        fingerprint = folder.fingerprint(mean, std)
    return ConvolutionalCheckpoint(
        model_id=folder.model_id,
        revision=folder.revision,
        fingerprint=fingerprint,
        family=family,
        network=network.eval().requires_grad_(False).to(dtype),
        mean=mean,
        std=std,
    )


def _network(folder: NetworkFolder) -> tuple[str, Backbone]:
    config = folder.config
    check_files(folder.path, folder_weights(folder.path, STEM, folder.variant)[1], config)
    tensors = NamedTensors(_read(folder.weights()))
    name, network = _build(tensors, config)
    if left := list(tensors):
        raise ValueError(f"{len(left)} weights have no counterpart in the network, the first is {min(left)}")
    expected = _expected_family(config)
    if name != expected:
        raise ValueError(f"its configuration is of {expected}, and its weights are those of {name}")
    return name, network


def _build(tensors: NamedTensors, config: Mapping[str, Any]) -> tuple[str, Backbone]:
    if _is_transformers(config):
        for key, value in _TRANSFORMERS_CONFIG.items():
            if config.get(key, value) != value:
                raise ValueError(f"{key} is {config[key]!r} in config.json, expected {value!r}")
        return resnet(tensors, TRANSFORMERS, stride_first=bool(config.get("downsample_in_bottleneck")))
    if config.get("model_args"):  # they change the network, and the tensors do not show it
        raise ValueError(f"model_args in config.json are {config['model_args']!r}, expected none")
    return vgg(tensors) if _architecture(config).startswith("vgg") else resnet(tensors, TIMM)


def _read(files: list[Path]) -> dict[str, Tensor]:
    tensors = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118  # it is no mapping
                # A model with a head has the network as its part "resnet".
                if not _HEADS.fullmatch(name):
                    tensors[name.removeprefix("resnet.")] = opened.get_tensor(name)
    return tensors


def _is_transformers(config: Mapping[str, Any]) -> bool:
    return config.get("model_type") == "resnet"


def _architecture(config: Mapping[str, Any]) -> str:
    """Return timm's name of the network, without the tag of its weights; transformers' if it has none."""
    return str(config.get("architecture") or config.get("model_type")).partition(".")[0]


def _expected_family(config: Mapping[str, Any]) -> str:
    if not _is_transformers(config):
        return _architecture(config).removesuffix("_bn")
    depths, layers = config.get("depths", [3, 4, 6, 3]), 2 if config.get("layer_type") == "basic" else 3
    return f"resnet{sum(depths) * layers + 2}"
