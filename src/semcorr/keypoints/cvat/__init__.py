"""CVAT's own XML ("CVAT for images 1.1"): read, and written so that CVAT's importer takes it."""

from semcorr.keypoints.cvat.read import read as read
from semcorr.keypoints.cvat.write import write as write
