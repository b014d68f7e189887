"""What whole transformers of diffusers compute, caught on the way: independent of how views are cut and read."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from diffusers import Flux2Pipeline, FluxPipeline
from diffusers.models.embeddings import get_2d_rotary_pos_embed
from torch import Tensor

from closeness import assert_close_to_scale
from models.diffusion.transformer_networks import JOINT
from semcorr.models.diffusion import DiffusionModel

T = 140
"""The time step of all tests."""


def blocks_of(model: DiffusionModel) -> list[Any]:
    """All blocks in the order in which they run."""
    module = model.network.module
    lists = ("blocks", "transformer_blocks", "single_transformer_blocks", "layers")
    return [block for name in lists for block in getattr(module, name, ())]


def conditions(model: DiffusionModel, noisy: Tensor, context: Tensor) -> dict[str, Any]:
    """What each pipeline of diffusers passes for an image that is not cropped, and a prompt without padding.

    Pooled text is zeros.
    """
    rows = len(noisy)
    time = torch.full((rows,), T)
    plain = {"hidden_states": noisy, "timestep": time, "encoder_hidden_states": context}
    if model.family.startswith("pixart"):
        return plain | {
            "encoder_attention_mask": torch.ones(context.shape[:2]).to(context),
            "added_cond_kwargs": _sizes(noisy) if model.family == "pixart-alpha" else {},
        }
    if model.family == "hunyuan-dit":
        return plain | _hunyuan(noisy, context)
    if model.family == "sd3":
        return plain | {"pooled_projections": torch.zeros(rows, 8).to(noisy)}
    if model.family == "sana-sprint":
        own = {"timestep": time / 1000, "guidance": torch.full((rows,), 4.5 * 0.1).to(noisy)}
        return plain | own | {"encoder_attention_mask": torch.ones(context.shape[:2]).to(context)}
    if model.family == "lumina2":
        mask = torch.ones(context.shape[:2], dtype=torch.int64)
        return plain | {"timestep": 1 - time / 1000, "encoder_attention_mask": mask}
    if model.family.startswith("flux2"):
        return plain | _flux2(model, noisy, context)
    if model.family.startswith("flux"):
        return plain | _flux(model, noisy, context)
    return plain | {"encoder_attention_mask": torch.ones(context.shape[:2]).to(context)}


def _sizes(noisy: Tensor) -> dict[str, Tensor]:
    height, width = 4 * noisy.shape[2], 4 * noisy.shape[3]
    return {
        "resolution": torch.tensor([[height, width]] * len(noisy)).to(noisy),
        "aspect_ratio": torch.tensor([[height / width]] * len(noisy)).to(noisy),
    }


def _hunyuan(noisy: Tensor, context: Tensor) -> dict[str, Any]:
    """The context as the first encoder's 77 tokens and then a text whose projection is replaced."""
    rows, height, width = len(noisy), 4 * noisy.shape[2], 4 * noisy.shape[3]
    grid = (noisy.shape[2] // 2, noisy.shape[3] // 2)
    # What the pipeline computes: the whole base of 64 patches for squares; of it the middle for 1 to 3.
    region = {(4, 12): ((22, 0), (43, 64))}.get(grid, ((0, 0), (64, 64)))
    return {
        "timestep": torch.full((rows,), T).to(noisy),
        "encoder_hidden_states": context[:, :77],
        "text_embedding_mask": torch.ones(rows, 77),
        "encoder_hidden_states_t5": torch.zeros(rows, 256, 16).to(noisy),
        "text_embedding_mask_t5": torch.zeros(rows, 256),
        "image_meta_size": torch.tensor([[height, width, height, width, 0, 0]] * rows).to(noisy),
        "style": torch.zeros(rows, dtype=torch.int64),
        "image_rotary_emb": get_2d_rotary_pos_embed(8, region, grid, output_type="pt"),
    }


def _flux(model: DiffusionModel, noisy: Tensor, context: Tensor) -> dict[str, Any]:
    rows, channels, height, width = noisy.shape
    return {
        "hidden_states": FluxPipeline._pack_latents(noisy, rows, channels, height, width),
        "timestep": torch.full((rows,), T) / 1000,
        "pooled_projections": torch.zeros(rows, 8).to(noisy),
        "txt_ids": torch.zeros(context.shape[1], 3),
        "img_ids": FluxPipeline._prepare_latent_image_ids(rows, height // 2, width // 2, "cpu", noisy.dtype),
        "guidance": torch.full((rows,), 3.5).to(noisy) if model.family == "flux-dev" else None,
    }


def _flux2(model: DiffusionModel, noisy: Tensor, context: Tensor) -> dict[str, Any]:
    squares = Flux2Pipeline._patchify_latents(noisy)
    return {
        "hidden_states": Flux2Pipeline._pack_latents(squares),
        "timestep": torch.full((len(noisy),), T) / 1000,
        "txt_ids": Flux2Pipeline._prepare_text_ids(context),
        "img_ids": Flux2Pipeline._prepare_latent_ids(squares),
        "guidance": torch.full((len(noisy),), 4.0).to(noisy) if model.family == "flux2-dev" else None,
    }


def whole_network(model: DiffusionModel, noisy: Tensor, context: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Each block's attention of image to text (batch, heads, queries, tokens), and its output, from one whole pass.

    A stand-in for the softmax and product of torch sees what every processor passes to it.
    """
    maps: list[Tensor] = []
    outputs: list[Tensor] = []
    plain = torch.nn.functional.scaled_dot_product_attention
    inside: list[bool] = []
    positions = noisy.shape[2] * noisy.shape[3] // model.network.patch_size**2

    def seen(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **options: Any) -> Tensor:
        if inside:
            logits = torch.einsum("bhqd,bhtd->bhqt", query.double(), key.double()) / query.shape[-1] ** 0.5
            both = torch.exp(logits - torch.logsumexp(logits, dim=-1, keepdim=True))
            if model.family == "sd3":  # the image before the text
                both = both[:, :, :positions, positions:]
            elif model.family in JOINT:
                both = both[:, :, -positions:, :-positions]
            maps.append(both)
        return plain(query, key, value, *rest, **options)

    def output(_module: Any, _inputs: Any, result: Any) -> None:
        outputs.append(result[1] if isinstance(result, tuple) else result)  # the text comes first

    hooks = []
    for block in blocks_of(model):
        attention = block.attn if model.family in JOINT else block.attn2
        hooks.append(attention.register_forward_pre_hook(lambda *_: inside.append(True)))
        hooks.append(attention.register_forward_hook(lambda *_: inside.clear()))
        hooks.append(block.register_forward_hook(output))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", seen)
        try:
            model.network.module(**conditions(model, noisy, context))
        finally:
            for hook in hooks:
                hook.remove()
    return maps, outputs


def context_of(model: DiffusionModel, context: Tensor) -> Tensor:
    """The context that the whole network is then given: Hunyuan-DiT's is padded with vectors of its own."""
    if model.family != "hunyuan-dit":
        return context
    padding = model.network.module.text_embedding_padding[77:]
    return torch.cat([context, padding.expand(len(context), -1, -1).to(context)], dim=1)


def tokens_of(model: DiffusionModel) -> int:
    """How many tokens a context for :func:`context_of` has."""
    return 77 if model.family == "hunyuan-dit" else 7


@contextmanager
def seen_in(model: DiffusionModel) -> Iterator[list[dict[str, Tensor]]]:
    """Collect what hooks see in each block of a network that runs inside: projections, and the attention's input."""
    blocks = blocks_of(model)
    seen: list[dict[str, Tensor]] = [{} for _ in blocks]

    def keep(number: int, what: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            seen[number][what] = output[1] if isinstance(output, tuple) else output

        return hook

    def keep_input(number: int) -> Any:
        def hook(_module: Any, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            seen[number]["normed"] = inputs[0] if inputs else named["hidden_states"]

        return hook

    with ExitStack() as hooks:
        for number, block in enumerate(blocks):
            own = block.attn if model.family in JOINT else block.attn1
            watched = {"hidden": block}
            if hasattr(own, "to_q"):  # else all are of one projection
                watched |= {"query": own.to_q, "key": own.to_k, "value": own.to_v}
            if model.family not in JOINT:
                watched["cross-query"] = block.attn2.to_q
            for what, module in watched.items():
                hooks.callback(module.register_forward_hook(keep(number, what)).remove)
            hooks.callback(own.register_forward_pre_hook(keep_input(number), with_kwargs=True).remove)
        yield seen


def check_taps(model: DiffusionModel, noisy: Tensor, context: Tensor, seen: list[dict[str, Tensor]]) -> None:
    """Check that all taps together, and one alone, are what hooks saw in a run of the whole network."""
    read = model.read_taps(noisy, T, context, model.network.taps)
    patch = model.layers[0].scale
    names = {f"block/{patch}:{number}.{what}": value for number, one in enumerate(seen) for what, value in one.items()}
    assert set(read) == set(names)
    for tap in model.network.taps:
        one, positions = read[tap.name], read[tap.name].values.flatten(2).transpose(1, 2)
        assert one.values.shape[1:] == tap.size(*noisy.shape[2:])
        own = positions if one.norm is None else one.norm(positions)
        assert (one.norm is None) == (tap.what != "normed")
        # Where one stream holds both, the context comes first.
        assert_close_to_scale(own, names[tap.name][:, -positions.shape[1] :], rel=1e-6)
    middle = model.network.taps[len(names) // 2]
    assert torch.equal(model.read_taps(noisy, T, context, [middle])[middle.name].values, read[middle.name].values)
