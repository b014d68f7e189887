"""Settings that methods share that look for the nearest neighbour among features."""

import dataclasses
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from semcorr.errors import SettingsError
from semcorr.imaging.heatmaps import SOFT_WINDOW, Peak
from semcorr.imaging.mls import MlsKind
from semcorr.settings import Settings


def _as_before(value: object) -> object:
    """Read what version 0.1 wrote."""
    return "cell" if value == "pixel" else value


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSettings(Settings):
    """What all of them share: how a heat map becomes a point.

    Attributes:
        peak: ``"cell"``: as published, the target's own pixel whose interpolated features are most similar (DIFT), or
            the middles of cells (best buddies). ``"parabola"``: the most similar cell, and along each axis the top of
            the parabola through it and its neighbours. ``"soft"``: the mean position under a softmax around it.
            ``"gaussian"``: the same under a softmax weighted by a Gaussian. See
            :func:`semcorr.imaging.heatmaps.refine_peak`. The confidence is the cosine there: of the pixel, or of the
            cell.
        window: Cells from the most similar one that ``"soft"`` takes in, each way; the Gaussian's standard deviation.
        temperature: Of that softmax, in units of the cosine.
        prior: ``"affine"`` raises similarities near where matches around the described points say that a point is
            (:mod:`semcorr.matchers.features.geometric_prior`). The peak is then sought among cells, and the width of
            ``"gaussian"`` follows from the points' extent.
        prior_weight: What it adds to a cosine at the expected position.
        turns: Views of the source that are compared, each turned by an equal angle; 1 is the image as it is. For
            objects that face any way, such as animals seen from above; it needs a prior. ``"auto"``: 8 in a transfer
            whose supports are turned against each other, else 1.
    """

    peak: Annotated[Peak, BeforeValidator(_as_before)] = "cell"
    window: Annotated[int, Field(ge=1)] = SOFT_WINDOW
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05
    prior: Literal["none", "affine"] = "none"
    prior_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.3
    turns: Literal["auto"] | Annotated[int, Field(ge=1, le=36)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.views > 1 and self.prior == "none":
            raise SettingsError(
                f"Setting 'turns': {self.turns} views need a prior to choose among them; set prior=affine."
            )

    @property
    def views(self) -> int:
        """How many views a source has."""
        return 1 if self.turns == "auto" else self.turns


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuddySettings(FeatureSettings):
    """Best buddies and what carries points between them.

    Attributes:
        levels: Of averaging, from coarse to fine; 1 matches the features as they are.
        radius: Cells by which a finer match may leave its coarser one.
        least: The cosine that a pair must have to count.
        mls: The map that is fitted around every point: "affine", "similarity" or "rigid".
        alpha: How fast a pair's weight falls with its distance from the point.
    """

    levels: Annotated[int, Field(ge=1, le=8)] = 2
    radius: Annotated[int, Field(ge=0)] = 1
    least: Annotated[float, Field(ge=-1, le=1)] = 0.0
    mls: MlsKind = "similarity"
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
