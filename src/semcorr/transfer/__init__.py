"""Annotation transfer: key-points of a few annotated images, carried over to images without any."""

from semcorr.transfer.run import Transferred, transfer_annotations

__all__ = ["Transferred", "transfer_annotations"]
