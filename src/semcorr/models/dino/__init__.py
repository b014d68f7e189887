"""The frozen vision transformer: load it, read its features."""

from semcorr.models.dino.layers import Facet
from semcorr.models.dino.model import VisionModel

__all__ = ["Facet", "VisionModel"]
