"""Key-points on pictures: annotation formats, and carrying annotations over to pictures without any."""

from semcorr.annotations.base import AnnotatedPicture, Annotations, Category, Instance
from semcorr.annotations.formats import read_annotations
from semcorr.annotations.records import FoundObject, TransferRecord
from semcorr.annotations.transferrer import Transferred, transfer

__all__ = [
    "AnnotatedPicture",
    "Annotations",
    "Category",
    "FoundObject",
    "Instance",
    "TransferRecord",
    "Transferred",
    "read_annotations",
    "transfer",
]
