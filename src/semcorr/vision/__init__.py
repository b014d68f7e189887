"""The frozen vision transformer: load it, read its features."""

from semcorr.vision.layers import Facet
from semcorr.vision.model import VisionModel

__all__ = ["Facet", "VisionModel"]
