"""Frozen convolutional networks: load one, read what its blocks put out."""

from semcorr.models.cnn.model import ConvolutionalModel

__all__ = ["ConvolutionalModel"]
