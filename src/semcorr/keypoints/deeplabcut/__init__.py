"""DeepLabCut: the labels of a project read, and predictions written as a table that it takes.

Pixels are counted by their centres: DeepLabCut's labels are clicks in an image of matplotlib's or napari's, where the
centre of the first pixel is (0, 0). So half a pixel is added when they are read, as to COCO's, and taken away when they
are written.
"""

from semcorr.keypoints.annotation_format import AnnotationFormat
from semcorr.keypoints.deeplabcut.correct import correct
from semcorr.keypoints.deeplabcut.project import is_project_path
from semcorr.keypoints.deeplabcut.read import read
from semcorr.keypoints.deeplabcut.table import is_table
from semcorr.keypoints.deeplabcut.write import further_files, write

FORMAT = AnnotationFormat(
    name="deeplabcut",
    title="DeepLabCut",
    suffix=".csv",
    read=read,
    write=write,
    recognizes=is_table,
    opens=is_project_path,
    correct=correct,
    further_files=further_files,
)
