"""The frozen text-to-image network whose cross-attention and features the matchers read."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

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
        model_id: The bundled name, hub id or path that it was loaded from.
        revision: The hub commit, or None.
        fingerprint: A hash of the U-Net's and VAE's configuration and weights that identifies the model.
        family: "sd1", "sd2", "sdxl" or "toy".
        resolution: Side in pixels of the square images that the network was trained on.
        vae_factor: Pixels per latent position along each side.
        context_tokens, context_dim: Shape of one context (77 x 768 for Stable Diffusion 1.x).
        prediction_type: What the U-Net was trained to predict ("epsilon", "v_prediction"). The attention maps do not
            depend on it, because nothing after the last of them is read.
        layers: The cross-attention layers in the U-Net's order.
        unet, vae, scheduler: The objects of diffusers. ``unet`` is whole and is never changed.
    """

    half_precision: ClassVar[bool] = True
    """Half precision is faster where the device has instructions for it."""

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
            model: "toy" (bundled with the package), a folder as diffusers saves it, one ``.safetensors`` file in the
                original layout, or a hub id such as "CompVis/stable-diffusion-v1-4". Only safetensors are read, never
                pickles.
            revision: Branch, tag or commit of a hub id.
            variant: Variant of the files, such as "bf16" or "non_ema", of a checkpoint that has several; the same as
                ``model`` followed by a colon and the variant.
            dtype: Precision of the weights and of the forward pass; the attention's softmax and all results are
                float32 regardless.
            device: "auto" takes cuda, then mps, then cpu.
            local_files_only: Use only files on this machine.
            progress: Called with ("download", bytes done, bytes in all, file=name) while files are downloaded.

        Raises:
            ModelError: The checkpoint is unknown, cannot be had, is damaged, or is not one of Stable Diffusion 1.x, 2.x
                or SDXL.
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
        """The rules that select the paper's layers in this family."""
        return DEFAULT_LAYERS[self.family]

    def select_layers(self, spec: Sequence[str] | None = None) -> tuple[CrossAttentionLayer, ...]:
        """Choose layers by name or rule, by default the family's own; see :func:`select_layers`."""
        return select_layers(self.layers, self.default_layers if spec is None else spec)

    def timestep(self, step_from_clean: int, of: int = 50) -> int:
        """Return the DDIM time step that is ``step_from_clean`` steps from the clean end: 8 of 50 is t = 140."""
        return _latents.ddim_timestep(self.scheduler, step_from_clean, of)

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
        """Return the attention of every image position to some tokens, at some layers.

        Softmax over all tokens of Q K^T / sqrt(d), in float32, one map per head and requested token, under the layer's
        name. The paper reads token 1, the first after the start token. Gradients reach ``context`` (and ``noisy``); the
        network is frozen. The U-Net is run up to the last of ``layers``. With ``gradient_checkpointing`` the backward
        pass takes less memory and runs most of the network again.

        Raises:
            NumericsError: An attention or a key is NaN or infinite.
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
        """Return the query of every image position at some layers, under the layer's name. No gradient.

        The image's side of :meth:`attention`; ``context`` acts on it through the layers before. :meth:`keys` returns
        the context's side.

        Raises:
            NumericsError: A query is NaN or infinite.
        """
        self._check_context(context, (0,))
        return self._record(self.trimmed(layers), noisy, t, context, layers, None)

    def keys(
        self, context: Float[Tensor, "batch tokens dim"], layers: Sequence[CrossAttentionLayer]
    ) -> dict[str, Float[Tensor, "batch _heads tokens _dim"]]:
        """Return the key of every token of a context at some layers, divided by sqrt(d), under the layer's name.

        The context's side of :meth:`attention`, for :func:`semcorr.models.diffusion.attention.attention_to`, without a
        forward pass of the network. Gradients reach ``context``.

        Raises:
            NumericsError: A key is NaN or infinite.
        """
        self._check_context(context, (0,))
        own = context.to(self.device, self.dtype)

        def project() -> dict[str, Tensor]:
            projected = {}
            for layer in layers:
                attn = cross_attention_module(self.unet, layer)
                normed = attn.norm_encoder_hidden_states(own) if attn.norm_cross else own
                projected[layer.name] = project_keys(attn, normed).float() * attn.scale
            return projected

        keys = project()
        finite.check(keys.values(), self._unet_name, self.unet, project, {_CONTEXT: own})
        return keys

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
        """Run the network and return the recording, which must be finite."""
        inputs = {_LATENTS: noisy, _CONTEXT: context}
        noisy = noisy.to(self.device, self.dtype)
        context = context.to(self.device, self.dtype)
        magnitudes: list[Tensor] = []

        def run() -> dict[str, Tensor]:
            with recording(tokens, (noisy.shape[2], noisy.shape[3]), magnitudes) as tensors:
                unet(noisy, t, context, added_cond_kwargs=self._added_conditions(noisy), return_dict=False)
            return {layer.name: tensors[layer.name] for layer in layers}

        recorded = run()
        finite.check([*recorded.values(), *magnitudes], self._unet_name, unet, run, inputs)
        return recorded

    @torch.no_grad()
    def features(
        self,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
        block: int,
    ) -> Float[Tensor, "batch _dim _height _width"]:
        """Return the output of a decoder block, counted from 0 at the bottom of the U-Net, in float32.

        These are the features of DIFT (Tang et al., 2023). Nothing after the block is run.

        Raises:
            LayerError: There is no such block.
            NumericsError: A feature is NaN or infinite.
        """
        self._check_context(context, (0,))
        if block not in self._up_to:
            self._up_to[block] = unet_up_to(self.unet, block)
        unet = self._up_to[block]
        noisy = noisy.to(self.device, self.dtype)
        context = context.to(self.device, self.dtype)
        added = self._added_conditions(noisy)
        run = partial(unet, noisy, t, context, added_cond_kwargs=added, return_dict=False)
        (output,) = run()
        finite.check([output], self._unet_name, unet, run, {_LATENTS: noisy, _CONTEXT: context})
        result: Tensor = output.float()
        return result

    def encode_text(self, prompts: Sequence[str]) -> Float[Tensor, "batch tokens dim"]:
        """Encode prompts into float32 contexts with the checkpoint's own text encoder, loaded on first use.

        The text encoder of a hub id is also downloaded on first use, unless it is in the cache.

        Raises:
            ModelError: The checkpoint has no text encoder or tokenizer, or they cannot be had.
        """
        return self.text_encoder()(prompts, self.context_tokens)

    def text_encoder(self) -> TextEncoder:
        """Return the checkpoint's own text encoder, loaded on first use; raises the errors of :meth:`encode_text`."""
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
        """Measure the bytes that autograd saves for one row of :meth:`attention` until its backward pass.

        ``latent_size`` is (height, width), by default the native one. The first call for a set of layers and a size
        runs the network once on one row; the weights are not counted. With ``gradient_checkpointing``, the tensors that
        are recomputed inside one block count as well.
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
        """Return the U-Net cut after the last of ``layers``, as :meth:`attention` runs it; the same object each time.

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
                "use embeddings that were optimized with this model."
            )
        outside = [token for token in tokens if not 0 <= token < context.shape[1]]
        if outside or not tokens:
            raise ModelError(f"Expected tokens from 0 to {context.shape[1] - 1}, got {outside or 'none'}.")

    def _added_conditions(self, noisy: Tensor) -> dict[str, Tensor] | None:
        """Return SDXL's pooled prompt and image sizes, for an empty prompt and an image that is not cropped."""
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
