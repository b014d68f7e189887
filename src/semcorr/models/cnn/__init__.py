"""Frozen convolutional networks: load one, read what its blocks put out."""

from semcorr.models.cnn.model import BlockOutput, ConvolutionalModel

__all__ = ["BlockOutput", "ConvolutionalModel"]
