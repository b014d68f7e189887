"""YOLO-pose data sets, as Ultralytics trains on them: a data.yaml, folders of images, and a text file for each image.

A line is an object: its class, its box (centre, width and height) and x, y and mark of every key-point, as parts of the
image's width and height. They are continuous, like this package's own frame: 1 is the image's far edge.
"""

from semcorr.keypoints.annotation_format import AnnotationFormat
from semcorr.keypoints.yolo_pose.layout import FILE, further_files, is_data_set
from semcorr.keypoints.yolo_pose.read import read
from semcorr.keypoints.yolo_pose.write import notes, write

FORMAT = AnnotationFormat(
    name="yolo-pose",
    title="YOLO-pose",
    suffix=".yaml",
    read=read,
    write=write,
    opens=is_data_set,
    further_files=further_files,
    notes=notes,
    file_name=FILE,
    needs_sizes=True,
)
