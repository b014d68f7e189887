"""What the library needs of a denoising network, whatever its architecture."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.models.diffusion.attention import AttentionModule
from semcorr.models.diffusion.gradient_checkpointing import RunPart
from semcorr.models.diffusion.layers import CrossAttentionLayer


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
        layers: The cross-attention layers in the order in which they run.
        context_dim: Width of a context.
        blocks: Number of blocks whose output is read as features.
        sample_size: Side, in latent positions, of the square images that it was trained on.
        patch_size: Side, in latent positions, of what its first layer makes one position of.
        largest_side: Side, in latent positions, of the largest image that it has positions for; None if there is none.
    """

    noun: ClassVar[str]
    weights_read: ClassVar[tuple[str, ...]] = ()
    linear_keys: ClassVar[bool] = False
    keys_depend_on_image: ClassVar[bool] = False
    native_size: ClassVar[int] = 64
    packed: ClassVar[int] = 1
    module: Any
    layers: tuple[CrossAttentionLayer, ...]
    context_dim: int
    blocks: int
    patch_size: int = 1
    largest_side: int | None = None

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

    @abstractmethod
    def cut_after_block(self, block: int) -> nn.Module:
        """Return a view, for one run, of which :meth:`run` returns the output of a block, counted from 0.

        Raises:
            LayerError: There is no such block.
        """

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

    def block_size(self, block: int, height: int, width: int) -> tuple[int, int, int]:  # noqa: ARG002
        """Return the (dim, height, width) of a block's output for a latent of that height and width.

        The blocks of a transformer are all alike.
        """
        dim: int = self.attention_module(self.layers[0]).to_q.in_features
        return dim, height // self.patch_size, width // self.patch_size

    def project(self, context: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens _dim"]:
        """Return what the keys of every layer are computed from."""
        return context

    def join(self, states: Sequence[Float[Tensor, "batch _tokens _dim"]]) -> Float[Tensor, "batch tokens dim"]:
        """Make a context of the hidden states of the text encoders."""
        return torch.cat(list(states), dim=-1)
