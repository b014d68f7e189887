"""The bundled models of drawings."""

from dataclasses import replace

from semcorr.models.diffusion.families.stable_diffusion import SD1

TOY = replace(
    SD1,
    name="toy",
    title="toy, toy-plain (bundled)",
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
