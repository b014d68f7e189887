"""Models of drawings: the bundled ones, and a transformer that is trained the same way."""

from dataclasses import replace

from semcorr.models.diffusion.families.pixart import PIXART_ALPHA
from semcorr.models.diffusion.families.stable_diffusion import SD1

TOY = replace(
    SD1,
    name="toy",
    title="toy, toy-plain (bundled)",
    marked=True,
    layers=("up/2", "up/1"),
    # The model is small: its embedding needs larger steps, and fewer of them.
    # Its frame has 36 crop positions in all: there is nothing to save by sharing some.
    prompt={
        "lr": 0.03,
        "steps": 30,
        "rounds": 3,
        "locate_crops": 6,
        "optimize_crops": None,
        "optimize_noise": "fresh",
    },
    discovery={"lr": 0.1, "steps": 200, "equivariance": 1.0},
    sources="Chosen on validation drawings of the toy world.",
    tested="the bundled models",
    trained=True,
)

TOY_TRANSFORMER = replace(
    TOY,
    name="toy-transformer",
    title="PixArt's transformer trained on drawings",
    network=PIXART_ALPHA.network,
    # Those that are trained with part masks: 2, 3 and 4 of 6 blocks.
    layers=("depth/40-80",),
    # Keys are not linear in the context, which a start in closed form needs.
    fast={"start": "random", "rounds": 3, "steps": 30},
    dift={"block": 3, "tap": "block/1:3.cross-query"},
    sources=(
        "Layers: those that are trained with part masks. DIFT reads the query of block 3's cross-attention, chosen on "
        "16 pairs of validation drawings of the toy world. The rest is taken over from toy."
    ),
    tested="the network that tools/toy_model trains; tests train a few steps",
)
