"""Label Studio: its JSON exports read, and predictions written that its importer takes into the same project.

Coordinates are percent of the image's width and height, continuous like this package's own frame.
"""

from semcorr.keypoints.label_studio.exports import is_export as is_export
from semcorr.keypoints.label_studio.reading import read as read
from semcorr.keypoints.label_studio.writing import labelling_config as labelling_config
from semcorr.keypoints.label_studio.writing import tasks as tasks
