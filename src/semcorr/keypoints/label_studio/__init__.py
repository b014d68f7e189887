"""Label Studio: its JSON exports read, and predictions written that its importer takes into the same project.

Coordinates are percent of the image's width and height, continuous like this package's own frame.
"""

from semcorr.keypoints.annotation_format import AnnotationFormat
from semcorr.keypoints.label_studio.adopt import adopt
from semcorr.keypoints.label_studio.config import path_beside
from semcorr.keypoints.label_studio.correct import correct
from semcorr.keypoints.label_studio.read import read
from semcorr.keypoints.label_studio.tasks import is_export
from semcorr.keypoints.label_studio.write import labelling_config as labelling_config
from semcorr.keypoints.label_studio.write import tasks as tasks
from semcorr.keypoints.label_studio.write import write

FORMAT = AnnotationFormat(
    name="label-studio",
    title="Label Studio",
    suffix=".json",
    read=read,
    write=write,
    recognizes=is_export,
    correct=correct,
    further_files=lambda path, _: [path_beside(path)],
    adopt=adopt,
    needs_sizes=True,
)
