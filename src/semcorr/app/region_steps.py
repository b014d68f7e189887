"""The steps that the page can take with the regions of a work."""

# ruff: noqa: ARG002  # all steps have one signature

from typing import Annotated

import numpy as np
from pydantic import Field, FiniteFloat

from semcorr.app import region_changes
from semcorr.app.images import original_size
from semcorr.app.limits import Limits
from semcorr.app.steps import Question, Step, in_held
from semcorr.app.workspace import Workspace
from semcorr.errors import PointError

_REGION = Annotated[int, Field(ge=0, le=255)]


class _Paint(Step):
    """A stroke of the brush: its corners and radius in pixels of the original image."""

    said = "stroke painted"
    region: _REGION
    radius: Annotated[FiniteFloat, Field(gt=0)]
    corners: Annotated[list[tuple[FiniteFloat, FiniteFloat]], Field(min_length=1)]

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        if len(self.corners) > limits.corners:
            raise PointError(f"Expected a stroke of at most {limits.corners} corners, got {len(self.corners)}.")
        corners = np.array([in_held(work.source, corner) for corner in self.corners])
        assert work.source is not None  # noqa: S101  # in_held made sure
        scale = max(work.source.size) / max(original_size(work.source))
        # A brush that is finer than the pixels paints the one that it is on.
        radius = max(self.radius * scale, 0.5**0.5)
        if radius > max(work.source.size):
            raise PointError(
                f"Expected a brush that is smaller than the image, got a radius of {self.radius:g} pixels."
            )
        return region_changes.paint(work, self.region, corners, radius, limits)


class _NameRegion(Step):
    said = "name changed"
    region: _REGION
    name: str

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        return region_changes.name_region(work, self.region, self.name)


class _DeleteRegion(Step):
    said = "region deleted"
    region: _REGION

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        return region_changes.delete_region(work, self.region)


class _ClearRegions(Step):
    said = "regions cleared"

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        return region_changes.clear_regions(work)

    def question(self, work: Workspace) -> Question | None:
        count = 0 if work.painting is None else len(work.painting.names)
        lost = f"{count} painted region{'s' * (count > 1)}{' and what was predicted of them' if work.regions else ''}"
        return Question(text=f"This removes your {lost}. Undo brings them back.", yes="Clear") if count else None


REGION_STEPS: dict[str, type[Step]] = {
    "paint": _Paint,
    "name-region": _NameRegion,
    "delete-region": _DeleteRegion,
    "clear-regions": _ClearRegions,
}
"""The steps by the last part of their address."""
