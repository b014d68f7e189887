"""DIFT's settings."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from semcorr.errors import SettingsError
from semcorr.matchers.features.settings import FeatureSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiftSettings(FeatureSettings):
    """DIFT: a diffusion network's decoder features (Tang et al., 2023, "Emergent Correspondence from Image Diffusion").

    Attributes:
        block: The block whose output is read, counted from 0: of a U-Net's decoder from the bottom, of a transformer.
        tap: What is read instead of a block, by a name that ``semcorr layers`` lists ("up/2:0.query").
        adaptive_norm: Whether of a transformer's ``block`` not the output is read, but the input through the block's
            adaptive layer norm (DiTF; Gan et al., 2025).
        discard: Channels of hidden states that are set to zero, before a norm: ``"none"``; ``"massive"``, those whose
            mean magnitude is above 10 times the median channel's; or their numbers. Queries, keys and values keep all.
        t: The time step, of 0 to 999, whose noise is added.
        samples: Noise samples whose features are averaged.
        noise: ``"gaussian"``; or ``"none"`` for networks that were trained to take images as they are at any time
            step (CleanDIFT; Stracke et al., 2024).
        prompt: The prompt: what the image shows; None is a context of zeros, which needs no text encoder.
        resolution: Side in pixels of the square that an image is resized to; None is the model's own.
        seed: Start of every random draw.
    """

    added = frozenset({"tap", "adaptive_norm", "discard"})

    block: Annotated[int, Field(ge=0)] = 1
    tap: str | None = None
    adaptive_norm: bool = False
    discard: Literal["none", "massive"] | tuple[Annotated[int, Field(ge=0)], ...] = "none"
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
