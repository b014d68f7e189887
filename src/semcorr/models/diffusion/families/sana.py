"""Sana and Sana-Sprint: linear self-attention, cross-attention, an autoencoder with 32 pixels a latent position."""

from dataclasses import replace

from semcorr.models.diffusion.families.family import DITF, Family, TextPart

SANA = Family(
    name="sana",
    title="Sana",
    network="SanaTransformer2DModel",
    vae="AutoencoderDC",
    traits={"guidance_embeds": False},
    layers=("depth/33-67",),
    text=(TextPart(tokenizer="tokenizer", encoder="text_encoder", kind="Gemma2Model", large=True),),
    padded=False,
    tokens=300,
    schedule={"num_train_timesteps": 1000, "prediction_type": "flow_prediction", "flow_shift": 3.0},
    float32_vae=True,
    # Keys are not linear in the context, which a start in closed form needs.
    fast={"start": "random", "rounds": 5, "steps": 60},
    dift={"block": 9, **DITF},
    sources=(
        "Context: diffusers' SanaPipeline, without the instruction that it puts before prompts. Shift: its "
        "publication. Layers, DIFT's block (the middle of 20) and steps: guesses, never measured with trained weights."
    ),
)

SANA_SPRINT = replace(
    SANA,
    name="sana-sprint",
    title="Sana-Sprint",
    traits={"guidance_embeds": True},
    schedule={"num_train_timesteps": 1000, "prediction_type": "flow_prediction"},
    sources=(
        "Context, time and guidance scale: diffusers' SanaSprintPipeline, without the instruction that it puts before "
        "prompts. The rest is taken over from Sana, never measured with trained weights."
    ),
)
