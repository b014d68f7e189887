"""The memory that a checkpoint takes, from its configuration alone: no weight is downloaded, read or made."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from semcorr.errors import LayerError
from semcorr.models.counted_bytes import FusedAttention, most_bytes
from semcorr.models.device import DType, find_dtype
from semcorr.models.diffusion.attention import recording
from semcorr.models.diffusion.empty_checkpoint import EmptyCheckpoint, empty_checkpoint
from semcorr.models.diffusion.families import Family
from semcorr.models.diffusion.gradient_checkpointing import recomputed
from semcorr.models.diffusion.latents import vae_factor
from semcorr.models.diffusion.layers import select_layers
from semcorr.models.diffusion.network import DenoisingNetwork
from semcorr.models.diffusion.offloading import is_offloaded
from semcorr.models.diffusion.quantization import KINDS
from semcorr.models.weights import as_model_error
from semcorr.progress import Progress

_TOKENS = 77


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Numbers of a network's weights.

    Attributes:
        all: Of parameters.
        linear, rows: Of those in the matrices that are quantised, and of the rows of these.
        offloaded: Of those that are in main memory while their layer does not run.
        largest: Of the largest layer that is offloaded.
    """

    all: int
    linear: int
    rows: int
    offloaded: int
    largest: int

    def bytes(self, dtype: DType, quantize: str | None = None, *, offload: bool = False) -> int:
        """Return the bytes that they take on the device.

        Args:
            dtype: Precision.
            quantize: What linear layers are quantised to: a name of
                :data:`semcorr.models.diffusion.quantization.KINDS`.
            offload: Whether the network is offloaded: what stays, and one layer, the largest, are then on the device.
        """
        size = find_dtype(dtype).itemsize
        if offload:
            # A quantised layer is read at once in the network's precision.
            return (self.all - self.offloaded + self.largest) * size
        if quantize is None:
            return self.all * size
        kind = KINDS[quantize]
        return (self.all - self.linear) * size + round(self.linear * kind.weight_bytes + self.rows * kind.row_bytes)


@dataclass(frozen=True, kw_only=True)
class MemoryNeeds:
    """What a checkpoint takes.

    Attributes:
        model_id, family: Its name and its family's.
        network: Weights of the denoising network.
        vae: Number of the VAE's weights.
        text: Numbers of weights of the text encoders, by folder; they are loaded where a prompt is encoded.
        dtype: Precision that the following bytes are of.
        resolution, tokens: Side of the image in pixels, and length of the context.
        encode: The most bytes that tensors take at once, weights left out, while the VAE encodes an image.
        forward: Likewise while the network reads the attention of its default layers, for one image.
        gradient: Likewise with the gradient of a context.
        checkpointed: Likewise with gradient checkpointing; None if there is none for the network.
    """

    model_id: str
    family: str
    network: Weights
    vae: int
    text: Mapping[str, int]
    dtype: DType
    resolution: int
    tokens: int
    encode: int
    forward: int
    gradient: int
    checkpointed: int | None

    def peak(
        self, quantize: str | None = None, *, offload: bool = False, gradient: bool = False, checkpointing: bool = False
    ) -> int:
        """Return the bytes that one image takes at once, weights of network and VAE included."""
        run = self.forward
        if gradient:
            run = self.checkpointed if checkpointing and self.checkpointed is not None else self.gradient
        weights = self.network.bytes(self.dtype, quantize, offload=offload)
        return weights + self.vae * find_dtype(self.dtype).itemsize + max(self.encode, run)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A way to load a checkpoint, and what one image then takes of the device.

    Attributes:
        dtype, quantize, offload: As methods take them.
        network: Bytes of the network's weights, wherever they are.
        forward: The most bytes of the device while it reads its attention.
        gradient: Likewise with the gradient of a context, and gradient checkpointing where there is any.
    """

    dtype: DType
    quantize: str | None
    offload: bool
    network: int
    forward: int
    gradient: int

    @property
    def options(self) -> str:
        """The options of the command."""
        quantize = [] if self.quantize is None else [f"--quantize {self.quantize}"]
        return " ".join([f"--dtype {self.dtype}", *quantize, *(["--offload"] if self.offload else [])])


def fits(needs: Iterable[MemoryNeeds]) -> Iterator[Fit]:
    """Yield all ways to load a checkpoint, for its needs in several precisions, those that change the least first."""
    for offload in (False, True):
        for need in needs:
            for quantize in (None, *(KINDS if need.dtype != "float32" else ())):
                if offload and quantize is not None and not KINDS[quantize].offloads:
                    continue
                yield Fit(
                    dtype=need.dtype,
                    quantize=quantize,
                    offload=offload,
                    network=need.network.bytes(need.dtype, quantize),
                    forward=need.peak(quantize, offload=offload),
                    gradient=need.peak(quantize, offload=offload, gradient=True, checkpointing=True),
                )


def memory_needs(
    model: str | Path,
    *,
    dtype: DType = "bfloat16",
    revision: str | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> MemoryNeeds:
    """Compute what a checkpoint takes.

    The network is made without data, and runs without any: sizes of tensors are all that is computed. Attention that
    is not recorded counts as fused, as on a GPU.

    Args:
        model: A bundled name, a folder or a hub id, of which the configuration alone is downloaded.
        dtype: Precision of the network.
        revision: Branch, tag or commit of a hub id.
        local_files_only: Use only files on this machine.
        progress: Called during a download.

    Raises:
        ModelError: There is no such model, it is a single file, or of no family that is supported.
    """
    made = empty_checkpoint(model, revision=revision, local_files_only=local_files_only, progress=progress)
    family, vae, precision = made.family, made.vae, find_dtype(dtype)
    for one in (made.module, vae):
        nn.Module.to(one, precision)  # diffusers' own warns
    network = made.kind(made.module, vae_factor(vae))
    side = network.sample_size * vae_factor(vae)
    tokens = int(family.prompt.get("context_length") or family.tokens or _TOKENS)  # type: ignore[call-overload]
    image = torch.zeros(1, 3, side, side, device="meta", dtype=precision)
    run = _Runs(network, family, tokens, vae.config.latent_channels, precision)
    return MemoryNeeds(
        model_id=str(model),
        family=family.name,
        network=_weights(made),
        vae=_count(vae),
        text=_text(made),
        dtype=dtype,
        resolution=side,
        tokens=tokens,
        encode=most_bytes(lambda: vae.encode(image), vae),
        forward=run.bytes(),
        gradient=run.bytes(gradient=True),
        checkpointed=run.checkpointed(),
    )


def network_weights(
    model: str | Path,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> Weights:
    """Count the weights of a checkpoint's network; arguments and errors as for :func:`memory_needs`."""
    return _weights(empty_checkpoint(model, revision=revision, local_files_only=local_files_only, progress=progress))


@dataclass(frozen=True)
class _Runs:
    """Passes of one image, with nothing but sizes."""

    network: DenoisingNetwork
    family: Family
    tokens: int
    channels: int
    dtype: torch.dtype

    def bytes(self, *, gradient: bool = False, recompute: bool = False) -> int:
        network = self.network
        layers = select_layers(network.layers, self.family.layers)
        side = network.sample_size
        noisy = torch.zeros(1, self.channels, side, side, device="meta", dtype=self.dtype)
        context = torch.zeros(1, self.tokens, network.context_dim, device="meta", dtype=self.dtype)
        view = network.cut(layers, run_parts=_recomputed if recompute else None)

        def run() -> None:
            with torch.set_grad_enabled(gradient), recording((1,), (side, side)) as maps:
                network.run(view, noisy, 1, context.requires_grad_(gradient))
                if gradient:
                    torch.stack([one.sum() for one in maps.values()]).sum().backward()

        return most_bytes(run, network.module)

    def checkpointed(self) -> int | None:
        try:
            return self.bytes(gradient=True, recompute=True)
        except LayerError:
            return None


def _recomputed(module: nn.Module, *inputs: Any) -> Any:
    """Run a block as gradient checkpointing does; PyTorch leaves :class:`FusedAttention` for the backward pass."""

    def run(*own: Any) -> Any:
        with FusedAttention():
            return module(*own)

    return recomputed(run, *inputs)


def _text(made: EmptyCheckpoint) -> dict[str, int]:
    here = [one for one in made.family.text if (made.folder / one.encoder / "config.json").is_file()]
    with as_model_error("text encoder", made.name), torch.device("meta"):
        return {one.encoder: _count(_text_encoder(one.kind, made.folder / one.encoder)) for one in here}


def _text_encoder(kind: str, folder: Path) -> nn.Module:
    network: nn.Module = getattr(transformers, kind)(transformers.AutoConfig.from_pretrained(folder))
    return network


def _count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _weights(made: EmptyCheckpoint) -> Weights:
    modules = made.module.named_modules()
    own = [module for name, module in modules if is_offloaded(name, module, made.kind.weights_read)]
    matrices = [module.weight for module in own if isinstance(module, nn.Linear)]
    return Weights(
        all=_count(made.module),
        linear=sum(weight.numel() for weight in matrices),
        rows=sum(len(weight) for weight in matrices),
        offloaded=sum(map(_count, own)),
        largest=max(map(_count, own)),
    )
