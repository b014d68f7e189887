"""All settings of the prompt method in one frozen object, with checked values.

A difference between the paper and its authors' code is never a hidden constant: it is a setting with two named values,
and the presets (:mod:`semcorr.matchers.prompt.presets`) choose between them.
"""

import dataclasses
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from semcorr.errors import SettingsError
from semcorr.imaging.heatmaps import Peak
from semcorr.settings import Settings

HeadChoice = Literal["all", "upper_half"] | tuple[Annotated[int, Field(ge=0)], ...]


def _split_words(value: object) -> object:
    """Let a command line write a list as words: ``"up/4 up/2:0"``."""
    return tuple(value.split()) if isinstance(value, str) else value


def _split_numbers(value: object) -> object:
    """Let a command line write head numbers as ``"4,5,6,7"``; the named choices pass through."""
    if isinstance(value, str) and value[:1].isdigit():
        return tuple(value.replace(",", " ").split())
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptSettings(Settings):
    """The complete settings of the prompt method.

    Attributes:
        layers: Cross-attention layers that are read, as names or rules (``"up/4"``; see
            :meth:`semcorr.models.diffusion.DiffusionModel.select_layers`). Paper section 3.3, "multi-scale attention".
        rounds: Embeddings for each point, each optimized from its own random start. Paper section 3.3.
        steps: Adam steps a round.
        lr: Adam's learning rate. It belongs to the pair of model and preset, not to the method.
        token: The context position whose attention is read, counted from 0.
        heads: Attention heads that are averaged: ``"all"`` (paper), ``"upper_half"`` (the authors' code keeps the
            second half of every layer's heads), or their numbers from 0.
        sigma: Standard deviation of the target Gaussian, as a fraction of the model frame's side.
        pixel_centre: Position of a pixel's centre within it: 0.5 is the continuous frame, 0.0 the authors' integer
            grid. It concerns the target Gaussian alone.
        loss: ``"mean_map"`` compares the mean over layers with one Gaussian (paper); ``"per_layer"`` averages one
            comparison for each layer (authors' code).
        fusion: ``"mean"`` averages layers (paper); ``"softmax"`` takes a softmax over the pixels of each layer's map
            first (authors' code).
        noise: Distribution of the noise that is added to a latent: ``"gaussian"`` (paper) or ``"uniform"`` in [0, 1)
            (authors' code).
        optimize_step: Diffusion step of the optimization, counted from the clean end of ``steps_of`` steps.
        locate_step: The same while locating; the authors' code uses 3 whatever ``optimize_step`` is.
        steps_of: Number of steps that the two above are counted in.
        queries: The image's side of the attention. ``"live"``: computed at every step, under the embedding that is
            optimized (paper). ``"frozen"``: computed once a crop, under the context ``neutral``, so that no further
            step, point or embedding takes a pass of the network.
        neutral: The context that frozen queries are computed under: ``"empty"``, the empty prompt through the model's
            own text encoder, or ``"zeros"``.
        context_length: Positions of the context that are optimized and compete in the attention; ``None`` is the
            model's own number (77).
        start: Where an embedding starts: ``"random"`` (paper); or ``"least_squares"``, where the token that is read is
            computed in closed form from frozen queries, the others being random.
        optimize_crops: Crops of the source image that are drawn once and shared by all its points and rounds; ``None``
            draws a fresh one at every step. Frozen queries need a number: the corners first, then anywhere.
        optimize_noise: ``"fresh"`` draws noise at every step (paper); ``"shared"`` draws it once for each shared crop,
            so that the network up to its first cross-attention also runs once for each. With frozen queries it is
            always shared.
        optimize_crop: Side of the crops of the optimization, as a fraction of the frame's side; 1 is no cropping.
        locate_crop: The same while locating; at least 0.5, so that the four corner crops cover the frame.
        locate_crops: Crops averaged while locating: the four corners, then around the running peak.
        crop_margin: Distance between the point and the crop's edge where the image allows it, as a fraction of the
            crop's side. 0 allows the point anywhere inside.
        peak: How the heat map becomes a point: ``"cell"``, the middle of its largest pixel (paper and authors' code);
            ``"parabola"`` or ``"soft"``, finer than a cell of the attention
            (:func:`semcorr.imaging.heatmaps.find_peak`). The confidence is the same with all.
        resolution: Side of the model frame in pixels; ``None`` is the model's own.
        seed: Seed of every random draw.
    """

    layers: Annotated[tuple[str, ...], BeforeValidator(_split_words), Field(min_length=1)]
    rounds: Annotated[int, Field(ge=1)] = 5
    steps: Annotated[int, Field(ge=1)] = 129
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.3755632081200314e-3
    token: Annotated[int, Field(ge=0)] = 1
    heads: Annotated[HeadChoice, BeforeValidator(_split_numbers)] = "all"
    sigma: Annotated[float, Field(gt=0, le=1)] = 27.97853316316864 / 512
    pixel_centre: Annotated[float, Field(ge=0, lt=1)] = 0.5
    loss: Literal["mean_map", "per_layer"] = "mean_map"
    fusion: Literal["mean", "softmax"] = "mean"
    noise: Literal["gaussian", "uniform"] = "gaussian"
    optimize_step: Annotated[int, Field(ge=1)] = 8
    locate_step: Annotated[int, Field(ge=1)] = 8
    steps_of: Annotated[int, Field(ge=1, le=1000)] = 50
    queries: Literal["live", "frozen"] = "live"
    neutral: Literal["empty", "zeros"] = "empty"
    context_length: Annotated[int, Field(ge=2)] | None = None
    start: Literal["random", "least_squares"] = "random"
    optimize_crops: Annotated[int, Field(ge=1)] | None = None
    optimize_noise: Literal["fresh", "shared"] = "fresh"
    optimize_crop: Annotated[float, Field(ge=0.1, le=1)] = 0.9316549294381423
    locate_crop: Annotated[float, Field(ge=0.5, le=1)] = 0.9316549294381423
    locate_crops: Annotated[int, Field(ge=1)] = 20
    crop_margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    peak: Peak = "cell"
    resolution: Annotated[int, Field(ge=8)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("optimize_step", "locate_step"):
            if getattr(self, name) > self.steps_of:
                raise SettingsError(
                    f"Setting {name!r}: expected at most steps_of = {self.steps_of}, got {getattr(self, name)}."
                )
        if self.locate_crop < 1 and self.locate_crops < 4:
            raise SettingsError(
                f"Setting 'locate_crops': expected at least 4, since the four corner crops must cover the image, "
                f"got {self.locate_crops}. Raise it, or set locate_crop to 1 to read the whole image."
            )
        if self.queries == "live" and self.optimize_noise == "shared" and self.optimize_crops is None:
            raise SettingsError(
                "Setting 'optimize_noise': shared noise belongs to shared crops. Set optimize_crops to a number, or "
                "optimize_noise=fresh."
            )
        if self.start == "least_squares" and self.queries != "frozen":
            raise SettingsError(
                "Setting 'start': least_squares needs frozen queries. Set queries=frozen or start=random."
            )
        if self.queries == "frozen" and (self.optimize_crops or 0) < (1 if self.optimize_crop == 1 else 4):
            raise SettingsError(
                "Setting 'optimize_crops': frozen queries need at least 4, since the four corner crops must cover the "
                f"image (1 if optimize_crop is 1), got {self.optimize_crops}."
            )
