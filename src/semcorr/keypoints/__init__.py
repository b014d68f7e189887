"""Key-points on images: what an annotation file holds, and one file for each format."""

from semcorr.keypoints.base import AnnotatedPicture, Annotations, Category, Instance
from semcorr.keypoints.predictions import FoundObject, TransferRecord
from semcorr.keypoints.read import read_annotations

__all__ = [
    "AnnotatedPicture",
    "Annotations",
    "Category",
    "FoundObject",
    "Instance",
    "TransferRecord",
    "read_annotations",
]
