"""Which objects of a review a check lists, and why."""

from collections.abc import Mapping, Sequence

from semcorr.keypoints.base import Annotations
from semcorr.keypoints.check import Finding
from semcorr.review.objects import ReviewObject


def reasons_of(
    objects: Sequence[ReviewObject], annotations: Annotations, findings: Sequence[Finding]
) -> Mapping[int, Sequence[Finding]]:
    """What is listed about objects, the most suspicious first.

    What is listed about an image is about all its objects; what is about a category or the whole file, about none.

    Args:
        objects: The objects.
        annotations: What they are in.
        findings: What a check of the annotations lists.

    Returns:
        By the number of each object that anything is listed about.
    """
    listed: dict[tuple[str | None, int | None], list[Finding]] = {}
    for finding in findings:
        listed.setdefault((finding.file, finding.position), []).append(finding)
    reasons: dict[int, list[Finding]] = {}
    for one in objects:
        file = annotations.images[one.image].file
        own = [*listed.get((file, one.position), ()), *listed.get((file, None), ())]
        if own:
            reasons[one.number] = sorted(own, key=lambda finding: -finding.suspicion)
    return reasons
