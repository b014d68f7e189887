"""Settings of finding regions."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from semcorr.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionSettings(Settings):
    """How regions are found; a method's own settings say what its features are, or how its attention is read.

    The values were chosen on validation drawings of the toy world (``python -m benchmarks.engine regions
    --split val``).

    Attributes:
        grid: Cells along the longer side to which features are resampled, by methods on them; the time grows with its
            fourth power.
        neighbours: Labelled cells, for each example, that a cell of the target takes its label from: the nearest by
            the cosine.
        temperature: Of the softmax by which they count, in units of the cosine.
        steps: Of the optimization of embeddings, by the method prompt.
        lr: Adam's learning rate in it.
        self_attention: The part of a cell's label that it takes over from what it attends to in its own image, by the
            method prompt; 0 leaves that out.
        spread_loss: How much the labels' shares, after every cell has taken over all that it attends to, count in the
            optimization's loss beside the shares themselves, by the method prompt; 0 leaves that out.
        refine: ``"guided"``: scores are enlarged to the image's pixels with its edges
            (:mod:`semcorr.imaging.guided_filter`). ``"none"``: bilinearly.
        radius: Of the guided filter's windows, in parts of the image's longer side.
        smoothness: Variance of colour, which is in [0, 1], below which a window is taken for flat.
    """

    grid: Annotated[int, Field(ge=1, le=512)] = 32
    neighbours: Annotated[int, Field(ge=1)] = 4
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.02
    steps: Annotated[int, Field(ge=1)] = 60
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.03
    self_attention: Annotated[float, Field(ge=0, le=1)] = 0.5
    spread_loss: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    refine: Literal["guided", "none"] = "guided"
    radius: Annotated[float, Field(gt=0, lt=0.5)] = 0.03
    smoothness: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
