"""The frozen text-to-image network: load it, encode images, add noise, read its cross-attention."""

from semcorr.models.diffusion.families import FAMILIES, Family
from semcorr.models.diffusion.layers import CrossAttentionLayer, select_layers
from semcorr.models.diffusion.model import DiffusionModel
from semcorr.models.diffusion.prefix_cache import PrefixCache
from semcorr.models.diffusion.trimmed_unet import trimmed_unet

__all__ = [
    "FAMILIES",
    "CrossAttentionLayer",
    "DiffusionModel",
    "Family",
    "PrefixCache",
    "select_layers",
    "trimmed_unet",
]
