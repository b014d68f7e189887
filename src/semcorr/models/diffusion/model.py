"""The frozen text-to-image network whose cross-attention and features the matchers read."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.errors import LayerError, ModelError, SettingsError
from semcorr.models import finite
from semcorr.models.device import Device, DType, find_device, find_dtype
from semcorr.models.diffusion import latents as _latents
from semcorr.models.diffusion.attention import SELF, project_keys, recording
from semcorr.models.diffusion.checkpoint import Checkpoint
from semcorr.models.diffusion.families import FAMILIES
from semcorr.models.diffusion.gradient_checkpointing import SavedBytes, recomputed
from semcorr.models.diffusion.layers import CrossAttentionLayer, select_layers
from semcorr.models.diffusion.load import load_checkpoint
from semcorr.models.diffusion.network import DenoisingNetwork
from semcorr.models.diffusion.networks import network_class
from semcorr.models.diffusion.offloading import Offloaded
from semcorr.models.diffusion.quantization import Quantization, check_quantization
from semcorr.models.diffusion.taps import Reduce, Tap, TapReading, reading
from semcorr.models.diffusion.text_encoder import TextEncoder
from semcorr.models.diffusion.unet import UNet
from semcorr.models.memory import storage_addresses
from semcorr.models.names import PHOTO_MODEL, with_variant
from semcorr.progress import Progress

_LATENTS, _CONTEXT = "noisy latents", "a context"

__all__ = ["DType", "Device", "DiffusionModel", "find_device"]


class DiffusionModel:
    """A frozen text-to-image network whose cross-attention can be read, with gradients to the context.

    Attributes:
        model_id: The bundled name, hub id or path that it was loaded from.
        revision: The hub commit, or None.
        fingerprint: A hash of the network's and VAE's configuration and weights that identifies the model.
        family: A name of :data:`semcorr.models.diffusion.families.FAMILIES`, such as "sd1".
        resolution: Side in pixels of the square images that the network was trained on.
        vae_factor: Pixels per latent position along each side.
        side_factor: Sides of images must be multiples of it: the pixels along what the network makes one position of.
        context_tokens, context_dim: Shape of one context (77 x 768 for Stable Diffusion 1.x).
        prediction_type: What the network was trained to predict ("epsilon", "v_prediction", "flow_prediction"). The
            attention maps do not depend on it, because nothing after the last of them is read.
        network: The denoising network: a U-Net or a transformer.
        layers: The cross-attention layers in the network's order.
        vae, scheduler: The objects of diffusers.
        quantize: What the linear layers of the network are quantised to, or None.
        offloaded: The layers of the network whose weights are in main memory while they do not run, or None.
    """

    memory_options: ClassVar[tuple[str, ...]] = ("offload", "quantize")
    """Arguments of :meth:`from_pretrained` that fit a large network into little memory."""

    half_precision: ClassVar[bool] = True
    """Half precision is faster where the device has instructions for it."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device | str = "cpu", *, offload: bool = False) -> None:
        """Wrap a loaded checkpoint; :meth:`from_pretrained` is the usual way in."""
        self.device = torch.device(device)
        self.vae = checkpoint.vae.to(self.device)
        self.vae_factor = _latents.vae_factor(self.vae)
        module, kind = checkpoint.network, network_class(checkpoint.network)
        self.offloaded = Offloaded(module, self.device, staying=kind.weights_read) if offload else None
        self.network: DenoisingNetwork = kind(module if offload else module.to(self.device), self.vae_factor)
        self.scheduler = checkpoint.scheduler
        self.model_id = checkpoint.model_id
        self.revision = checkpoint.revision
        self.fingerprint = checkpoint.fingerprint
        self.family = checkpoint.family
        self.quantize = checkpoint.quantize
        self.context_tokens = checkpoint.context_tokens
        self.context_dim = self.network.context_dim
        self.dtype: torch.dtype = self.network.module.dtype
        self.prediction_type: str = self.scheduler.config.get("prediction_type", "flow_prediction")
        self.side_factor = self.vae_factor * self.network.patch_size
        self.resolution = self.network.sample_size * self.vae_factor
        self.layers = self.network.layers
        self._facts = FAMILIES[self.family]
        if self._facts.float32_vae and self.dtype == torch.float16 and self.vae.config.get("force_upcast", True):
            self.vae = self.vae.float()  # its activations overflow in half precision
        self._fetch = checkpoint.fetch
        self._variant = checkpoint.variant
        self._text_encoder: TextEncoder | None = None
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

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = PHOTO_MODEL,
        *,
        revision: str | None = None,
        variant: str | None = None,
        dtype: DType = "float32",
        device: Device = "auto",
        offload: bool = False,
        quantize: Quantization | None = None,
        local_files_only: bool = False,
        progress: Progress | None = None,
    ) -> "DiffusionModel":
        """Load a checkpoint, frozen.

        Args:
            model: "toy" (bundled with the package), a folder as diffusers saves it, one ``.safetensors`` file in the
                original layout, or a hub id such as "CompVis/stable-diffusion-v1-4". Only safetensors are read, never
                pickles.
            revision: Branch, tag or commit of a hub id.
            variant: Variant of the files, such as "bf16" or "non_ema", of a checkpoint that has several; the same as
                ``model`` followed by a colon and the variant.
            dtype: Precision of the weights and of the forward pass; the attention's softmax and all results are
                float32 regardless.
            device: "auto" takes cuda, then mps, then cpu.
            offload: Keep the network's weights in main memory, and each layer's on the device for as long as the layer
                runs: less memory of the device and more time. Results stay the same.
            quantize: Store the weights of the network's linear layers in fewer bits: "int8" (torchao), or "nf4"
                (bitsandbytes), on a GPU. Of folders and hub ids.
            local_files_only: Use only files on this machine.
            progress: Called with ("download", bytes done, bytes in all, file=name) while files are downloaded.

        Raises:
            ModelError: The checkpoint is unknown, cannot be had, is damaged, is of no family that is supported, or
                cannot be quantised here.
        """
        chosen = find_device(device)
        check_quantization(quantize, chosen, offload=offload)
        checkpoint = load_checkpoint(
            with_variant(model, variant),
            revision=revision,
            dtype=find_dtype(dtype),
            quantize=quantize,
            local_files_only=local_files_only,
            progress=progress,
        )
        return cls(checkpoint, chosen, offload=offload)

    @property
    def default_layers(self) -> tuple[str, ...]:
        """The rules that select the family's layers: the paper's, in a U-Net."""
        return self._facts.layers

    def select_layers(self, spec: Sequence[str] | None = None) -> tuple[CrossAttentionLayer, ...]:
        """Choose layers by name or rule, by default the family's own; see :func:`select_layers`."""
        return select_layers(self.layers, self.default_layers if spec is None else spec)

    def check_side(self, resolution: int | None) -> None:
        """Check that images of a setting ``resolution``, a side in pixels or None for the model's own, can be read.

        Raises:
            SettingsError: The side is not a multiple of ``side_factor``, or the network has no positions for so many.
        """
        if resolution is not None and resolution % self.side_factor:
            patch = f" and {self.network.patch_size} of a patch" if self.network.patch_size > 1 else ""
            raise SettingsError(
                f"Setting 'resolution': expected a multiple of {self.side_factor} (the VAE's factor{patch}), "
                f"got {resolution}."
            )
        most = None if self.network.largest_side is None else self.network.largest_side * self.vae_factor
        if most is not None and (resolution or self.resolution) > most:
            raise SettingsError(
                f"Setting 'resolution': {self.model_id!r} has positions for images of at most {most} x {most} pixels "
                f"(pos_embed_max_size), got {resolution or self.resolution}. Set a smaller one."
            )

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

    def timestep(self, step_from_clean: int, of: int = 50, *, resolution: int | None = None) -> int:
        """Return the time step that is ``step_from_clean`` steps from the clean end: DDIM's 8 of 50 is t = 140.

        See :func:`semcorr.models.diffusion.latents.timestep`. ``resolution`` is the side of the images in pixels, by
        default the native one: it counts where the scheduler's shift of time depends on it.
        """
        positions = ((resolution or self.resolution) // self.side_factor) ** 2
        own_shift = self._facts.shift
        return _latents.timestep(self.scheduler, step_from_clean, of, positions=positions, own_shift=own_shift)

    def encode(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels latent_height latent_width"]:
        """Encode RGB images in [0, 1] to float32 latents: the posterior's mean, scaled. No gradient.

        Raises:
            NumericsError: A latent is NaN or infinite.
        """
        latents = _latents.encode(self.vae, images)
        again = partial(_latents.encode, self.vae, images)
        finite.check([latents], f"The VAE of {self.model_id!r}", self.vae, again, {"an image": images})
        return latents

    def add_noise(
        self,
        latents: Float[Tensor, "batch channels height width"],
        noise: Float[Tensor, "batch channels height width"],
        t: int,
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the noisy latents of a time step; see :func:`semcorr.models.diffusion.latents.add_noise`."""
        return _latents.add_noise(self.scheduler, latents, noise, t)

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

    def encode_text(self, prompts: Sequence[str]) -> Float[Tensor, "batch tokens dim"]:
        """Encode prompts into float32 contexts with the checkpoint's own text encoder, loaded on first use.

        The text encoder of a hub id is also downloaded on first use, unless it is in the cache. Where the network masks
        padding, a context has the prompt's tokens alone.

        Raises:
            ModelError: The checkpoint has no text encoder or tokenizer, or they cannot be had; or prompts differ in
                their number of tokens, and the network takes no padding.
        """
        encoder = self.text_encoder()
        if self._facts.padded:
            return self.network.join(encoder(prompts, self.context_tokens))
        contexts = [self.network.join(encoder([prompt], self.context_tokens)) for prompt in prompts]
        lengths = {context.shape[1] for context in contexts}
        if len(lengths) > 1:
            raise ModelError(
                f"Contexts of {self.model_id} have no padding, and the prompts have {sorted(lengths)} tokens. Encode "
                "one at a time."
            )
        return torch.cat(contexts)

    def text_encoder(self) -> TextEncoder:
        """Return the checkpoint's own text encoder, loaded on first use; raises the errors of :meth:`encode_text`."""
        if self._text_encoder is None:
            parts = self._facts.text
            folder = self._fetch([name for part in parts for name in (part.encoder, part.tokenizer)])
            half = torch.bfloat16 if self.dtype == torch.bfloat16 else torch.float32
            self._text_encoder = TextEncoder(
                folder,
                self.model_id,
                parts,
                self.device,
                self._variant,
                padded=self._facts.padded,
                large_dtype=half,
                offload=self.offloaded is not None,
            )
        return self._text_encoder

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
            latent = torch.zeros(1, self.vae.config.latent_channels, height, width)
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
