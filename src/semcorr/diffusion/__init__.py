"""The frozen text-to-image network: load it, encode images, add noise, read its cross-attention."""

from semcorr.diffusion.checkpoint import BUNDLED
from semcorr.diffusion.layers import DEFAULT_LAYERS, CrossAttentionLayer, select_layers
from semcorr.diffusion.model import DiffusionModel
from semcorr.diffusion.prefix import PrefixMemory
from semcorr.diffusion.trim import trimmed_unet

__all__ = [
    "BUNDLED",
    "DEFAULT_LAYERS",
    "CrossAttentionLayer",
    "DiffusionModel",
    "PrefixMemory",
    "select_layers",
    "trimmed_unet",
]
