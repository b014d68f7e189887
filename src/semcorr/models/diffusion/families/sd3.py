"""Stable Diffusion 3 and 3.5: joint attention, contexts of two CLIP encoders and T5."""

from dataclasses import replace

from semcorr.models.diffusion.families.family import CLIP, DITF, T5, Family

_CLIP = replace(CLIP, kind="CLIPTextModelWithProjection", tokens=77, hidden="penultimate")

SD3 = Family(
    name="sd3",
    title="Stable Diffusion 3.x",
    network="SD3Transformer2DModel",
    layers=("depth/33-67",),
    text=(
        _CLIP,
        replace(_CLIP, tokenizer="tokenizer_2", encoder="text_encoder_2"),
        replace(T5, tokenizer="tokenizer_3", encoder="text_encoder_3", tokens=256),
    ),
    tokens=77 + 256,
    schedule={"num_train_timesteps": 1000, "prediction_type": "flow_prediction", "shift": 3.0},
    float32_vae=True,
    # As many as CLIP's part alone, with which the network was trained too: every token costs a key in every block.
    prompt={"context_length": 77},
    # Keys depend on the image, so that queries cannot be frozen.
    fast={"queries": "live", "start": "random", "rounds": 5, "steps": 60},
    dift={"block": 11, **DITF},
    sources=(
        "Context: diffusers' StableDiffusion3Pipeline; T5's part may be left out (Esser et al., 2024). Shift: the "
        "published checkpoints. Layers, DIFT's block (the middle of 24) and steps: guesses, never measured with "
        "trained weights."
    ),
)
