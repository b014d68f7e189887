"""Hunyuan-DiT: contexts of two text encoders, padded with vectors of the network's own."""

from semcorr.models.diffusion.families.family import DITF, Family, TextPart

HUNYUAN_DIT = Family(
    name="hunyuan-dit",
    title="Hunyuan-DiT",
    network="HunyuanDiT2DModel",
    layers=("depth/33-67",),
    text=(
        TextPart(tokenizer="tokenizer", encoder="text_encoder", kind="BertModel", tokens=77),
        TextPart(tokenizer="tokenizer_2", encoder="text_encoder_2", kind="T5EncoderModel", tokens=256, large=True),
    ),
    padded=False,
    tokens=77 + 256,
    schedule={
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.03,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
    },
    # Keys are not linear in the context, which a start in closed form needs.
    fast={"start": "random", "rounds": 5, "steps": 60},
    dift={"block": 19, **DITF},
    sources=(
        "Context: diffusers' HunyuanDiTPipeline. Layers, DIFT's block (the middle of 40) and steps: guesses, never "
        "measured with trained weights."
    ),
)
