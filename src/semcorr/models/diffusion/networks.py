"""The class here that wraps each class of networks of diffusers."""

from collections.abc import Mapping
from typing import Any

from semcorr.models.diffusion.cross_attention_transformers import HunyuanDiT, PixArt, Sana
from semcorr.models.diffusion.joint_transformers import Flux, Flux2, Lumina2, StableDiffusion3
from semcorr.models.diffusion.network import DenoisingNetwork
from semcorr.models.diffusion.unet import UNet

_NETWORKS: Mapping[str, type[DenoisingNetwork]] = {
    "UNet2DConditionModel": UNet,
    "PixArtTransformer2DModel": PixArt,
    "SanaTransformer2DModel": Sana,
    "HunyuanDiT2DModel": HunyuanDiT,
    "SD3Transformer2DModel": StableDiffusion3,
    "FluxTransformer2DModel": Flux,
    "Flux2Transformer2DModel": Flux2,
    "Lumina2Transformer2DModel": Lumina2,
}


def network_class(module: Any) -> type[DenoisingNetwork]:
    """Return the class that wraps a network of diffusers."""
    return network_class_of(type(module).__name__)


def network_class_of(name: str) -> type[DenoisingNetwork]:
    """Do the same for the name of its class."""
    return _NETWORKS[name]
