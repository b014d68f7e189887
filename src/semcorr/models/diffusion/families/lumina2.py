"""Lumina-Image 2.0: joint attention in one stream, contexts of Gemma 2."""

from semcorr.models.diffusion.families.family import DITF, Family, TextPart

LUMINA2 = Family(
    name="lumina2",
    title="Lumina-Image 2.0",
    network="Lumina2Transformer2DModel",
    layers=("depth/33-67",),
    text=(
        TextPart(tokenizer="tokenizer", encoder="text_encoder", kind="Gemma2Model", hidden="penultimate", large=True),
    ),
    padded=False,
    tokens=256,
    schedule={"num_train_timesteps": 1000, "prediction_type": "flow_prediction", "shift": 6.0},
    float32_vae=True,
    # Keys depend on the image, so that queries cannot be frozen.
    fast={"queries": "live", "start": "random", "rounds": 5, "steps": 60},
    dift={"block": 12, **DITF},
    sources=(
        "Context: diffusers' Lumina2Pipeline, without the instruction that it puts before prompts. Shift, where a "
        "checkpoint has no scheduler, layers, DIFT's block (the middle of 26) and steps: guesses, never measured with "
        "trained weights."
    ),
)
