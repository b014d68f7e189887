"""Stable Diffusion 1.x, 2.x and SDXL."""

from dataclasses import replace

from semcorr.models.diffusion.families.family import CLIP, RANDOM, Family, TextPart

SD1 = Family(
    name="sd1",
    title="Stable Diffusion 1.x",
    # The paper's layers 7-10 of 16 (5-8 when only those with at most 32x32 queries are counted).
    layers=("up/4", "up/2:0"),
    schedule={
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
    },
    sources="Layers: Hedlin et al., 2023, section 3.3. DIFT: taken over from Stable Diffusion 2.1.",
    tested=f"{RANDOM}; recorded runs of the paper's code on one of them",
)

SD2 = replace(
    SD1,
    name="sd2",
    title="Stable Diffusion 2.x",
    dift={"resolution": 768},
    sources="Layers: by analogy with Stable Diffusion 1.x. DIFT: Tang et al., 2023, for 2.1 at 768 pixels.",
    tested=RANDOM,
)

SDXL = replace(
    SD1,
    name="sdxl",
    title="SDXL (base)",
    text=(
        replace(CLIP, hidden="penultimate"),
        TextPart(
            tokenizer="tokenizer_2",
            encoder="text_encoder_2",
            kind="CLIPTextModelWithProjection",
            hidden="penultimate",
        ),
    ),
    float32_vae=True,
    sources="Layers: the same positions in the U-Net, 31 maps; not measured on photographs. DIFT: taken over.",
    tested=RANDOM,
)
