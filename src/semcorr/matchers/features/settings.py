"""Settings of the methods that look for the nearest neighbour among features."""

import dataclasses
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from semcorr.errors import SettingsError
from semcorr.imaging.heatmaps import SOFT_WINDOW, Peak
from semcorr.imaging.mls import MlsKind
from semcorr.models.dino import Facet
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
            the parabola through it and its neighbours. ``"soft"``: the mean position under a softmax around it. See
            :func:`semcorr.imaging.heatmaps.refine_peak`. The confidence is the cosine there: of the pixel, or of the
            cell.
        window: Cells from the most similar one that ``"soft"`` takes in, each way.
        temperature: Of that softmax, in units of the cosine.
    """

    peak: Annotated[Peak, BeforeValidator(_as_before)] = "cell"
    window: Annotated[int, Field(ge=1)] = SOFT_WINDOW
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiftSettings(FeatureSettings):
    """DIFT: a diffusion network's decoder features (Tang et al., 2023, "Emergent Correspondence from Image Diffusion").

    Attributes:
        block: The decoder block whose output is read, counted from 0 at the bottom.
        t: The time step, of 0 to 999, whose noise is added.
        samples: Noise samples whose features are averaged.
        noise: ``"gaussian"``; or ``"none"`` for networks that were trained to take images as they are at any time
            step (CleanDIFT; Stracke et al., 2024).
        prompt: The prompt: what the image shows; None is a context of zeros, which needs no text encoder.
        resolution: Side in pixels of the square that an image is resized to; None is the model's own.
        seed: Start of every random draw.
    """

    block: Annotated[int, Field(ge=0)] = 1
    t: Annotated[int, Field(ge=0)] = 261
    samples: Annotated[int, Field(ge=1)] = 8
    noise: Literal["gaussian", "none"] = "gaussian"
    prompt: str | None = ""
    resolution: Annotated[int, Field(ge=8)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise == "none" and self.samples != 1:
            raise SettingsError(
                f"Setting 'samples': without noise all samples are the same, expected 1, got {self.samples}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiftBuddySettings(BuddySettings, DiftSettings):
    """Best buddies among DIFT's features: the settings of both."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DinoSettings(FeatureSettings):
    """DINO: a vision transformer's features.

    Attributes:
        layer: A block, counted from 0, or from the end with -1 for the last.
        facet: ``"token"``: what the block puts out; ``"key"``, ``"query"``, ``"value"``: the projections in its
            attention.
        norm: Whether the last block's tokens go through the network's final norm.
        resolution: The image's longer side in pixels, in its own proportions; None is the checkpoint's own.
    """

    layer: int = -1
    facet: Facet = "token"
    norm: bool = False
    resolution: Annotated[int, Field(ge=1)] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DinoBuddySettings(BuddySettings, DinoSettings):
    """Best buddies among DINO's features: the settings of both."""
