"""What a trainer would trip over in annotations: a list, the most suspicious first."""

from semcorr.keypoints.check.check import Report, check_annotations
from semcorr.keypoints.check.finding import Finding

__all__ = ["Finding", "Report", "check_annotations"]
