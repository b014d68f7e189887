"""Key-points on images: what an annotation file holds, and one file for each format."""

from semcorr.keypoints.base import AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.keypoints.read import read_annotations

__all__ = [
    "AnnotatedImage",
    "Annotations",
    "Category",
    "Instance",
    "PredictedObject",
    "TransferRecord",
    "read_annotations",
]
