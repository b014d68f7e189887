"""COCO key-point files: one reader of their entries, and one writer."""

from semcorr.keypoints.coco.read import read as read
from semcorr.keypoints.coco.write import truth_document as truth_document
from semcorr.keypoints.coco.write import write as write
