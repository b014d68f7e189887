"""PixArt-alpha and PixArt-Sigma: one transformer, contexts of different length."""

from dataclasses import replace

from semcorr.models.diffusion.families.family import DITF, T5, Family

PIXART_ALPHA = Family(
    name="pixart-alpha",
    title="PixArt-alpha",
    network="PixArtTransformer2DModel",
    pipelines=("PixArtAlphaPipeline",),
    layers=("depth/33-67",),
    text=(T5,),
    padded=False,
    tokens=120,
    schedule={
        "num_train_timesteps": 1000,
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "prediction_type": "epsilon",
    },
    # Keys are not linear in the context, which a start in closed form needs.
    fast={"start": "random", "rounds": 5, "steps": 60},
    dift={"block": 13, **DITF},
    sources=(
        "Context: diffusers' PixArtAlphaPipeline. Layers, DIFT's block (the middle of 28) and steps: guesses, never "
        "measured with trained weights."
    ),
)

PIXART_SIGMA = replace(
    PIXART_ALPHA,
    name="pixart-sigma",
    title="PixArt-Sigma",
    pipelines=("PixArtSigmaPipeline",),
    tokens=300,
    sources=PIXART_ALPHA.sources.replace("PixArtAlpha", "PixArtSigma"),
)
