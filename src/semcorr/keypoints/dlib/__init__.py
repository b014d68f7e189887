"""dlib's data sets (the XML of imglab): read, and written so that dlib's own reader takes it.

dlib counts pixels by their centres, in whole numbers: a rectangle from left to right holds right - left + 1 columns. So
half a pixel is added to the parts of a box when they are read, as to COCO's key-points. A box's left, top, width and
height are edges in both frames.
"""

from semcorr.keypoints.annotation_format import AnnotationFormat
from semcorr.keypoints.dlib.correct import correct
from semcorr.keypoints.dlib.read import is_data_set, read
from semcorr.keypoints.dlib.write import write

FORMAT = AnnotationFormat(
    name="dlib", title="dlib", suffix=".xml", read=read, write=write, recognizes=is_data_set, correct=correct
)
