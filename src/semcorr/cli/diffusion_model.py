"""Load the network of a command that has no ``--method``."""

from typing import TYPE_CHECKING

from semcorr.cli import console
from semcorr.cli.options import Device, DType, Quantize, memory_options
from semcorr.models.names import PHOTO_MODEL

if TYPE_CHECKING:
    from semcorr.models.diffusion import DiffusionModel


def load_diffusion_model(
    model: str,
    revision: str | None,
    dtype: DType,
    device: Device,
    *,
    offload: bool = False,
    quantize: Quantize = None,
) -> "DiffusionModel":
    """Print which network is read, and load it; the paper's where ``model`` is empty."""
    from semcorr.models.device import resolve_dtype
    from semcorr.models.diffusion import DiffusionModel

    name = model or PHOTO_MODEL
    console.note(f"Reading the attention of {name}.")
    precision = resolve_dtype(dtype, DiffusionModel, name, device)
    more = memory_options(offload=offload, quantize=quantize)
    with console.TerminalProgress() as progress:
        progress.busy("load")
        return DiffusionModel.from_pretrained(
            name, revision=revision, dtype=precision, device=device, progress=progress, **more
        )
