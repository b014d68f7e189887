"""Settings of finding regions."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from semcorr.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionSettings(Settings):
    """How regions are found; a method's own settings say what its features are.

    The values were chosen on validation drawings of the toy world (``python -m benchmarks.engine regions
    --split val``).

    Attributes:
        grid: Cells along the longer side to which features are resampled; the time grows with its fourth power.
        neighbours: Labelled cells, for each example, that a cell of the target takes its label from: the nearest by
            the cosine.
        temperature: Of the softmax by which they count, in units of the cosine.
        refine: ``"guided"``: scores are enlarged to the image's pixels with its edges
            (:mod:`semcorr.imaging.guided_filter`). ``"none"``: bilinearly.
        radius: Of the guided filter's windows, in parts of the image's longer side.
        smoothness: Variance of colour, which is in [0, 1], below which a window is taken for flat.
    """

    grid: Annotated[int, Field(ge=1, le=512)] = 32
    neighbours: Annotated[int, Field(ge=1)] = 4
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.02
    refine: Literal["guided", "none"] = "guided"
    radius: Annotated[float, Field(gt=0, lt=0.5)] = 0.03
    smoothness: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
