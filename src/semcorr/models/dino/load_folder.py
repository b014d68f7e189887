"""Load a vision transformer from a folder in the layout that transformers saves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Dinov2Model, Dinov2WithRegistersModel, DINOv3ViTModel, ViTModel

from semcorr.errors import ModelError, suggest
from semcorr.models.network_folder import STEM, NetworkFolder, NetworkKind, colours
from semcorr.models.weights import as_model_error, load_network

KINDS: Mapping[str, Any] = {
    "vit": ViTModel,
    "dinov2": Dinov2Model,
    "dinov2_with_registers": Dinov2WithRegistersModel,
    "dinov3_vit": DINOv3ViTModel,
}
"""Known networks by their ``model_type`` in config.json; DINO's first version is a "vit"."""

# A checkpoint's configuration may request another form of output.
_OUTPUT: Mapping[str, Any] = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}


@dataclass(frozen=True, kw_only=True)
class VisionCheckpoint:
    """A loaded network; :class:`semcorr.models.dino.VisionModel` documents the fields.

    ``mean`` and ``std`` are those of each colour channel, for images in [0, 1].
    """

    model_id: str
    revision: str | None
    fingerprint: str
    kind: str
    network: Any
    patch: int
    resolution: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def check_kind(config: Mapping[str, Any], model_id: str) -> None:
    """Check that a configuration is of one of :data:`KINDS`.

    Raises:
        ModelError: It is of another network.
    """
    kind = str(config.get("model_type"))
    if kind not in KINDS:
        raise ModelError(
            f"{model_id} is a network of type {kind!r}.{suggest(kind, KINDS)} Expected one of {', '.join(KINDS)} "
            "(model_type in config.json)."
        )


TRANSFORMER = NetworkKind(
    name="vision model",
    layout="a vision transformer as transformers saves it",
    expected="Expected a folder that transformers saved (save_pretrained), or a hub id such as facebook/dino-vits16 or "
    "facebook/dinov2-base.",
    check=check_kind,
)


def load_folder(folder: NetworkFolder, dtype: torch.dtype = torch.float32) -> VisionCheckpoint:
    """Load a folder of :data:`TRANSFORMER`, with its colours if it has ``preprocessor_config.json``.

    Raises:
        ModelError: A file is damaged, or weights are missing.
    """
    kind = str(folder.config["model_type"])
    with as_model_error("network", folder.model_id):
        # DINO has no pooler, and the pooler of other networks is not used.
        pooling = {"add_pooling_layer": False} if kind == "vit" else {}
        network, _ = load_network(KINDS[kind], folder.path, STEM, folder.variant, dtype=dtype, **_OUTPUT, **pooling)
    with as_model_error("configuration", folder.model_id):
        patch, resolution = _side(network.config, "patch_size"), _side(network.config, "image_size")
        if network.config.num_channels != 3:
            raise ValueError(f"the network takes {network.config.num_channels} channels, expected the 3 of RGB")
        mean, std = colours(folder.preprocessor)
        fingerprint = folder.fingerprint(mean, std)
    return VisionCheckpoint(
        model_id=folder.model_id,
        revision=folder.revision,
        fingerprint=fingerprint,
        kind=kind,
        network=network,
        patch=patch,
        resolution=resolution,
        mean=mean,
        std=std,
    )


def _side(config: Any, name: str) -> int:
    value = getattr(config, name)
    sides = set(value) if isinstance(value, list | tuple) else {value}
    if len(sides) != 1:
        raise ValueError(f"{name} is {value}, expected a square")
    return int(sides.pop())
