"""Taps: named modules of a denoising network whose activations are read as feature maps."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from diffusers import UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.models.diffusion.layers import CrossAttentionLayer, cross_attention_layers, rule_of, unet_blocks
from semcorr.models.shallow_clone import clone_hooks, replace_modules

What = Literal["query", "key", "value", "cross-query", "hidden", "normed", "resnet", "block"]

Norm = Callable[[Float[Tensor, "batch positions dim"]], Float[Tensor, "batch positions dim"]]
"""A block's adaptive layer norm, as the time step of one call makes it."""
ReadNorm = Callable[[nn.Module, Mapping[str, Any]], tuple[Tensor, Norm]]
"""Takes a module and the arguments of a call of it; returns the hidden states before the norm, and the norm."""
Reduce = Callable[[Float[Tensor, "batch dim height width"]], Tensor]

_PROJECTIONS: Mapping[What, str] = {"query": "to_q", "key": "to_k", "value": "to_v"}


@dataclass(frozen=True, kw_only=True)
class Tap:
    """What can be read of a network as a feature map.

    Attributes:
        name: The rule of a transformer block, as of its cross-attention layer, and what is read of it ("up/2:0.query",
            "block/2:13.hidden"); "up/2:0.resnet" is a U-Net's residual block, counted among those of its section and
            scale; "block:1" a block of its decoder.
        what: Projections of the self-attention (in joint attention of image positions alone), before their norms and
            positions: "query", "key", "value"; the query of the cross-attention: "cross-query"; the output of a
            transformer block: "hidden"; what its attention gets, the adaptive layer norm of its input: "normed"; of
            U-Nets also the output of a residual block, "resnet", or of one of the decoder's blocks, "block".
        module: Path of the module that is read.
        scale: The latent's side divided by the map's side.
        dim: Width of the features.
    """

    name: str
    what: What
    module: str
    scale: int
    dim: int

    @property
    def residual(self) -> bool:
        """Whether it is read of the hidden states themselves, and not of a projection of them."""
        return self.what not in ("query", "key", "value", "cross-query")

    def size(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the (dim, height, width) of its map for a latent of that height and width.

        Every downsampling halves a side and rounds up, and the decoder enlarges to the very sides that were halved.
        """
        return self.dim, -(-height // self.scale), -(-width // self.scale)


@dataclass(frozen=True, kw_only=True)
class TapReading:
    """What was read of a tap.

    Attributes:
        values: The activations; of "normed" before the norm, so that they can be averaged, or channels left out.
        norm: Of "normed" what is still to be applied; else None.
    """

    values: Float[Tensor, "batch dim height width"] | Float[Tensor, "dim height width"]
    norm: Norm | None = None


def unet_taps(unet: UNet2DConditionModel) -> tuple[Tap, ...]:
    """Return a U-Net's taps in the order in which they run."""
    return tuple(_of_unet(unet))


def _of_unet(unet: UNet2DConditionModel) -> Iterator[Tap]:
    layers = cross_attention_layers(unet)
    resnets: Counter[tuple[str, int]] = Counter()
    for part in unet_blocks(unet):
        for j, resnet in enumerate(part.block.resnets):
            number, key = resnets[part.section, part.scale], (part.section, part.scale)
            resnets[key] += 1
            yield Tap(
                name=f"{part.section}/{part.scale}:{number}.resnet",
                what="resnet",
                module=f"{part.name}.resnets.{j}",
                scale=part.scale,
                dim=resnet.out_channels,
            )
            for layer in layers:
                if (layer.section, *layer.path[:2]) == (part.section, part.index, j):
                    path = f"{part.name}.attentions.{j}.transformer_blocks.{layer.path[2]}"
                    yield from block_taps(unet, layers, layer, path, self_attention="attn1", cross_attention="attn2")
        if part.section == "up":
            enlarged = getattr(part.block, "upsamplers", None) is not None
            yield Tap(
                name=f"block:{part.index}",
                what="block",
                module=part.name,
                scale=part.scale // 2 if enlarged else part.scale,
                dim=part.block.resnets[-1].out_channels,
            )


def block_taps(
    network: nn.Module,
    layers: Sequence[CrossAttentionLayer],
    layer: CrossAttentionLayer,
    path: str,
    *,
    self_attention: str,
    cross_attention: str | None = None,
    norm: str | None = None,
) -> Iterator[Tap]:
    """Yield the taps of a transformer block in the order in which they run.

    Args:
        network: The whole network.
        layers: Its cross-attention layers.
        layer: That of the block.
        path: Of the block.
        self_attention: Name of the block's attention to the image.
        cross_attention: Name of its attention to the context, if that is another one.
        norm: Path, from the block, of the module whose call says what the adaptive layer norm is; None without one.
    """
    block: Any = network.get_submodule(path)
    rule = rule_of(layers, layer)

    def tap(what: What, module: str, dim: int) -> Tap:
        return Tap(name=f"{rule}.{what}", what=what, module=module, scale=layer.scale, dim=dim)

    attention = getattr(block, self_attention)
    dim: int = getattr(block, cross_attention or self_attention).query_dim
    if norm is not None:
        yield tap("normed", f"{path}.{norm}".rstrip("."), dim)
    for what, name in _PROJECTIONS.items():
        if getattr(attention, name, None) is not None:
            yield tap(what, f"{path}.{self_attention}.{name}", getattr(attention, name).out_features)
    if cross_attention is not None:
        queries = getattr(block, cross_attention).to_q
        yield tap("cross-query", f"{path}.{cross_attention}.to_q", queries.out_features)
    yield tap("hidden", path, dim)


# --- reading ----------------------------------------------------------------------------------------------------------


class _AllRead(Exception):  # noqa: N818  # no error: it ends a run when all taps are read
    """Ends a run of the network."""


@dataclass(kw_only=True)
class _Reading:
    size: tuple[int, int]
    count: int | None
    reduce: Reduce
    read: dict[str, TapReading] = field(default_factory=dict)

    def add(self, tap: Tap, values: Tensor, norm: Norm | None = None) -> None:
        """Keep the activations of image positions, which come last where the context is among them."""
        if values.ndim == 3:
            _, height, width = tap.size(*self.size)
            values = values[:, -height * width :].transpose(1, 2).unflatten(2, (height, width))
        self.read[tap.name] = TapReading(values=self.reduce(values), norm=norm)
        if len(self.read) == self.count:
            raise _AllRead


# As of attention, a reading belongs to the call that requests it, and not to the network.
_ACTIVE: ContextVar[_Reading | None] = ContextVar("semcorr_tap_reading", default=None)


@contextmanager
def reading(count: int | None, latent_size: tuple[int, int], reduce: Reduce) -> Iterator[dict[str, TapReading]]:
    """Collect from every tap of a view that runs inside the ``with`` block, which ends when all are read.

    Args:
        count: The number of taps of the view; None runs all of it.
        latent_size: (height, width) of the latent that the network is called with.
        reduce: What is kept of the activations of a batch.
    """
    own = _Reading(size=latent_size, count=count, reduce=reduce)
    before = _ACTIVE.set(own)
    try:
        with suppress(_AllRead):
            yield own.read
    finally:
        _ACTIVE.reset(before)


def with_taps(network: nn.Module, taps: Sequence[Tap], read_norm: ReadNorm) -> nn.Module:
    """Return a view of a network that passes what its taps read to the active :func:`reading`.

    It shares every weight, and the network is not changed. The run ends when the last tap is read.
    """
    of_module: dict[int, list[Tap]] = {}
    for tap in taps:
        of_module.setdefault(id(network.get_submodule(tap.module)), []).append(tap)

    def change(clone: Any, module: nn.Module) -> None:
        clone_hooks(clone)
        for tap in of_module[id(module)]:
            if tap.what == "normed":
                clone.register_forward_pre_hook(_before(tap, read_norm), with_kwargs=True)
            else:
                clone.register_forward_hook(_after(tap))

    return replace_modules(network, lambda module: id(module) in of_module, change)


def _before(tap: Tap, read_norm: ReadNorm) -> Callable[..., None]:
    def hook(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        active = _ACTIVE.get()
        if active is not None:
            given = inspect.signature(module.forward).bind(*positional, **named).arguments
            active.add(tap, *read_norm(module, given))

    return hook


def _after(tap: Tap) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: object, output: Any) -> None:
        active = _ACTIVE.get()
        if active is not None:
            active.add(tap, output[-1] if isinstance(output, tuple) else output)  # the image comes last

    return hook
