"""CVAT's own XML ("CVAT for images 1.1"): read, and written so that CVAT's importer takes it."""

from semcorr.keypoints.annotation_format import AnnotationFormat
from semcorr.keypoints.cvat.adopt import adopt
from semcorr.keypoints.cvat.correct import correct
from semcorr.keypoints.cvat.read import read
from semcorr.keypoints.cvat.write import write

FORMAT = AnnotationFormat(
    name="cvat",
    title="CVAT for images",
    suffix=".xml",
    read=read,
    write=write,
    correct=correct,
    adopt=adopt,
    needs_sizes=True,
)
