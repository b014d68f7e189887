"""Cut a U-Net after the last layer that is needed, without copying its weights or its forward pass."""

from collections.abc import Sequence
from typing import Any

from diffusers import UNet2DConditionModel
from torch import nn

from semcorr.models.diffusion.attention import SelfAttentionRecorder, with_recorder
from semcorr.models.diffusion.gradient_checkpointing import RunPart, run_parts_through
from semcorr.models.diffusion.layers import CrossAttentionLayer, cross_attention_layers, in_running_order
from semcorr.models.diffusion.prefix_cache import cache_prefix
from semcorr.models.shallow_clone import PassThrough, shallow_clone

# torch types a module's attribute as "Tensor or Module"; the attributes of blocks are diffusers' convention.
Block = Any


def trimmed_unet(
    unet: UNet2DConditionModel, layers: Sequence[CrossAttentionLayer], *, run_parts: RunPart | None = None
) -> UNet2DConditionModel:
    """Return a view of ``unet`` that ends after the last of ``layers`` and records the attention of all of them.

    The view shares every parameter with ``unet`` and runs through diffusers' own ``forward``; its ``sample`` is
    meaningless. Its maps equal the whole U-Net's. ``unet`` itself is not changed: the modules on the way to a layer are
    shallow clones, and only those have a recording processor. Read the maps with
    :func:`semcorr.models.diffusion.attention.recording`; :class:`semcorr.models.diffusion.prefix_cache.PrefixCache`
    caches the part before the first cross-attention. ``run_parts``
    (:func:`semcorr.models.diffusion.gradient_checkpointing.recomputed`) runs its blocks.

    Raises:
        LayerError: ``layers`` is empty or holds a layer that ``unet`` does not have.
    """
    ordered = in_running_order(cross_attention_layers(unet), layers, "U-Net")
    view = shallow_clone(unet)
    for section, blocks in (("down", "down_blocks"), ("up", "up_blocks")):
        setattr(view, blocks, _with_recorders(getattr(unet, blocks), [x for x in ordered if x.section == section]))
    in_middle = [layer for layer in ordered if layer.section == "mid"]
    if in_middle:
        view.mid_block = _block_with_recorders(unet.mid_block, in_middle)
    _cut(view, ordered[-1])
    cache_prefix(view)
    return view if run_parts is None else run_parts_through(view, run_parts)


def _with_recorders(blocks: nn.ModuleList, layers: Sequence[CrossAttentionLayer]) -> nn.ModuleList:
    of_block = [[layer for layer in layers if layer.path[0] == index] for index in range(len(blocks))]
    return nn.ModuleList(
        _block_with_recorders(block, selected) if selected else block
        for block, selected in zip(blocks, of_block, strict=True)
    )


def _block_with_recorders(block: Block, layers: Sequence[CrossAttentionLayer]) -> Block:
    block = shallow_clone(block)
    block.attentions = nn.ModuleList(shallow_clone(attention) for attention in block.attentions)
    for attention in block.attentions:
        attention.transformer_blocks = nn.ModuleList(attention.transformer_blocks)
    for layer in layers:
        _, j, k = layer.path
        transformer = shallow_clone(block.attentions[j].transformer_blocks[k])
        transformer.attn1 = with_recorder(transformer.attn1, layer, SelfAttentionRecorder)
        transformer.attn2 = with_recorder(transformer.attn2, layer)
        block.attentions[j].transformer_blocks[k] = transformer
    return block


def _cut(view: UNet2DConditionModel, last: CrossAttentionLayer) -> None:
    """Remove from ``view``, in place, all that runs after ``last``; its modules up to there are clones already."""
    index, j, k = last.path
    end = 0 if index is None else index + 1
    # The upsampling blocks take their skips from the end of a list, so those that stay must keep their number of
    # residual blocks. The last one may have fewer, because its first residual blocks take the last skips.
    if last.section == "down":
        view.down_blocks = nn.ModuleList(view.down_blocks[:end])
        view.mid_block = None
        block: Block = view.down_blocks[-1]
    elif last.section == "mid":
        block = view.mid_block
    else:
        view.up_blocks = nn.ModuleList(view.up_blocks[:end])
        block = view.up_blocks[-1]
    if last.section != "up":
        view.up_blocks = nn.ModuleList()
    block.attentions = nn.ModuleList(block.attentions[: j + 1])
    if last.section == "mid":
        # A middle block has one residual block before its attentions and one after each.
        block.resnets = nn.ModuleList([*block.resnets[: j + 1], PassThrough()])
    else:
        block.resnets = nn.ModuleList(block.resnets[: j + 1])
        block.downsamplers = block.upsamplers = None
    _cut_attention(block.attentions[j], k)
    view.conv_norm_out = None
    view.conv_out = PassThrough()


def _cut_attention(attention: Block, k: int) -> None:
    """Remove all of an attention module that runs after the scores of its k-th transformer block."""
    attention.transformer_blocks = nn.ModuleList(attention.transformer_blocks[: k + 1])
    attention.proj_out = PassThrough()
    transformer = attention.transformer_blocks[k]
    transformer.attn2.processor.last = True
    transformer.norm3 = PassThrough()
    transformer.ff = PassThrough()
