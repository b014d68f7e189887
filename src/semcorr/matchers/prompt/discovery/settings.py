"""Settings of the discovery of key-points."""

import dataclasses
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from semcorr.errors import SettingsError
from semcorr.models.diffusion.families import FAMILIES
from semcorr.settings import Settings, override


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscoverySettings(Settings):
    """How tokens are optimized over images that have no labels; :func:`settings_for` has those of a model's family.

    The losses, and the defaults of ``lr``, ``equivariance``, ``steps`` and ``turn``, are those of StableKeypoints
    (Hedlin et al., "Unsupervised Keypoints from Pretrained Diffusion Models", arXiv 2312.00065, and its authors' code).

    Attributes:
        layers: Rules that select the layers (:meth:`semcorr.models.diffusion.DiffusionModel.select_layers`); None for
            the model's own.
        resolution: Side of the model frame in pixels; None for the model's own.
        step: Diffusion step of the noise, counted from the clean end.
        steps_of: How many such steps there are.
        views: Views of each image: itself, and others that are turned, resized, moved and, every other one, mirrored.
        turn: The largest turn of a view, in degrees.
        zoom: How much larger or smaller a view is, at most, as a fraction.
        shift: How far a view is moved, at most, as a fraction of half its side.
        mirror: Whether every other view is a mirror image.
        neutral: The context that queries are computed under: ``"empty"``, the empty prompt through the model's own text
            encoder, or ``"zeros"``.
        steps: Steps of the optimizer.
        batch: Images of a step.
        lr: Learning rate of Adam.
        equivariance: Weight of the equivariance loss; that of the localization loss is 1.
        sigma: Standard deviation of the Gaussian that a token's map should be, as a fraction of the side.
        candidates: From how many of the most local tokens each step, and the final choice, takes as many as points are
            requested, far from each other; as a multiple of that number.
        seed: Seed of all draws.
    """

    layers: tuple[str, ...] | None = None
    resolution: Annotated[int, Gt(0)] | None = None
    step: Annotated[int, Ge(1)] = 8
    steps_of: Annotated[int, Ge(1)] = 50
    views: Annotated[int, Ge(2)] = 6
    turn: Annotated[float, Ge(0), Le(180)] = 15.0
    zoom: Annotated[float, Ge(0), Le(0.5)] = 0.2
    shift: Annotated[float, Ge(0), Le(0.5)] = 0.1
    mirror: bool = True
    neutral: Literal["empty", "zeros"] = "empty"
    steps: Annotated[int, Ge(1)] = 500
    batch: Annotated[int, Ge(1)] = 6
    lr: Annotated[float, Gt(0)] = 0.005
    equivariance: Annotated[float, Ge(0)] = 10.0
    sigma: Annotated[float, Gt(0), Le(1)] = 0.06
    candidates: Annotated[float, Ge(1)] = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step > self.steps_of:
            raise SettingsError(f"Setting 'step': expected at most steps_of, {self.steps_of}, got {self.step}.")


def settings_for(family: str, **changes: object) -> DiscoverySettings:
    """Return the settings for models of a family (a name of ``FAMILIES``), some of them replaced.

    Raises:
        SettingsError: A setting is unknown, or a value does not fit.
    """
    return override(DiscoverySettings(), **{**FAMILIES[family].discovery, **changes})
