"""The cross-attention layers of a network, and their selection by name or by rule."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from semcorr.errors import LayerError, suggest

Section = Literal["down", "mid", "up", "block"]

_RULE = re.compile(r"(down|mid|up|block|any)/(\d+)(?::(\d+(?:,\d+)*))?")
_DEPTH = re.compile(r"depth/(\d+)-(\d+)")


@dataclass(frozen=True, kw_only=True)
class CrossAttentionLayer:
    """One cross-attention layer of a network.

    Attributes:
        name: In a U-Net, path of the attention module that holds it ("up_blocks.1.attentions.0"), followed by
            ".transformer_blocks.k" if that module holds several; in a transformer, path of its block.
        section: Part of the U-Net; "block" in a transformer.
        scale: The latent's side divided by the map's side.
        heads: Number of attention heads.
        path: Indices of the ``attn2`` module: in a U-Net block (None in the middle), attention module, transformer
            block; in a transformer its block, 0, 0.
    """

    name: str
    section: Section
    scale: int
    heads: int
    path: tuple[int | None, int, int]

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) of this layer's maps for a latent of that height and width.

        Every downsampling halves a side and rounds up, so an odd side is rounded up once.
        """
        return -(-height // self.scale), -(-width // self.scale)


def cross_attention_layers(unet: UNet2DConditionModel) -> tuple[CrossAttentionLayer, ...]:
    """Return the U-Net's cross-attention layers in the order in which they run: down, middle, up."""
    return tuple(layer for part in unet_blocks(unet) for layer in _of_block(part))


def cross_attention_module(unet: UNet2DConditionModel, layer: CrossAttentionLayer) -> Attention:
    """Return the module of one of ``unet``'s layers."""
    index, j, k = layer.path
    block = unet.mid_block if index is None else getattr(unet, f"{layer.section}_blocks")[index]
    return block.attentions[j].transformer_blocks[k].attn2


@dataclass(frozen=True, kw_only=True)
class UNetBlock:
    """A block of a U-Net.

    Attributes:
        name: Its path.
        section: Part of the U-Net.
        index: Its number in the section; None in the middle.
        scale: The latent's side divided by that of its activations, before it enlarges or shrinks them.
        block: The module.
    """

    name: str
    section: Section
    index: int | None
    scale: int
    block: Any


def unet_blocks(unet: UNet2DConditionModel) -> Iterator[UNetBlock]:
    """Yield the U-Net's blocks in the order in which they run: down, middle, up."""
    scale = 1
    for index, block in enumerate(unet.down_blocks):
        yield UNetBlock(name=f"down_blocks.{index}", section="down", index=index, scale=scale, block=block)
        if getattr(block, "downsamplers", None) is not None:
            scale *= 2
    if unet.mid_block is not None:
        yield UNetBlock(name="mid_block", section="mid", index=None, scale=scale, block=unet.mid_block)
    for index, block in enumerate(unet.up_blocks):
        yield UNetBlock(name=f"up_blocks.{index}", section="up", index=index, scale=scale, block=block)
        if getattr(block, "upsamplers", None) is not None:
            scale //= 2


def _of_block(part: UNetBlock) -> Iterator[CrossAttentionLayer]:
    for j, attention in enumerate(getattr(part.block, "attentions", None) or ()):
        transformers = getattr(attention, "transformer_blocks", ())
        for k, transformer in enumerate(transformers):
            if getattr(transformer, "attn2", None) is None:
                continue
            suffix = f".transformer_blocks.{k}" if len(transformers) > 1 else ""
            yield CrossAttentionLayer(
                name=f"{part.name}.attentions.{j}{suffix}",
                section=part.section,
                scale=part.scale,
                heads=transformer.attn2.heads,
                path=(part.index, j, k),
            )


def select_layers(layers: Sequence[CrossAttentionLayer], spec: Sequence[str]) -> tuple[CrossAttentionLayer, ...]:
    """Choose layers by exact name or by rule.

    A rule is ``section/scale`` or ``section/scale:n,n``: section is down, mid, up, block (of a transformer) or any;
    scale is the latent's side divided by the map's side; n is the index, from 0, among the layers that match, all of
    which are taken without it. "up/4" with Stable Diffusion 1.x is the three layers of ``up_blocks.1``, whose maps are
    16x16 at 512 px. A rule ``depth/a-b`` is the layers whose middle lies from ``a`` to ``b`` percent of all layers:
    "depth/33-67" is the middle third.

    Returns:
        The layers in the network's own order, none twice.

    Raises:
        LayerError: A name or rule matches nothing. The message lists all layers.
    """
    if isinstance(spec, str):
        spec = (spec,)
    chosen: set[str] = set()
    for item in spec:
        chosen.update(layer.name for layer in _matching(layers, item))
    if not chosen:
        raise LayerError(f"No cross-attention layer was requested; expected at least one.\n{_listing(layers)}")
    return tuple(layer for layer in layers if layer.name in chosen)


def rule_of(layers: Sequence[CrossAttentionLayer], layer: CrossAttentionLayer) -> str:
    """Return the rule that selects one of a network's ``layers`` alone, such as "up/4:0"."""
    alike = [other for other in layers if (other.section, other.scale) == (layer.section, layer.scale)]
    return f"{layer.section}/{layer.scale}:{alike.index(layer)}"


def _matching(layers: Sequence[CrossAttentionLayer], item: str) -> list[CrossAttentionLayer]:
    exact = [layer for layer in layers if layer.name == item]
    if exact:
        return exact
    depth = _DEPTH.fullmatch(item)
    if depth is not None:
        return _between(layers, item, *(int(percent) / 100 for percent in depth.groups()))
    rule = _RULE.fullmatch(item)
    if rule is None:
        hint = suggest(item, [layer.name for layer in layers])
        raise LayerError(f"This network has no cross-attention layer {item!r}.{hint}\n{_listing(layers)}")
    section, scale, numbers = rule.groups()
    matching = [layer for layer in layers if section in (layer.section, "any") and layer.scale == int(scale)]
    requested = range(len(matching)) if numbers is None else [int(number) for number in numbers.split(",")]
    if not matching or max(requested) >= len(matching):
        raise LayerError(
            f"The rule {item!r} requests a cross-attention layer that does not exist: "
            f"{len(matching)} match {section}/{scale}.\n{_listing(layers)}"
        )
    return [matching[number] for number in requested]


def _between(layers: Sequence[CrossAttentionLayer], item: str, low: float, high: float) -> list[CrossAttentionLayer]:
    inside = [layer for index, layer in enumerate(layers) if low <= (index + 0.5) / len(layers) <= high]
    if not inside:
        raise LayerError(f"The rule {item!r} requests layers, and there is none between.\n{_listing(layers)}")
    return inside


def in_running_order(
    own: Sequence[CrossAttentionLayer], layers: Sequence[CrossAttentionLayer], noun: str
) -> tuple[CrossAttentionLayer, ...]:
    """Return ``layers`` in the order of ``own``, all layers of a network, which messages call ``noun``.

    Raises:
        LayerError: ``layers`` is empty or holds a layer that is not in ``own``.
    """
    missing = [layer.name for layer in layers if layer not in own]
    if missing or not layers:
        raise LayerError(
            f"Expected cross-attention layers of this {noun}, got {missing or 'none'}. "
            "Choose them with select_layers on the same model."
        )
    return tuple(layer for layer in own if layer in layers)


def _listing(layers: Sequence[CrossAttentionLayer]) -> str:
    if not layers:
        return "This network has no cross-attention layers at all."
    lines = (f"  {layer.name}  ({layer.section}/{layer.scale}, {layer.heads} heads)" for layer in layers)
    return "\n".join(["Existing layers, each with the rule that selects it:", *lines])
