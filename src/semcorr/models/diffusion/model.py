"""The frozen network as the methods see it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor

from semcorr.errors import ModelError
from semcorr.models import finite
from semcorr.models.device import Device, DType, find_device, find_dtype
from semcorr.models.diffusion import latents as _latents
from semcorr.models.diffusion.attention import project_keys, recording
from semcorr.models.diffusion.checkpoint import Checkpoint
from semcorr.models.diffusion.gradient_checkpointing import SavedBytes, recomputed
from semcorr.models.diffusion.layers import (
    DEFAULT_LAYERS,
    CrossAttentionLayer,
    Family,
    cross_attention_layers,
    cross_attention_module,
    select_layers,
)
from semcorr.models.diffusion.load import load_checkpoint
from semcorr.models.diffusion.text_encoder import TextEncoder
from semcorr.models.diffusion.trimmed_unet import trimmed_unet, unet_up_to
from semcorr.models.names import PHOTO_MODEL, with_variant
from semcorr.progress import Progress

_LATENTS, _CONTEXT = "noisy latents", "a context"

__all__ = ["DType", "Device", "DiffusionModel", "find_device"]


class DiffusionModel:
    """A frozen Stable Diffusion network whose cross-attention can be read, with gradients to the context.

    Attributes:
        model_id: what it was loaded by: a bundled name, a hub id or a path.
        revision: the hub commit, or None.
        fingerprint: a hash of the U-Net's and VAE's configuration and weights, to tell models apart.
        family: "sd1", "sd2", "sdxl" or "toy".
        resolution: side, in pixels, of the square images that the network was trained on.
        vae_factor: pixels a latent position is wide.
        context_tokens, context_dim: shape of one context (77 x 768 for Stable Diffusion 1.x).
        prediction_type: what the U-Net was trained to predict ("epsilon", "v_prediction"). The attention
            maps do not depend on it, because nothing after the last of them is read.
        layers: the cross-attention layers in the U-Net's order.
        unet, vae, scheduler: diffusers' own objects. ``unet`` is whole and is never changed.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device | str = "cpu") -> None:
        """Wrap a loaded checkpoint; :meth:`from_pretrained` is the usual way in."""
        self.device = torch.device(device)
        self.unet = checkpoint.unet.to(self.device)
        self.vae = checkpoint.vae.to(self.device)
        self.scheduler = checkpoint.scheduler
        self.model_id = checkpoint.model_id
        self.revision = checkpoint.revision
        self.fingerprint = checkpoint.fingerprint
        self.family: Family = checkpoint.family
        self.context_tokens = checkpoint.context_tokens
        self.context_dim: int = self.unet.config.cross_attention_dim
        self.dtype: torch.dtype = self.unet.dtype
        self.prediction_type: str = self.scheduler.config.prediction_type
        self.vae_factor: int = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.resolution: int = self.unet.config.sample_size * self.vae_factor
        self.layers = cross_attention_layers(self.unet)
        if self.family == "sdxl" and self.dtype == torch.float16 and self.vae.config.force_upcast:
            self.vae = self.vae.float()  # its activations overflow in half precision
        self._fetch = checkpoint.fetch
        self._variant = checkpoint.variant
        self._text_encoder: TextEncoder | None = None
        self._saved_bytes: dict[tuple[object, ...], int] = {}
        self._trimmed: dict[tuple[tuple[str, ...], bool], UNet2DConditionModel] = {}
        self._up_to: dict[int, UNet2DConditionModel] = {}

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = PHOTO_MODEL,
        *,
        revision: str | None = None,
        variant: str | None = None,
        dtype: DType = "float32",
        device: Device = "auto",
        local_files_only: bool = False,
        progress: Progress | None = None,
    ) -> "DiffusionModel":
        """Load a checkpoint, frozen.

        Args:
            model: "toy" (bundled with the package), a folder as diffusers saves it, one
                ``.safetensors`` file in the original layout, or a hub id such as
                "CompVis/stable-diffusion-v1-4". Only safetensors are read, never pickles.
            revision: branch, tag or commit of a hub id.
            variant: of the files, such as "bf16" or "non_ema", where a checkpoint has several; the same as
                ``model`` with a colon and the variant after it.
            dtype: precision of the weights and of the pass through the network; the attention's softmax
                and everything returned are float32 regardless.
            device: "auto" takes cuda, then mps, then cpu.
            local_files_only: use nothing but what is on this machine.
            progress: told ("download", bytes done, bytes in all, file=name) while files come from the hub.

        Raises:
            ModelError: the checkpoint is unknown, not here and not to be had, broken, or not one of
                Stable Diffusion 1.x, 2.x or SDXL.
        """
        checkpoint = load_checkpoint(
            with_variant(model, variant),
            revision=revision,
            dtype=find_dtype(dtype),
            local_files_only=local_files_only,
            progress=progress,
        )
        return cls(checkpoint, find_device(device))

    @property
    def default_layers(self) -> tuple[str, ...]:
        """The rule that chooses the paper's layers in this family."""
        return DEFAULT_LAYERS[self.family]

    def select_layers(self, spec: Sequence[str] | None = None) -> tuple[CrossAttentionLayer, ...]:
        """Choose layers by name or rule, the family's default without a ``spec``; see :func:`select_layers`."""
        return select_layers(self.layers, self.default_layers if spec is None else spec)

    def timestep(self, step_from_clean: int, of: int = 50) -> int:
        """Return the DDIM time step that is ``step_from_clean`` steps from the clean end: 8 of 50 is t = 140."""
        return _latents.ddim_timestep(self.scheduler, step_from_clean, of)

    def encode(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels latent_height latent_width"]:
        """Encode RGB images in [0, 1] to float32 latents: the posterior's mean, scaled. No gradient.

        Raises:
            NumericsError: a latent is not finite.
        """
        latents = _latents.encode(self.vae, images)
        again = partial(_latents.encode, self.vae, images)
        finite.check([latents], f"The VAE of {self.model_id!r}", self.vae, again, {"a picture": images})
        return latents

    def add_noise(
        self,
        latents: Float[Tensor, "batch channels height width"],
        noise: Float[Tensor, "batch channels height width"],
        t: int,
    ) -> Float[Tensor, "batch channels height width"]:
        """Return sqrt(abar_t) latents + sqrt(1 - abar_t) noise."""
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
        """Return the attention that every image position pays to some tokens, at some layers.

        Softmax over all tokens of Q K^T / sqrt(d), in float32, one map per head and asked-for token, under
        the layer's name. Token 1, the first after the start token, is the one the paper reads. Gradients
        reach ``context`` (and ``noisy``); the network is frozen. The U-Net is run up to the last of ``layers``.
        With ``gradient_checkpointing`` the backward pass takes less memory and runs most of the network again.

        Raises:
            NumericsError: an attention or a key is not finite.
        """
        self._check_context(context, tokens)
        unet = self.trimmed(layers, gradient_checkpointing=gradient_checkpointing and torch.is_grad_enabled())
        return self._record(unet, noisy, t, context, layers, tokens)

    @torch.no_grad()
    def queries(
        self,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
        layers: Sequence[CrossAttentionLayer],
    ) -> dict[str, Float[Tensor, "batch _heads _height _width _dim"]]:
        """Return what every image position asks of the context at some layers, under the layer's name.

        The image's side of :meth:`attention`, without a gradient: ``context`` has its effect through what the network
        makes of it before each layer. :meth:`keys` is the other half.

        Raises:
            NumericsError: a query is not finite.
        """
        self._check_context(context, (0,))
        return self._record(self.trimmed(layers), noisy, t, context, layers, None)

    def keys(
        self, context: Float[Tensor, "batch tokens dim"], layers: Sequence[CrossAttentionLayer]
    ) -> dict[str, Float[Tensor, "batch _heads tokens _dim"]]:
        """Return what every token of a context answers to at some layers, divided by sqrt(d), under the layer's name.

        No pass of the network; gradients reach ``context``. The context's side of :meth:`attention`, for
        :func:`semcorr.models.diffusion.attention.attention_to`.

        Raises:
            NumericsError: a key is not finite.
        """
        self._check_context(context, (0,))
        own = context.to(self.device, self.dtype)

        def project() -> dict[str, Tensor]:
            found = {}
            for layer in layers:
                attn = cross_attention_module(self.unet, layer)
                normed = attn.norm_encoder_hidden_states(own) if attn.norm_cross else own
                found[layer.name] = project_keys(attn, normed).float() * attn.scale
            return found

        found = project()
        finite.check(found.values(), self._unet_name, self.unet, project, {_CONTEXT: own})
        return found

    @property
    def _unet_name(self) -> str:
        return f"The U-Net of {self.model_id!r}"

    def _record(
        self,
        unet: UNet2DConditionModel,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
        layers: Sequence[CrossAttentionLayer],
        tokens: Sequence[int] | None,
    ) -> dict[str, Tensor]:
        """Run the network and record; insist that what is found is finite."""
        inputs = {_LATENTS: noisy, _CONTEXT: context}
        noisy = noisy.to(self.device, self.dtype)
        context = context.to(self.device, self.dtype)
        magnitudes: list[Tensor] = []

        def run() -> dict[str, Tensor]:
            with recording(tokens, (noisy.shape[2], noisy.shape[3]), magnitudes) as found:
                unet(noisy, t, context, added_cond_kwargs=self._added_conditions(noisy), return_dict=False)
            return {layer.name: found[layer.name] for layer in layers}

        found = run()
        finite.check([*found.values(), *magnitudes], self._unet_name, unet, run, inputs)
        return found

    @torch.no_grad()
    def features(
        self,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
        block: int,
    ) -> Float[Tensor, "batch _dim _height _width"]:
        """Return what a decoder block, counted from 0 at the bottom of the U-Net, gives to the next, in float32.

        The features of DIFT (Tang et al., 2023). Nothing after the block is run.

        Raises:
            LayerError: there is no such block.
            NumericsError: a feature is not finite.
        """
        self._check_context(context, (0,))
        if block not in self._up_to:
            self._up_to[block] = unet_up_to(self.unet, block)
        unet = self._up_to[block]
        noisy = noisy.to(self.device, self.dtype)
        context = context.to(self.device, self.dtype)
        added = self._added_conditions(noisy)
        run = partial(unet, noisy, t, context, added_cond_kwargs=added, return_dict=False)
        (found,) = run()
        finite.check([found], self._unet_name, unet, run, {_LATENTS: noisy, _CONTEXT: context})
        result: Tensor = found.float()
        return result

    def encode_text(self, prompts: Sequence[str]) -> Float[Tensor, "batch tokens dim"]:
        """Encode prompts into float32 contexts with the checkpoint's own text encoder, loaded on first use.

        With a hub id the text encoder is downloaded on first use too, unless it is in the cache.

        Raises:
            ModelError: the checkpoint has no text encoder or tokenizer, or they are not to be had.
        """
        return self.text_encoder()(prompts, self.context_tokens)

    def text_encoder(self) -> TextEncoder:
        """The checkpoint's own text encoder, loaded on first use; errors are those of :meth:`encode_text`."""
        if self._text_encoder is None:
            folder = self._fetch(TextEncoder.parts(self.family))
            self._text_encoder = TextEncoder(folder, self.model_id, self.family, self.device, self._variant)
        return self._text_encoder

    def saved_bytes_per_row(
        self,
        layers: Sequence[CrossAttentionLayer],
        *,
        latent_size: tuple[int, int] | None = None,
        gradient_checkpointing: bool = False,
    ) -> int:
        """Measure the bytes that autograd keeps for one row of :meth:`attention` until its backward pass.

        ``latent_size`` is (height, width), the native one if not given. The first call for a set of layers
        and a size runs the network once on one row; what the weights take is not counted. With
        ``gradient_checkpointing``, what is worked out again in one part of the network counts as well.
        """
        height, width = latent_size or (self.unet.config.sample_size,) * 2
        key = (*(layer.name for layer in layers), height, width, gradient_checkpointing)
        if key not in self._saved_bytes:
            latent = torch.zeros(1, self.unet.config.in_channels, height, width)
            context = torch.zeros(1, self.context_tokens, self.context_dim, requires_grad=True)
            saved = SavedBytes({weight.untyped_storage().data_ptr() for weight in self.unet.parameters()})
            unet = trimmed_unet(self.unet, layers, run_parts=saved.run) if gradient_checkpointing else None
            with torch.enable_grad(), saved:
                maps = self._record(unet or self.trimmed(layers), latent, 1, context, layers, (1,))
            del maps
            self._saved_bytes[key] = saved.bytes
        return self._saved_bytes[key]

    def trimmed(
        self, layers: Sequence[CrossAttentionLayer], *, gradient_checkpointing: bool = False
    ) -> UNet2DConditionModel:
        """The U-Net cut after the last of ``layers``, as :meth:`attention` runs it: one object for every choice.

        See :func:`semcorr.models.diffusion.trimmed_unet.trimmed_unet`.
        """
        key = tuple(layer.name for layer in layers), gradient_checkpointing
        if key not in self._trimmed:
            run_parts = recomputed if gradient_checkpointing else None
            self._trimmed[key] = trimmed_unet(self.unet, layers, run_parts=run_parts)
        return self._trimmed[key]

    def _check_context(self, context: Tensor, tokens: Sequence[int]) -> None:
        if context.shape[2] != self.context_dim:
            raise ModelError(
                f"{self.model_id} takes contexts {self.context_dim} wide, got {context.shape[2]}: "
                "use embeddings that were learned with this model."
            )
        outside = [token for token in tokens if not 0 <= token < context.shape[1]]
        if outside or not tokens:
            raise ModelError(f"Expected tokens from 0 to {context.shape[1] - 1}, got {outside or 'none'}.")

    def _added_conditions(self, noisy: Tensor) -> dict[str, Tensor] | None:
        """SDXL wants a pooled prompt and the picture's size: an empty prompt, and a picture that is not cut."""
        if self.family != "sdxl":
            return None
        config = self.unet.config
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        height, width = (side * self.vae_factor for side in noisy.shape[2:])
        ids: Int[Tensor, "6"] = torch.tensor([height, width, 0, 0, height, width], device=self.device)
        return {
            "text_embeds": noisy.new_zeros(len(noisy), pooled),
            "time_ids": ids.to(noisy.dtype).expand(len(noisy), 6),
        }
