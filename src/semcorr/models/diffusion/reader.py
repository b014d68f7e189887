"""What is read in a frozen denoising network: attention, its queries and keys, and activations."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.errors import LayerError, ModelError, SettingsError
from semcorr.models import finite
from semcorr.models.diffusion.attention import SELF, project_keys, recording
from semcorr.models.diffusion.families import FAMILIES
from semcorr.models.diffusion.gradient_checkpointing import SavedBytes, recomputed
from semcorr.models.diffusion.layers import CrossAttentionLayer, select_layers
from semcorr.models.diffusion.network import DenoisingNetwork
from semcorr.models.diffusion.offloading import Offloaded
from semcorr.models.diffusion.taps import Reduce, Tap, TapReading, reading
from semcorr.models.diffusion.unet import UNet
from semcorr.models.memory import storage_addresses

_LATENTS, _CONTEXT = "noisy latents", "a context"


class NetworkReader:
    """A frozen denoising network whose attention can be read, with gradients to the context.

    Attributes:
        model_id: The bundled name, hub id or path that it was loaded from.
        family: A name of :data:`semcorr.models.diffusion.families.FAMILIES`, such as "sd1".
        device, dtype: Where the network runs, and the precision that it runs in.
        context_tokens, context_dim: Shape of one context (77 x 768 for Stable Diffusion 1.x).
        network: The denoising network: a U-Net or a transformer.
        layers: The cross-attention layers in the network's order.
        offloaded: The layers of the network whose weights are in main memory while they do not run, or None.
    """

    def __init__(
        self,
        network: DenoisingNetwork,
        *,
        model_id: str,
        family: str,
        context_tokens: int,
        latent_channels: int,
        device: torch.device,
        offloaded: Offloaded | None,
    ) -> None:
        """Wrap a network that is on ``device``, or offloaded from there; latents have so many channels."""
        self.network = network
        self.model_id = model_id
        self.family = family
        self.context_tokens = context_tokens
        self.device = device
        self.offloaded = offloaded
        self.context_dim = network.context_dim
        self.dtype: torch.dtype = network.module.dtype
        self.layers = network.layers
        self._facts = FAMILIES[family]
        self._latent_channels = latent_channels
        self._saved_bytes: dict[tuple[object, ...], int] = {}
        self._trimmed: dict[tuple[tuple[str, ...], bool], nn.Module] = {}

    @property
    def unet(self) -> UNet2DConditionModel:
        """The U-Net of diffusers, whole; it is never changed.

        Raises:
            ModelError: The network is a transformer.
        """
        if not isinstance(self.network, UNet):
            raise ModelError(f"{self.model_id} has a {self.network.noun} and no U-Net: read .network.module instead.")
        unet: UNet2DConditionModel = self.network.module
        return unet

    @property
    def default_layers(self) -> tuple[str, ...]:
        """The rules that select the family's layers: the paper's, in a U-Net."""
        return self._facts.layers

    def select_layers(self, spec: Sequence[str] | None = None) -> tuple[CrossAttentionLayer, ...]:
        """Choose layers by name or rule, by default the family's own; see :func:`select_layers`."""
        return select_layers(self.layers, self.default_layers if spec is None else spec)

    def check_frozen_queries(self) -> None:
        """Check that queries and keys can be computed apart.

        Raises:
            SettingsError: The keys of a context depend on the image.
        """
        if self.network.keys_depend_on_image:
            raise SettingsError(
                f"{self.model_id!r} ({self._facts.title}) has no frozen queries: its keys depend on the image, with "
                "which the context is attended to. Set queries=live; for key-points without labels use another model."
            )

    def attention(
        self,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch context_tokens dim"],
        layers: Sequence[CrossAttentionLayer],
        *,
        tokens: Sequence[int] = (1,),
        gradient_checkpointing: bool = False,
    ) -> dict[str, Float[Tensor, "batch _heads _tokens _height _width"]]:
        """Return the attention of every image position to some tokens, at some layers.

        Softmax over all tokens of Q K^T / sqrt(d), in float32, one map per head and requested token, under the layer's
        name. The paper reads token 1, the first after the start token. Gradients reach ``context`` (and ``noisy``); the
        network is frozen. It is run up to the last of ``layers``. With ``gradient_checkpointing`` the backward
        pass takes less memory and runs most of the network again.

        Raises:
            NumericsError: An attention or a key is NaN or infinite.
        """
        self._check_context(context, tokens)
        view = self.trimmed(layers, gradient_checkpointing=gradient_checkpointing and torch.is_grad_enabled())
        return self._record(view, noisy, t, context, layers, tokens)

    @torch.no_grad()
    def queries(
        self,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
        layers: Sequence[CrossAttentionLayer],
    ) -> dict[str, Float[Tensor, "batch _heads _height _width _dim"]]:
        """Return the query of every image position at some layers, under the layer's name. No gradient.

        The image's side of :meth:`attention`; ``context`` acts on it through the layers before. :meth:`keys` returns
        the context's side.

        Raises:
            SettingsError: There are no frozen queries.
            NumericsError: A query is NaN or infinite.
        """
        self.check_frozen_queries()
        self._check_context(context, (0,))
        return self._record(self.trimmed(layers), noisy, t, context, layers, None)

    @property
    def reads_self_attention(self) -> bool:
        """Whether :meth:`self_attention` reads this network: U-Nets alone."""
        return isinstance(self.network, UNet)

    @torch.no_grad()
    def self_attention(
        self,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
        layers: Sequence[CrossAttentionLayer],
    ) -> dict[str, Float[Tensor, "batch _queries _keys"]]:
        """Return what image positions pay to each other in the transformer block of each layer. No gradient.

        The mean over heads, in float32, under the layer's name; positions are row by row, and a query's values add up
        to 1 over the keys.

        Raises:
            ModelError: The network is a transformer.
            NumericsError: An attention is NaN or infinite.
        """
        self._check_context(context, (0,))
        if not self.reads_self_attention:
            raise ModelError(f"{self.model_id} has a {self.network.noun}: the self-attention of U-Nets alone is read.")
        recorded = self._record(self.trimmed(layers), noisy, t, context, layers, None, self_attention=True)
        return {layer.name: recorded[layer.name + SELF] for layer in layers}

    def keys(
        self, context: Float[Tensor, "batch tokens dim"], layers: Sequence[CrossAttentionLayer]
    ) -> dict[str, Float[Tensor, "batch _heads tokens _dim"]]:
        """Return the key of every token of a context at some layers, divided by sqrt(d), under the layer's name.

        The context's side of :meth:`attention`, for :func:`semcorr.models.diffusion.attention.attention_to`, without a
        forward pass of the network. Gradients reach ``context``.

        Raises:
            SettingsError: There are no frozen queries.
            NumericsError: A key is NaN or infinite.
        """
        self.check_frozen_queries()
        self._check_context(context, (0,))
        own = context.to(self.device, self.dtype)

        def project() -> dict[str, Tensor]:
            projected = {}
            with self._saving():
                common = self.network.project(own)
                for layer in layers:
                    attn = self.network.attention_module(layer)
                    normed = attn.norm_encoder_hidden_states(common) if attn.norm_cross else common
                    projected[layer.name] = project_keys(attn, normed).float() * attn.scale
            return projected

        keys = project()
        finite.check(keys.values(), self._network_name, self.network.module, project, {_CONTEXT: own})
        return keys

    def _saving(self) -> AbstractContextManager[object]:
        """Return the context in which the network runs for a gradient."""
        return nullcontext() if self.offloaded is None else self.offloaded.saving()

    @property
    def _network_name(self) -> str:
        return f"The {self.network.noun} of {self.model_id!r}"

    def _record(
        self,
        view: nn.Module,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
        layers: Sequence[CrossAttentionLayer],
        tokens: Sequence[int] | None,
        *,
        self_attention: bool = False,
    ) -> dict[str, Tensor]:
        """Run the network and return the recording, which must be finite."""
        names = [layer.name + end for layer in layers for end in (("", SELF) if self_attention else ("",))]
        inputs = {_LATENTS: noisy, _CONTEXT: context}
        noisy = noisy.to(self.device, self.dtype)
        context = context.to(self.device, self.dtype)
        magnitudes: list[Tensor] = []

        def run() -> dict[str, Tensor]:
            size = (noisy.shape[2], noisy.shape[3])
            recorded = recording(tokens, size, magnitudes, self_attention=self_attention)
            with self._saving(), recorded as tensors:
                self.network.run(view, noisy, t, context)
            return {name: tensors[name] for name in names}

        recorded = run()
        finite.check([*recorded.values(), *magnitudes], self._network_name, view, run, inputs)
        return recorded

    def features(
        self,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
        block: int,
    ) -> Float[Tensor, "batch _dim _height _width"]:
        """Return the output of a block in float32.

        Blocks are counted from 0: those of a U-Net's decoder from the bottom, whose outputs are the features of DIFT
        (Tang et al., 2023); and a transformer's. Nothing after the block is run.

        Raises:
            LayerError: There is no such block.
            NumericsError: A feature is NaN or infinite.
        """
        tap = self.network.block_tap(block)
        return self.read_taps(noisy, t, context, [tap])[tap.name].values

    @torch.no_grad()
    def read_taps(
        self,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
        taps: Sequence[Tap],
        reduce: Reduce = lambda values: values,
    ) -> dict[str, TapReading]:
        """Return what several taps of :attr:`network` read in one run, in float32, under their names.

        Nothing after the last of them is run. ``reduce`` makes of a tap's activations what is kept of them, such as the
        sum over the batch: those of all taps may need more memory than the network.

        Raises:
            LayerError: No tap.
            NumericsError: An activation is NaN or infinite.
        """
        if not taps:
            raise LayerError("Expected at least one tap, got none.")
        self._check_context(context, (0,))
        view = self.network.with_taps(taps)
        noisy = noisy.to(self.device, self.dtype)
        context = context.to(self.device, self.dtype)

        def run(count: int | None) -> dict[str, TapReading]:
            size = (noisy.shape[2], noisy.shape[3])
            with reading(count, size, lambda values: reduce(values.float())) as read:
                self.network.run(view, noisy, t, context)
            return {tap.name: read[tap.name] for tap in taps}

        read = run(len(taps))
        values = [one.values for one in read.values()]
        # A run that ends early would end before the output of the last module is looked at.
        again = partial(run, None)
        finite.check(values, self._network_name, view, again, {_LATENTS: noisy, _CONTEXT: context})
        return read

    def saved_bytes_per_row(
        self,
        layers: Sequence[CrossAttentionLayer],
        *,
        latent_size: tuple[int, int] | None = None,
        gradient_checkpointing: bool = False,
    ) -> int:
        """Measure the bytes that autograd saves for one row of :meth:`attention` until its backward pass.

        ``latent_size`` is (height, width), by default the native one. The first call for a set of layers and a size
        runs the network once on one row; the weights are not counted. With ``gradient_checkpointing``, the tensors that
        are recomputed inside one block count as well.
        """
        height, width = latent_size or (self.network.sample_size,) * 2
        key = (*(layer.name for layer in layers), height, width, gradient_checkpointing)
        if key not in self._saved_bytes:
            latent = torch.zeros(1, self._latent_channels, height, width)
            context = torch.zeros(1, self.context_tokens, self.context_dim, requires_grad=True)
            saved = SavedBytes(self.offloaded or storage_addresses(self.network.module.parameters()))
            view = self.network.cut(layers, run_parts=saved.run) if gradient_checkpointing else self.trimmed(layers)
            own = latent.to(self.device, self.dtype), 1, context.to(self.device, self.dtype)
            with torch.enable_grad(), saved, recording((1,), (height, width)):
                self.network.run(view, *own)
            self._saved_bytes[key] = saved.bytes
        return self._saved_bytes[key]

    def trimmed(self, layers: Sequence[CrossAttentionLayer], *, gradient_checkpointing: bool = False) -> nn.Module:
        """Return the network cut after the last of ``layers``, as :meth:`attention` runs it; the same object each time.

        See :meth:`semcorr.models.diffusion.network.DenoisingNetwork.cut`.
        """
        key = tuple(layer.name for layer in layers), gradient_checkpointing
        if key not in self._trimmed:
            run_parts = recomputed if gradient_checkpointing else None
            self._trimmed[key] = self.network.cut(layers, run_parts=run_parts)
        return self._trimmed[key]

    def _check_context(self, context: Tensor, tokens: Sequence[int]) -> None:
        if context.shape[2] != self.context_dim:
            raise ModelError(
                f"{self.model_id} takes contexts {self.context_dim} wide, got {context.shape[2]}: "
                "use embeddings that were optimized with this model."
            )
        outside = [token for token in tokens if not 0 <= token < context.shape[1]]
        if outside or not tokens:
            raise ModelError(f"Expected tokens from 0 to {context.shape[1] - 1}, got {outside or 'none'}.")
