"""FLUX.2 dev and klein: joint attention, contexts of three layers of a language model."""

from dataclasses import replace

from semcorr.models.diffusion.families.family import DITF, Chat, Family, TextPart


def shift(positions: int, steps: int) -> float:
    """Return the logarithm of the shift of time, as diffusers' ``compute_empirical_mu`` has it.

    Linear in the number of positions for 10 and for 200 steps, and linear between these; many positions have that of
    200 steps.
    """
    at_10, at_200 = 8.73809524e-05 * positions + 1.89833333, 0.00016927 * positions + 0.45666666
    return at_200 if positions > 4300 else at_200 + (steps - 200) / 190 * (at_200 - at_10)


FLUX2_DEV = Family(
    name="flux2-dev",
    title="FLUX.2 dev",
    network="Flux2Transformer2DModel",
    vae="AutoencoderKLFlux2",
    traits={"guidance_embeds": True},
    layers=("depth/45-55",),
    text=(
        TextPart(
            tokenizer="tokenizer",
            encoder="text_encoder",
            kind="Mistral3Model",
            hidden=(10, 20, 30),
            large=True,
            chat=Chat(system="diffusers.pipelines.flux2.system_messages:SYSTEM_MESSAGE", listed=True),
            masked=True,
        ),
    ),
    tokens=512,
    schedule={
        "num_train_timesteps": 1000,
        "prediction_type": "flow_prediction",
        "use_dynamic_shifting": True,
    },
    shift=shift,
    float32_vae=True,
    # Keys depend on the image, so that queries cannot be frozen.
    fast={"queries": "live", "start": "random", "rounds": 5, "steps": 60},
    dift={"block": 28, **DITF},
    sources=(
        "Context, shift and guidance scale: diffusers' Flux2Pipeline. Layers, DIFT's block (the middle of 56) and "
        "steps: guesses, never measured with trained weights."
    ),
)

FLUX2_KLEIN = replace(
    FLUX2_DEV,
    name="flux2-klein",
    title="FLUX.2 klein",
    traits={"guidance_embeds": False},
    text=(
        replace(
            FLUX2_DEV.text[0],
            kind="Qwen3Model",
            hidden=(9, 18, 27),
            chat=Chat(marked=True, options={"add_generation_prompt": True, "enable_thinking": False}),
        ),
    ),
    dift={"block": 12, **DITF},
    sources=(
        "Context and shift: diffusers' Flux2KleinPipeline. Layers, DIFT's block (the middle of the smaller network's "
        "25) and steps: guesses, never measured with trained weights."
    ),
)
