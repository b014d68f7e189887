"""What is common to diffusion transformers: their blocks, and the attention of each block to the context."""

import inspect
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.errors import LayerError
from semcorr.models.diffusion.attention import AttentionModule, MapRecorder, with_recorder
from semcorr.models.diffusion.gradient_checkpointing import RunPart, run_parts_through
from semcorr.models.diffusion.layers import CrossAttentionLayer, in_running_order
from semcorr.models.diffusion.network import DenoisingNetwork
from semcorr.models.diffusion.taps import Norm, Tap, block_taps
from semcorr.models.shallow_clone import PassThrough, shallow_clone


def _takes_time(norm: nn.Module | None) -> bool:
    """Whether a norm makes its shift and scale of a time embedding itself."""
    return norm is not None and "emb" in inspect.signature(norm.forward).parameters


class Transformer(DenoisingNetwork):
    """A transformer over patches of the latent: its features are the outputs of its blocks.

    The context passes through projections that are not linear before keys are computed from it. No token of a context
    is masked: where a pipeline pads a prompt and masks the padding, a context has the prompt's tokens alone. Views run
    through diffusers' own ``forward``, their last norm and projection included, which cost next to nothing.

    Attributes:
        lists: The module's lists of blocks, in the order in which they run.
        attention_name: The module of a block that attends to the context.
        self_attention_name: The module of a block in which image positions attend to each other.
        norms: Modules of a block whose call says what its adaptive layer norm is: the first that it has and that gets
            the time; "" is the block itself. See :meth:`read_norm`.
        unread: What a block runs after it, if it has it.
        recorder: What takes the place of the attention's processor.
    """

    noun = "transformer"
    block_noun = "block of this transformer"
    block_output = "hidden"
    lists: ClassVar[tuple[str, ...]] = ("transformer_blocks",)
    attention_name: ClassVar[str] = "attn2"
    self_attention_name: ClassVar[str] = "attn1"
    norms: ClassVar[tuple[str, ...]] = ("norm1",)
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
        self.taps = tuple(tap for layer in self.layers for tap in self._block_taps(layer))
        self.blocks = len(self.layers)

    def cut(self, layers: Sequence[CrossAttentionLayer], *, run_parts: RunPart | None = None) -> nn.Module:
        """Return a view whose last block ends with the scores of its attention to the context."""
        ordered = in_running_order(self.layers, layers, self.noun)
        view = self._view(self.layers.index(ordered[-1]) + 1)
        for layer in ordered:
            name, _, index = layer.name.rpartition(".")
            blocks = getattr(view, name)
            block = blocks[int(index)] = shallow_clone(blocks[int(index)])
            own = getattr(block, self.attention_name)
            attention = with_recorder(own, layer, self.recorder_of(own))
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

    def read_norm(self, module: nn.Module, given: Mapping[str, Any]) -> tuple[Tensor, Norm]:
        """Return what a block's norm gets, and the norm at the time of that call; its module makes shift and scale."""
        time = given["emb"][:1]

        def apply(hidden: Tensor) -> Tensor:
            normed = module(hidden, emb=time)
            result: Tensor = normed[0] if isinstance(normed, tuple) else normed  # gates besides
            return result

        return next(iter(given.values())), apply

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
        if output.ndim == noisy.ndim:
            return output
        height, width = (side // self.patch_size for side in noisy.shape[2:])
        return output.transpose(1, 2).unflatten(2, (height, width))

    def recorder_of(self, attention: AttentionModule) -> type[MapRecorder]:  # noqa: ARG002
        """Return the class of what takes the place of an attention's processor."""
        return self.recorder

    def attention_module(self, layer: CrossAttentionLayer) -> AttentionModule:
        """Return the module of one of ``layers``."""
        module: AttentionModule = self.module.get_submodule(f"{layer.name}.{self.attention_name}")
        return module

    def _block_taps(self, layer: CrossAttentionLayer) -> Iterator[Tap]:
        crossed = None if self.attention_name == self.self_attention_name else self.attention_name
        block = self.module.get_submodule(layer.name)
        norm = next((name for name in self.norms if not name or _takes_time(getattr(block, name, None))), None)
        return block_taps(
            self.module,
            self.layers,
            layer,
            layer.name,
            self_attention=self.self_attention_name,
            cross_attention=crossed,
            norm=norm,
        )

    def _readable(self) -> nn.Module:
        view: nn.Module = self._view(self.blocks)
        return view

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
