"""Load a checkpoint from one ``.safetensors`` file in Stable Diffusion's original layout, without a network."""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open

from semcorr.errors import ModelError
from semcorr.models.diffusion.checkpoint import CONTEXT_TOKENS, Checkpoint, check_supported, make_schedule
from semcorr.models.diffusion.kinds import (
    IMAGE,
    LABELS,
    SIZES,
    SUPPORTED,
    Traits,
    check_kind,
    kind_of_weights,
    of_folders,
)
from semcorr.models.fingerprint import fingerprint
from semcorr.models.weights import as_model_error, check_layers, check_types

UNET, VAE = "model.diffusion_model.", "first_stage_model."
Shapes = Mapping[str, Sequence[int]]


def load_single_file(path: Path, model_id: str, *, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """Load the U-Net and VAE of a file as trainers and web interfaces exchange it.

    Widths, depths and the family are read from the weights; what the weights do not show (the number of heads,
    the noise schedule, the scaling of the latents) comes from the packaged configuration of the family. The two kinds
    of Stable Diffusion 2.x have weights of the same shapes: see :func:`prediction_and_side`.

    Raises:
        ModelError: The file is damaged, or does not hold a whole Stable Diffusion 1.x, 2.x or SDXL.
    """
    with as_model_error("file", model_id), safe_open(path, "pt") as file:
        check_types(file)
        notes: dict[str, str] = file.metadata() or {}
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    _check_whole(model_id, shapes)
    with as_model_error("layout", model_id):
        check_kind(model_id, traits_of_weights(shapes))
        family = family_of_weights(shapes)
        configs = {part: _packaged(family, part) for part in ("unet", "vae", "scheduler")}
        configs["unet"] |= unet_widths(_below(shapes, UNET), family)
        configs["vae"] |= vae_widths(_below(shapes, VAE))
        for part in ("unet", "vae"):
            check_layers(configs[part], len(shapes))
        prediction, side = prediction_and_side(family, path.name, notes, shapes)
        configs["scheduler"]["prediction_type"] = prediction
        configs["unet"]["sample_size"] = side // 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    unet = _load_network(UNet2DConditionModel, configs["unet"], path, UNET, model_id, dtype)
    vae = _load_network(AutoencoderKL, configs["vae"], path, VAE, model_id, dtype)
    check_supported(model_id, unet, vae)

    def fetch(parts: Sequence[str]) -> NoReturn:
        raise ModelError(
            f"{model_id} is a single file, which carries no {' or '.join(parts)} in a form that can be used. "
            "To encode prompts load the model from a diffusers folder or by its hub id."
        )

    with as_model_error("file", model_id):
        fingerprint_ = fingerprint([configs["unet"], configs["vae"]], [path], (UNET, VAE))
    return Checkpoint(
        model_id=model_id,
        revision=None,
        fingerprint=fingerprint_,
        family=family,
        context_tokens=CONTEXT_TOKENS,
        network=unet,
        vae=vae,
        scheduler=make_schedule(configs["scheduler"]),
        fetch=fetch,
    )


def _check_whole(model_id: str, shapes: Shapes) -> None:
    """Check that a file holds the U-Net and the VAE of Stable Diffusion; name any other architecture."""
    missing = [part for part in (UNET, VAE) if not any(name.startswith(part) for name in shapes)]
    if not missing and f"{UNET}input_blocks.0.0.weight" in shapes:
        other = kind_of_weights((name for name in shapes if name.startswith(UNET)), parts=False)
        if other:
            raise ModelError(
                f"{model_id} is not supported: its U-Net's weights are those of {other}."
                f"{of_folders(other)} {SUPPORTED}."
            )
        return
    kind = kind_of_weights(shapes)
    missing = missing or [f"{UNET}input_blocks."]
    hint = (
        " Its U-Net can replace that of a checkpoint: name the model CHECKPOINT+FILE.safetensors."
        if "down_blocks.0.resnets.0.conv1.weight" in shapes and "conv_in.weight" in shapes and "U-Net" in kind
        else ""
    )
    raise ModelError(
        f"{model_id} is not a whole Stable Diffusion checkpoint in the original layout: "
        + (f"it looks like {kind}; " if kind else "")
        + f"it has no weights named {' or '.join(f'{part}*' for part in missing)}. Adapters (LoRA, ControlNet) and "
        f"single parts cannot be used alone; a part that diffusers saved belongs in its folder."
        f"{hint or of_folders(kind)} {SUPPORTED}."
    )


def traits_of_weights(shapes: Shapes) -> Traits:
    """Read the traits of a U-Net from the shapes of its weights in the original layout."""
    inside = _below(shapes, UNET)
    levels = 1 + sum(name.startswith("input_blocks.") and name.endswith(".0.op.weight") for name in inside)
    attention_first = any(name.startswith("input_blocks.1.1.transformer_blocks.") for name in inside)
    into = inside.get("label_emb.0.0.weight")
    added = None if into is None else IMAGE if attention_first else SIZES
    return Traits(
        levels=levels,
        attention_first=attention_first,
        context=next((shape[1] for name, shape in inside.items() if name.endswith("attn2.to_k.weight")), None),
        added=LABELS if "label_emb.weight" in inside else added,
        added_width=None if into is None else into[1],
    )


def family_of_weights(shapes: Shapes) -> str:
    """Return the family of weights in the original layout, whose kind is supported.

    Raises:
        ValueError: They are of no family; their number of attention heads could only be guessed.
    """
    traits = traits_of_weights(shapes)
    if traits.added is not None:
        return "sdxl"
    into = next((shape for name, shape in shapes.items() if name.endswith("proj_in.weight")), None)
    linear = into is not None and len(into) == 2
    if into is None or traits.levels != 4 or traits.context == (768 if linear else 1024):
        raise ValueError(
            f"a U-Net of {traits.levels} levels, a context {traits.context} wide and "
            f"{'linear' if linear else 'other'} projections is none of Stable Diffusion 1.x or 2.x"
        )
    return "sd2" if linear else "sd1"


def prediction_and_side(family: str, file_name: str, notes: Mapping[str, str], names: Shapes) -> tuple[str, int]:
    """Return what the U-Net predicts, "epsilon" or "v_prediction", and the side in pixels it was trained on.

    Neither can be read from the weights. In this order: the file's metadata (the ModelSpec keys); a tensor named
    "v_pred", by which SDXL models of that kind are marked; and for Stable Diffusion 2.x the file's name: with "512" or
    "base" in it epsilon at 512, else v-prediction at 768. The attention maps do not depend on the prediction; the side
    sets the resolution of the model frame.
    """
    prediction, side = {"sd1": ("epsilon", 512), "sd2": ("v_prediction", 768), "sdxl": ("epsilon", 1024)}[family]
    if family == "sd2" and re.search("512|base", file_name):
        prediction, side = "epsilon", 512
    if "v_pred" in names:
        prediction = "v_prediction"
    stated = notes.get("modelspec.prediction_type", "")
    if stated:
        prediction = "v_prediction" if stated.startswith("v") else "epsilon"
    resolution = re.match(r"\d+", notes.get("modelspec.resolution", ""))
    return prediction, int(resolution.group()) if resolution else side


def unet_widths(shapes: Shapes, family: str) -> dict[str, Any]:
    """Read the part of a U-Net's configuration that its weights show."""
    blocks = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("input_blocks."))
    if blocks > len(shapes):
        raise ValueError(f"{blocks:,} input blocks, and {len(shapes):,} weights")
    levels = 1 + sum(f"input_blocks.{block}.0.op.weight" in shapes for block in range(blocks))
    layers = (blocks - levels) // levels  # each level but the last ends with a downsampling, and one block is first
    firsts = [1 + level * (layers + 1) for level in range(levels)]
    widths = [shapes[f"input_blocks.{first}.0.in_layers.2.weight"][0] for first in firsts]
    depths = [_depth(shapes, f"input_blocks.{first}.1.") for first in firsts]
    config: dict[str, Any] = {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": widths,
        "layers_per_block": layers,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "cross_attention_dim": next(shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")),
    }
    if family != "sd1":
        config["attention_head_dim"] = [width // 64 for width in widths]  # heads of 64, counted
    if family == "sdxl":
        # The last number is also the depth of the middle block.
        config["transformer_layers_per_block"] = [
            *(depth or 1 for depth in depths[:-1]),
            _depth(shapes, "middle_block.1."),
        ]
        config["projection_class_embeddings_input_dim"] = shapes["label_emb.0.0.weight"][1]
    return config


def vae_widths(shapes: Shapes) -> dict[str, Any]:
    """Read the part of a VAE's configuration that its weights show."""
    levels = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("encoder.down."))
    layers = 1 + max(int(name.split(".")[4]) for name in shapes if name.startswith("encoder.down.0.block."))
    if levels > len(shapes):
        raise ValueError(f"{levels:,} levels, and {len(shapes):,} weights")
    return {
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "block_out_channels": [shapes[f"encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": layers,
    }


def _depth(shapes: Shapes, attention: str) -> int:
    """Count the transformer blocks of the attention whose weights have that prefix."""
    pattern = re.compile(rf"{re.escape(attention)}transformer_blocks\.(\d+)\.")
    numbers = [int(match.group(1)) for match in map(pattern.match, shapes) if match]
    return 1 + max(numbers, default=-1)


def _below(shapes: Shapes, prefix: str) -> Shapes:
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


def _packaged(family: str, part: str) -> dict[str, Any]:
    text = (
        resources.files("semcorr.models.diffusion")
        .joinpath("configs", family, f"{part}.json")
        .read_text(encoding="utf-8")
    )
    config: dict[str, Any] = json.loads(text)
    return config


def _load_network(
    kind: Any, config: Mapping[str, Any], path: Path, prefix: str, model_id: str, dtype: torch.dtype
) -> Any:
    part = "U-Net" if prefix == UNET else "VAE"
    with as_model_error(part, model_id), tempfile.TemporaryDirectory() as folder:
        # diffusers takes a configuration only from a folder or from the hub.
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
        try:
            network = kind.from_single_file(weights, config=folder, torch_dtype=dtype, local_files_only=True)
        except NotImplementedError as error:  # weights that the file lacks have no values and cannot be moved
            raise ValueError("some of its weights are missing") from error
        # Both layouts have the same weights under different names; more would silently be ignored.
        if prefix == UNET and len(weights) > len(network.state_dict()):
            raise ValueError(
                f"{len(weights) - len(network.state_dict())} of its weights have no counterpart in the network"
            )
    return network.eval().requires_grad_(False)
