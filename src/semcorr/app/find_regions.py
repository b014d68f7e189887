"""The heavy work of *Find* for regions: describe them, and locate them in the targets where they are missing."""

from semcorr.app.find import LabelledProgress
from semcorr.app.painting import DescribedRegions, Labels, Painting, TargetRegions
from semcorr.app.workspace import RegionResult, Workspace
from semcorr.errors import ImageError, PointError
from semcorr.matchers.base import Matcher
from semcorr.progress import Progress


def check_regions_ready(work: Workspace, label: str) -> Painting:
    """Check that a run has all it needs, and something to find; return the regions.

    Args:
        work: The workspace.
        label: The method and preset to find with.

    Raises:
        ImageError: There is no source, or no target.
        PointError: Nothing is painted, or all is one region, or nothing is left to find.
    """
    if work.source is None:
        raise ImageError("First send a source image, or load an example.")
    if work.painting is None or not work.painting.painted:
        raise PointError("First paint a region on the source image.")
    if len(work.painting.labels.pixels) == 1:
        raise PointError(
            "The region covers all of the source, so that nothing tells it from the rest. Erase what does not belong "
            "to it, or paint the rest as another region."
        )
    if not work.targets:
        raise ImageError("First send at least one target image, or load an example.")
    if not work.targets_without_regions(label):
        raise PointError(
            f"Nothing is left to find with {label}: the regions were searched for in every target. Paint, add a "
            "target, or choose another method."
        )
    return work.painting


def find_regions(matcher: Matcher, work: Workspace, label: str, progress: Progress) -> RegionResult:
    """Describe the regions if they were painted anew, and locate them in the targets that have none of this method's.

    Raises:
        SemcorrError: As the method does.
    """
    painting = check_regions_ready(work, label)
    assert work.source is not None  # noqa: S101  # check_regions_ready made sure
    described, painted = work.described_regions, painting.labels.sha256
    if described is None or (described.made_with, described.painted) != (label, painted):
        query = matcher.describe_regions(work.source, painting.label_map(), progress=progress)
        described = DescribedRegions(query=query, made_with=label, painted=painted)
    missing, regions = work.targets_without_regions(label), dict[int, TargetRegions]()
    warnings = [*described.query.warnings]
    for number, target in enumerate(missing, start=1):
        in_target = LabelledProgress(progress, f"target {number} of {len(missing)}")
        image = work.targets[work.target_ids.index(target)]
        one = matcher.locate_regions(described.query, image, progress=in_target)
        regions[target] = TargetRegions(
            labels=Labels.of(one.labels), confidence=one.confidence, made_with=label, painted=painted
        )
        warnings += one.warnings
    return RegionResult(
        start=work, label=label, described=described, regions=regions, warnings=tuple(dict.fromkeys(warnings))
    )
