"""Settings of the training on a collection."""

import dataclasses
from typing import Annotated

from pydantic import Field

from semcorr.settings import Settings

_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CollectionSettings(Settings):
    """How a collection's network is trained.

    Attributes:
        grid: Cells along each side of the square map that every image's features are resampled to.
        dim: Principal components of the collection's features that the network reads.
        width: Channels of the network's layers.
        steps: Steps of Adam.
        learning_rate: Of the first step; it falls to 0 along a cosine.
        image_pairs: Pairs of images in a step.
        matches: Pseudo-correspondences that a step draws of each pair of images.
        temperature: Of the key-point loss, in canonical units: the grid's side is 2.
        keypoint_weight: Of the key-point loss (:func:`semcorr.matchers.collection.losses.keypoint_loss`).
        equivariance_weight: Of the equivariance loss.
        smoothness_weight: Of the total variation of the network's offsets.
        reconstruction_weight: Of the reconstruction loss.
        foreground: A cell belongs to the object where its share of mutual neighbours is at least this fraction of the
            image's largest. Given masks replace it.
        consistent: Neighbours of a pseudo-correspondence that have to be matched alike for it to count.
        seed: Start of every random draw.
    """

    grid: Annotated[int, Field(ge=8, le=128)] = 32
    dim: Annotated[int, Field(ge=2, le=1024)] = 32
    width: Annotated[int, Field(ge=4, le=512, multiple_of=4)] = 32
    steps: Annotated[int, Field(ge=1)] = 300
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3e-3
    image_pairs: Annotated[int, Field(ge=1)] = 3
    matches: Annotated[int, Field(ge=2)] = 256
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    keypoint_weight: _Weight = 1.0
    equivariance_weight: _Weight = 1.0
    smoothness_weight: _Weight = 0.4
    reconstruction_weight: _Weight = 0.0
    foreground: Annotated[float, Field(ge=0, le=1)] = 0.06
    consistent: Annotated[int, Field(ge=0, le=8)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
