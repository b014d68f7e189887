"""The layers of a network that methods read: their names, sizes, and how a setting selects them."""

import os
from dataclasses import dataclass
from functools import singledispatch
from typing import get_args

import torch

from semcorr.errors import ModelError
from semcorr.matchers.choice import choose, situation_of
from semcorr.matchers.features import dift, dino, hypercolumn
from semcorr.matchers.registry import load_class
from semcorr.models.cnn import ConvolutionalModel
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.empty_checkpoint import empty_model, has_configuration
from semcorr.models.diffusion.layers import rule_of
from semcorr.models.diffusion.taps import Tap
from semcorr.models.dino import Facet, VisionModel
from semcorr.progress import Progress


@dataclass(frozen=True, kw_only=True)
class ReadableLayer:
    """A layer that a method reads.

    Attributes:
        method: The method, as ``--method`` takes it; others on the same network have the same setting.
        name: Name of a cross-attention layer; of a block its number; of a tap the path of the module that is read.
        setting, value: What selects it alone: the setting's name, and a rule, a number, or a tap's name.
        height, width: Of its map, in cells.
        heads: Attention heads of a cross-attention layer; None for features.
        dim: Width of the features; None for attention.
        default: Whether the method reads it unless another is set.
    """

    method: str
    name: str
    setting: str
    value: str | int
    height: int
    width: int
    heads: int | None = None
    dim: int | None = None
    default: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelLayers:
    """All layers of a network that methods read.

    Attributes:
        model, family: As the network has them.
        resolution: Side, in pixels, of the square image that the sizes are of.
        layers: In the order in which they run, those of one method after those of another.
        note: What else there is to set; may be empty.
    """

    model: str
    family: str
    resolution: int
    layers: tuple[ReadableLayer, ...]
    note: str = ""


def layers_of_model(
    model: str | os.PathLike[str], *, revision: str | None = None, progress: Progress | None = None
) -> ModelLayers:
    """Return the layers of a network; of a diffusion model its configuration alone is read.

    Args:
        model: A bundled name, a folder, a ``.safetensors`` file or a hub id, as methods take it.
        revision: Branch, tag or commit of a hub id.
        progress: Called during a download.

    Raises:
        ModelError: There is no such network, or it has no layers to choose from.
    """
    method = load_class(choose(situation_of(model, revision=revision)).method)
    if method.network_type not in (DiffusionModel, VisionModel, ConvolutionalModel):
        raise ModelError(
            f"{os.fspath(model)} has no layers to choose from: its network has one output. Expected a diffusion model, "
            "a vision transformer or a convolutional network."
        )
    if method.network_type is DiffusionModel and has_configuration(os.fspath(model)):
        return layers_of(empty_model(os.fspath(model), revision=revision, progress=progress))
    # Only a convolutional network is run for its sizes; others need memory alone.
    dtype = "float32" if method.network_type is ConvolutionalModel else "bfloat16"
    network = method.network_type.from_pretrained(
        model, revision=revision, dtype=dtype, device="cpu", progress=progress
    )
    return layers_of(network)


@singledispatch
def layers_of(network: object) -> ModelLayers:
    """Return the layers of a loaded network, with sizes for an image of its native resolution."""
    raise TypeError(f"Expected a network, got {type(network).__name__}.")


@layers_of.register
def _diffusion(network: DiffusionModel) -> ModelLayers:
    side = network.network.sample_size
    chosen, block = network.select_layers(), dift.published(network.family).block
    attention = [
        ReadableLayer(
            method="prompt",
            name=layer.name,
            setting="layers",
            value=rule_of(network.layers, layer),
            height=layer.map_size(side, side)[0],
            width=layer.map_size(side, side)[1],
            heads=layer.heads,
            default=layer in chosen,
        )
        for layer in network.layers
    ]
    blocks = [
        _block("dift", "block", number, network.network.block_tap(number).size(side, side), default=number == block)
        for number in range(network.network.blocks)
    ]
    taps = [_tap(tap, tap.size(side, side)) for tap in network.network.taps]
    return ModelLayers(
        model=network.model_id,
        family=network.family,
        resolution=network.resolution,
        layers=(*attention, *blocks, *taps),
        note="Of attention-dift the block is the setting dift_block, and the tap dift_tap.",
    )


@layers_of.register
def _vision(network: VisionModel) -> ModelLayers:
    usual, side = dino.published(network.family), network.resolution // network.patch
    own = range(network.depth)
    default = own[usual.layer] if -len(own) <= usual.layer < len(own) else None
    return ModelLayers(
        model=network.model_id,
        family=network.family,
        resolution=network.resolution,
        layers=tuple(
            _block("dino", "layer", number, (network.dim, side, side), default=number == default) for number in own
        ),
        note=f"Of each block the setting facet reads {', '.join(get_args(Facet))}; by default {usual.facet}.",
    )


@layers_of.register
def _convolutional(network: ConvolutionalModel) -> ModelLayers:
    usual = hypercolumn.photographs(network.family)
    side = max(usual.blocks())
    outputs = network.block_outputs(torch.zeros(3, side, side), range(network.depth), side)
    read = {number for numbers in usual.blocks().values() for number in numbers}
    return ModelLayers(
        model=network.model_id,
        family=network.family,
        resolution=side,
        layers=tuple(
            _block("hypercolumn", "layers", number, tuple(output.shape), at=side, default=number in read)
            for number, output in enumerate(outputs)
        ),
        note=f"After @ stands the side of the square, any number of pixels; by default {', '.join(usual.layers)}.",
    )


def _tap(tap: Tap, size: tuple[int, int, int]) -> ReadableLayer:
    dim, height, width = size
    return ReadableLayer(
        method="dift", name=tap.module, setting="tap", value=tap.name, height=height, width=width, dim=dim
    )


def _block(
    method: str, setting: str, number: int, size: tuple[int, ...], *, default: bool, at: int | None = None
) -> ReadableLayer:
    dim, height, width = size
    return ReadableLayer(
        method=method,
        name=f"block {number}",
        setting=setting,
        value=number if at is None else f"{number}@{at}",
        height=height,
        width=width,
        dim=dim,
        default=default,
    )
