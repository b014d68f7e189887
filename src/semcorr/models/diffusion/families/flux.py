"""FLUX.1 dev and schnell: joint attention, contexts of T5."""

from dataclasses import replace

from semcorr.models.diffusion.families.family import DITF, T5, Family

FLUX_DEV = Family(
    name="flux-dev",
    title="FLUX.1 dev",
    network="FluxTransformer2DModel",
    traits={"guidance_embeds": True},
    layers=("depth/45-55",),
    text=(replace(T5, tokenizer="tokenizer_2", encoder="text_encoder_2"),),
    tokens=512,
    schedule={
        "num_train_timesteps": 1000,
        "prediction_type": "flow_prediction",
        "use_dynamic_shifting": True,
        "base_shift": 0.5,
        "max_shift": 1.15,
        "base_image_seq_len": 256,
        "max_image_seq_len": 4096,
    },
    float32_vae=True,
    # Keys depend on the image, so that queries cannot be frozen.
    fast={"queries": "live", "start": "random", "rounds": 5, "steps": 60},
    dift={"block": 28, "t": 260, "resolution": 640, **DITF, "discard": (154, 1446)},
    sources=(
        "Context, shift and guidance scale: diffusers' FluxPipeline. DIFT: DiTF's block, time step, resolution, "
        "adaptive layer norm and channels. Layers (those around that block) and steps: guesses. Nothing was measured "
        "with trained weights."
    ),
)

FLUX_SCHNELL = replace(
    FLUX_DEV,
    name="flux-schnell",
    title="FLUX.1 schnell",
    traits={"guidance_embeds": False},
    tokens=256,
    schedule={"num_train_timesteps": 1000, "prediction_type": "flow_prediction", "shift": 1.0},
    dift={**FLUX_DEV.dift, "discard": "massive"},
    sources=(
        "Length of a context and shift: the published checkpoint. The rest, but for the channels, is taken over from "
        "FLUX.1 dev. Nothing was measured with trained weights."
    ),
)
