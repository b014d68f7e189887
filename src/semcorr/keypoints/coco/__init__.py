"""COCO key-point files: one reader of their entries, and one writer."""

from semcorr.keypoints.annotation_format import AnnotationFormat
from semcorr.keypoints.coco.read import read
from semcorr.keypoints.coco.write import build_document as build_document
from semcorr.keypoints.coco.write import correct, write

FORMAT = AnnotationFormat(
    name="coco", title="COCO", suffix=".json", read=read, write=write, correct=correct, needs_sizes=True
)
