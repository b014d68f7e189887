"""What is common to diffusion transformers: their blocks, and the attention of each block to the context."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.errors import LayerError
from semcorr.models.diffusion.attention import AttentionModule, MapRecorder, with_recorder
from semcorr.models.diffusion.gradient_checkpointing import RunPart, run_parts_through
from semcorr.models.diffusion.layers import CrossAttentionLayer, in_running_order
from semcorr.models.diffusion.network import DenoisingNetwork
from semcorr.models.shallow_clone import PassThrough, shallow_clone


class _Kept(nn.Module):
    """Keeps what reaches the end of the blocks."""

    def forward(self, hidden_states: Tensor, *_: object, **__: object) -> Tensor:
        self.hidden_states = hidden_states
        return hidden_states


class Transformer(DenoisingNetwork):
    """A transformer over patches of the latent: its features are the outputs of its blocks.

    The context passes through projections that are not linear before keys are computed from it. No token of a context
    is masked: where a pipeline pads a prompt and masks the padding, a context has the prompt's tokens alone. Views run
    through diffusers' own ``forward``, their last norm and projection included, which cost next to nothing.

    Attributes:
        lists: The module's lists of blocks, in the order in which they run.
        attention_name: The module of a block that attends to the context.
        unread: What a block runs after it, if it has it.
        recorder: What takes the place of the attention's processor.
    """

    noun = "transformer"
    lists: ClassVar[tuple[str, ...]] = ("transformer_blocks",)
    attention_name: ClassVar[str] = "attn2"
    unread: ClassVar[tuple[str, ...]] = ("ff",)
    recorder: ClassVar[type[MapRecorder]] = MapRecorder

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a transformer of diffusers."""
        super().__init__(module, vae_factor)
        self.patch_size = module.config.patch_size * self.packed
        self.layers = tuple(
            CrossAttentionLayer(
                name=f"{name}.{index}",
                section="block",
                scale=self.patch_size,
                heads=getattr(block, self.attention_name).heads,
                path=(index, 0, 0),
            )
            for name in self.lists
            for index, block in enumerate(getattr(module, name))
        )
        self.blocks = len(self.layers)

    def cut(self, layers: Sequence[CrossAttentionLayer], *, run_parts: RunPart | None = None) -> nn.Module:
        """Return a view whose last block ends with the scores of its attention to the context."""
        ordered = in_running_order(self.layers, layers, self.noun)
        view = self._view(self.layers.index(ordered[-1]) + 1)
        for layer in ordered:
            name, _, index = layer.name.rpartition(".")
            blocks = getattr(view, name)
            block = blocks[int(index)] = shallow_clone(blocks[int(index)])
            attention = with_recorder(getattr(block, self.attention_name), layer, self.recorder)
            setattr(block, self.attention_name, attention)
        attention.processor.last = True
        for name in self.unread:
            if getattr(block, name, None) is not None:
                setattr(block, name, PassThrough())
        if run_parts is None:
            return view
        if not hasattr(view, "gradient_checkpointing"):
            raise LayerError(
                f"diffusers has no gradient checkpointing for {type(self.module).__name__}: load the method without it."
            )
        return run_parts_through(view, run_parts)

    def cut_after_block(self, block: int) -> nn.Module:
        """Return a view that ends after a block, and keeps its output."""
        if not 0 <= block < self.blocks:
            raise LayerError(f"Expected a block of this transformer, from 0 to {self.blocks - 1}, got {block}.")
        view = self._view(block + 1)
        view.norm_out = _Kept()
        return view

    def run(
        self,
        view: nn.Module,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
    ) -> Float[Tensor, "batch _dim _height _width"]:
        """Run a view."""
        time = torch.full((len(noisy),), t, device=noisy.device)
        # diffusers flattens it by view, which a repeated context has none for.
        conditions = self._conditions(noisy, time, context.contiguous())
        output: Tensor = view(**{"hidden_states": noisy, **conditions}, return_dict=False)[0]
        if isinstance(view.norm_out, _Kept):
            output = view.norm_out.hidden_states
        elif output.ndim == noisy.ndim:
            return output
        height, width = (side // self.patch_size for side in noisy.shape[2:])
        return output.transpose(1, 2).unflatten(2, (height, width))

    def attention_module(self, layer: CrossAttentionLayer) -> AttentionModule:
        """Return the module of one of ``layers``."""
        module: AttentionModule = self.module.get_submodule(f"{layer.name}.{self.attention_name}")
        return module

    def _view(self, count: int) -> Any:
        """Return a clone with the first ``count`` blocks."""
        view = shallow_clone(self.module)
        for name in self.lists:
            own = list(getattr(view, name))
            setattr(view, name, nn.ModuleList(own[:count]))
            count = max(0, count - len(own))
        return view

    @abstractmethod
    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        """Return all that the transformer takes besides the latents, or the latents as well if it takes others."""
