"""How well models do what they were trained for, on validation drawings, apart from any correspondence.

``python -m tools.toy_model.validation MODEL [MODEL ...] [--scenes 256] [--json FILE]``
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from semcorr.cli.console import say
from semcorr.models.diffusion import DiffusionModel
from tools.toy_model.networks import SPECIAL, vocabulary
from tools.toy_model.scene_cache import render_chunk
from tools.toy_model.unet import drop_colours

STEPS = tuple(range(50, 1000, 100))
"""Time steps of the diffusion loss: the middles of ten equal parts."""

ATTENTION_STEP = 140
"""Time step at which attention is read: DDIM's 8 of 50 from the clean end, as the paper's method reads it."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well a model does what it was trained for.

    Attributes:
        model: Its name.
        diffusion: Mean squared error of the predicted velocity, over scenes and time steps.
        inside: Share of a named part's attention that falls on the part, in the mean over parts and the layers that
            the family reads; captions without colours.
        part: Share of the drawing that such a part covers: what a flat map has inside.
        scenes: Number of scenes.
    """

    model: str
    diffusion: float
    inside: float
    part: float
    scenes: int


@torch.no_grad()
def quality(name: str, count: int, batch: int = 32) -> Quality:
    """Measure a model on the first ``count`` validation scenes; noise follows from the number of its batch alone."""
    model = DiffusionModel.from_pretrained(name, device="cpu")
    losses, shares, sizes = [], [], []
    for first in range(0, count, batch):
        scenes = render_chunk(("val", first, min(first + batch, count)))
        generator = torch.Generator().manual_seed(first)
        clean = model.encode(torch.from_numpy(scenes["images"]).permute(0, 3, 1, 2) / 255)
        noise = torch.randn(clean.shape, generator=generator)
        context = _contexts(model, torch.from_numpy(scenes["tokens"]).long())
        for t in STEPS:
            velocity = model.scheduler.get_velocity(clean, noise, torch.full((len(clean),), t))
            predicted = model.network.run(model.network.module, model.add_noise(clean, noise, t), t, context)
            losses.append(F.mse_loss(predicted, velocity).expand(len(clean)))
        tokens, phrases = drop_colours(scenes["tokens"], scenes["phrases"], 1.0, generator)
        maps = model.attention(
            model.add_noise(clean, noise, ATTENTION_STEP),
            ATTENTION_STEP,
            _contexts(model, tokens),
            model.select_layers(),
            tokens=range(tokens.shape[1]),
        )
        coverage = torch.from_numpy(scenes["coverage"]).float() / 255
        for attention in maps.values():
            inside, size = inside_parts(attention.mean(1), phrases, coverage)
            shares.append(inside)
            sizes.append(size)
    return Quality(
        model=Path(name).name,
        diffusion=round(float(torch.cat(losses).mean()), 4),
        inside=round(float(torch.cat(shares).mean()), 3),
        part=round(float(torch.cat(sizes).mean()), 3),
        scenes=count,
    )


def inside_parts(
    attention: Float[Tensor, "batch tokens _height _width"],
    phrases: Float[Tensor, "batch parts tokens"],
    coverage: Float[Tensor, "batch parts height width"],
) -> tuple[Float[Tensor, " _named"], Float[Tensor, " _named"]]:
    """Return the share of each named part's attention inside its mask, and the share of the drawing that it covers."""
    masks = F.interpolate(coverage, size=attention.shape[2:], mode="area")
    maps = torch.einsum("bthw,bpt->bphw", attention, phrases)
    named = (phrases.sum(-1) > 0) & (coverage.sum((-1, -2)) > 0.5)
    inside = (maps * masks).sum((-1, -2)) / maps.sum((-1, -2)).clamp_min(1e-6)
    return inside[named], masks.mean((-1, -2))[named]


def _contexts(model: DiffusionModel, tokens: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens dim"]:
    """Return the contexts of captions as token ids: the words are put together and taken apart again."""
    words = vocabulary()
    return model.encode_text([" ".join(words[i] for i in row if i >= len(SPECIAL)) for row in tokens.tolist()])


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure each model and print a line for each."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.toy_model.validation", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("models", nargs="+", help="bundled models, or folders that python -m tools.toy_model wrote")
    parser.add_argument("--scenes", type=int, default=256, help="%(default)s")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="a file for the figures")
    options = parser.parse_args(argv)
    rows = [quality(name, options.scenes) for name in options.models]
    for row in rows:
        say(
            f"{row.model}: diffusion loss {row.diffusion:.4f}; of a named part's attention {row.inside:.0%} is inside "
            f"the part, which covers {row.part:.0%} of the drawing ({row.scenes} scenes)"
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
