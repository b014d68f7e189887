"""What the library needs of a denoising network, whatever its architecture."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.errors import LayerError, suggest
from semcorr.models.diffusion.attention import AttentionModule
from semcorr.models.diffusion.gradient_checkpointing import RunPart
from semcorr.models.diffusion.layers import CrossAttentionLayer
from semcorr.models.diffusion.taps import Norm, Tap, What, with_taps


class DenoisingNetwork(ABC):
    """A frozen network of diffusers, and how its attention and its features are read.

    A *view* of it shares its weights and ends where nothing more is read; the network itself is never changed.

    Attributes:
        noun: What messages call it.
        weights_read: Modules of which diffusers uses the weights without running their layers.
        linear_keys: Whether the keys of its attention are linear in the context.
        keys_depend_on_image: Whether the keys of a context depend on the image, as where the two attend to each other.
        native_size: ``sample_size`` of networks whose configuration has none.
        packed: Side, in latent positions, of the squares that its pipeline packs into channels before the network.
        module: The object of diffusers, whole.
        block_noun: What messages call one of its blocks.
        block_output: What taps read as the output of a block.
        layers: The cross-attention layers in the order in which they run.
        taps: All that is read as features, in the order in which it runs.
        context_dim: Width of a context.
        blocks: Number of blocks whose output is read as features.
        sample_size: Side, in latent positions, of the square images that it was trained on.
        patch_size: Side, in latent positions, of what its first layer makes one position of.
        largest_side: Side, in latent positions, of the largest image that it has positions for; None if there is none.
        positions: What its configuration calls that.
    """

    noun: ClassVar[str]
    weights_read: ClassVar[tuple[str, ...]] = ()
    block_noun: ClassVar[str]
    block_output: ClassVar[What]
    linear_keys: ClassVar[bool] = False
    keys_depend_on_image: ClassVar[bool] = False
    native_size: ClassVar[int] = 64
    packed: ClassVar[int] = 1
    module: Any
    layers: tuple[CrossAttentionLayer, ...]
    taps: tuple[Tap, ...]
    context_dim: int
    blocks: int
    patch_size: int = 1
    largest_side: int | None = None
    positions: ClassVar[str] = "pos_embed_max_size"

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a module; ``vae_factor`` is the number of pixels per latent position along each side."""
        self.module, self._vae_factor = module, vae_factor
        self.sample_size: int = module.config.get("sample_size", self.native_size)

    @abstractmethod
    def cut(self, layers: Sequence[CrossAttentionLayer], *, run_parts: RunPart | None = None) -> nn.Module:
        """Return a view that ends after the last of ``layers`` and records the attention of all of them.

        ``run_parts`` (:func:`semcorr.models.diffusion.gradient_checkpointing.recomputed`) runs its blocks.

        Raises:
            LayerError: ``layers`` is empty or holds a layer that the network does not have.
        """

    def with_taps(self, taps: Sequence[Tap]) -> nn.Module:
        """Return a view that passes what ``taps`` read to a reading, and runs no further than the last of them."""
        return with_taps(self._readable(), taps, self.read_norm)

    def tap(self, name: str) -> Tap:
        """Return a tap by name.

        Raises:
            LayerError: There is none of that name.
        """
        names = {tap.name: tap for tap in self.taps}
        if name not in names:
            kinds = ", ".join(dict.fromkeys(tap.what for tap in self.taps))
            raise LayerError(
                f"This {self.noun} has no tap {name!r}.{suggest(name, names)} Expected one such as {self.taps[0].name} "
                f"(there are {kinds}); semcorr layers MODEL lists all of them."
            )
        return names[name]

    def block_tap(self, block: int, *, normed: bool = False) -> Tap:
        """Return what is read as a block's features: its output or, if ``normed``, the adaptive norm of its input.

        Blocks are counted from 0: those of a U-Net's decoder from the bottom, and a transformer's.

        Raises:
            LayerError: There is no such block, or it has no adaptive layer norm.
        """
        if not 0 <= block < self.blocks:
            raise LayerError(f"Expected a {self.block_noun}, from 0 to {self.blocks - 1}, got {block}.")
        output = [tap for tap in self.taps if tap.what == self.block_output][block]
        if not normed:
            return output
        name = f"{output.name.rpartition('.')[0]}.normed"
        if all(tap.name != name for tap in self.taps):
            raise LayerError(f"Block {block} of this {self.noun} has no adaptive layer norm.")
        return self.tap(name)

    def read_norm(self, module: nn.Module, given: Mapping[str, Any]) -> tuple[Tensor, Norm]:  # noqa: ARG002
        """Return the hidden states of a call of a module and the adaptive layer norm that is applied to them.

        Args:
            module: That of a tap of the adaptive layer norm.
            given: The arguments of the call, by name.
        """
        raise LayerError(f"A {self.noun} has no adaptive layer norm.")

    @abstractmethod
    def run(
        self,
        view: nn.Module,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
    ) -> Float[Tensor, "batch _dim _height _width"]:
        """Run a view, with the other conditions that it takes as for an image that is not cropped."""

    @abstractmethod
    def attention_module(self, layer: CrossAttentionLayer) -> AttentionModule:
        """Return the module of one of ``layers``."""

    def _readable(self) -> nn.Module:
        """Return the module that views with taps are made of."""
        module: nn.Module = self.module
        return module

    def project(self, context: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens _dim"]:
        """Return what the keys of every layer are computed from."""
        return context

    def join(self, states: Sequence[Float[Tensor, "batch _tokens _dim"]]) -> Float[Tensor, "batch tokens dim"]:
        """Make a context of the hidden states of the text encoders."""
        return torch.cat(list(states), dim=-1)
