"""The frozen text-to-image network whose cross-attention and features the matchers read."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import ModelError, SettingsError
from semcorr.models import finite
from semcorr.models.device import Device, DType, find_device, find_dtype
from semcorr.models.diffusion import latents as _latents
from semcorr.models.diffusion.checkpoint import Checkpoint
from semcorr.models.diffusion.load import load_checkpoint
from semcorr.models.diffusion.networks import network_class
from semcorr.models.diffusion.offloading import Offloaded
from semcorr.models.diffusion.quantization import Quantization, check_quantization
from semcorr.models.diffusion.reader import NetworkReader
from semcorr.models.diffusion.text_encoder import TextEncoder
from semcorr.models.names import PHOTO_MODEL, with_variant
from semcorr.progress import Progress

__all__ = ["DType", "Device", "DiffusionModel", "find_device"]


class DiffusionModel(NetworkReader):
    """A frozen text-to-image network whose cross-attention can be read, with gradients to the context.

    Attributes:
        revision: The hub commit, or None.
        fingerprint: A hash of the network's and VAE's configuration and weights that identifies the model.
        resolution: Side in pixels of the square images that the network was trained on.
        vae_factor: Pixels per latent position along each side.
        side_factor: Sides of images must be multiples of it: the pixels along what the network makes one position of.
        prediction_type: What the network was trained to predict ("epsilon", "v_prediction", "flow_prediction"). The
            attention maps do not depend on it, because nothing after the last of them is read.
        vae, scheduler: The objects of diffusers.
        quantize: What the linear layers of the network are quantised to, or None.
    """

    memory_options: ClassVar[tuple[str, ...]] = ("offload", "quantize")
    """Arguments of :meth:`from_pretrained` that fit a large network into little memory."""

    half_precision: ClassVar[bool] = True
    """Half precision is faster where the device has instructions for it."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device | str = "cpu", *, offload: bool = False) -> None:
        """Wrap a loaded checkpoint; :meth:`from_pretrained` is the usual way in."""
        own_device = torch.device(device)
        self.vae = checkpoint.vae.to(own_device)
        self.vae_factor = _latents.vae_factor(self.vae)
        module, kind = checkpoint.network, network_class(checkpoint.network)
        offloaded = Offloaded(module, own_device, staying=kind.weights_read) if offload else None
        super().__init__(
            kind(module if offload else module.to(own_device), self.vae_factor),
            model_id=checkpoint.model_id,
            family=checkpoint.family,
            context_tokens=checkpoint.context_tokens,
            latent_channels=self.vae.config.latent_channels,
            device=own_device,
            offloaded=offloaded,
        )
        self.scheduler = checkpoint.scheduler
        self.revision = checkpoint.revision
        self.fingerprint = checkpoint.fingerprint
        self.quantize = checkpoint.quantize
        self.prediction_type: str = self.scheduler.config.get("prediction_type", "flow_prediction")
        self.side_factor = self.vae_factor * self.network.patch_size
        self.resolution = self.network.sample_size * self.vae_factor
        if self._facts.float32_vae and self.dtype == torch.float16 and self.vae.config.get("force_upcast", True):
            self.vae = self.vae.float()  # its activations overflow in half precision
        self._fetch = checkpoint.fetch
        self._variant = checkpoint.variant
        self._text_encoder: TextEncoder | None = None

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
                f"({self.network.positions}), got {resolution or self.resolution}. Set a smaller one."
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
