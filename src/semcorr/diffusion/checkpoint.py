"""Find a checkpoint and load its U-Net, VAE and noise schedule."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from semcorr.diffusion.layers import Family
from semcorr.errors import ModelError, suggest
from semcorr.progress import Progress

BUNDLED = ("toy", "toy-plain")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded network: see :class:`semcorr.diffusion.DiffusionModel` for what the fields mean."""

    model_id: str
    revision: str | None
    fingerprint: str
    family: Family
    context_tokens: int
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    scheduler: DDIMScheduler
    folder: Path | None


# The noise schedule of Stable Diffusion 1.x and 2.x, and of SDXL.
STABLE_DIFFUSION_SCHEDULE: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
_SCHEDULE_KEYS = (*STABLE_DIFFUSION_SCHEDULE, "trained_betas", "rescale_betas_zero_snr")


def load_checkpoint(
    model: str | Path,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> Checkpoint:
    """Load a bundled model by name, a diffusers folder, an original-layout ``.safetensors`` file or a hub id."""
    name = str(model)
    if name in BUNDLED:
        return load_folder(_bundled_folder(name), name, dtype=dtype)
    path = Path(model).expanduser()
    if path.is_dir():
        return load_folder(path, name, dtype=dtype)
    raise ModelError(f"Unknown model {name!r}.{suggest(name, BUNDLED)}")


def _bundled_folder(name: str) -> Path:
    folder = Path(str(resources.files("semcorr"))) / "toy" / "weights" / name
    if not folder.is_dir():
        raise ModelError(f"The bundled model {name!r} is not part of this installation.")
    return folder


def load_folder(
    folder: Path, model_id: str, *, revision: str | None = None, dtype: torch.dtype = torch.float32
) -> Checkpoint:
    """Load a folder in the layout that diffusers saves: ``unet/``, ``vae/`` and, if there, ``scheduler/``."""
    unet = _load_part(UNet2DConditionModel, folder, "unet", dtype)
    vae = _load_part(AutoencoderKL, folder, "vae", dtype)
    return Checkpoint(
        model_id=model_id,
        revision=revision,
        fingerprint=_fingerprint(folder),
        family=_family(folder, unet),
        context_tokens=_context_tokens(folder),
        unet=unet,
        vae=vae,
        scheduler=_load_schedule(folder),
        folder=folder,
    )


def _load_part(kind: Any, folder: Path, part: str, dtype: torch.dtype) -> Any:
    network = kind.from_pretrained(
        folder, subfolder=part, torch_dtype=dtype, use_safetensors=True, local_files_only=True
    )
    return network.eval().requires_grad_(False)


def _load_schedule(folder: Path) -> DDIMScheduler:
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    return make_schedule(config)


def make_schedule(config: Mapping[str, Any]) -> DDIMScheduler:
    """Make the noise schedule from a scheduler's configuration, whatever sampler that configuration is for."""
    chosen = {key: config[key] for key in _SCHEDULE_KEYS if config.get(key) is not None}
    return DDIMScheduler(**{**STABLE_DIFFUSION_SCHEDULE, **chosen})


def _family(folder: Path, unet: UNet2DConditionModel) -> Family:
    note = folder / "semcorr.json"
    if note.is_file() and json.loads(note.read_text()).get("family") == "toy":
        return "toy"
    return family_of(unet.config)


def family_of(config: Mapping[str, Any]) -> Family:
    """Tell the family from a U-Net's configuration."""
    if config.get("addition_embed_type") == "text_time":
        return "sdxl"
    return "sd2" if config.get("use_linear_projection") else "sd1"


def _context_tokens(folder: Path) -> int:
    for file, key in (
        ("text_encoder/config.json", "max_position_embeddings"),
        ("tokenizer/tokenizer_config.json", "model_max_length"),
    ):
        path = folder / file
        length = json.loads(path.read_text()).get(key) if path.is_file() else None
        if isinstance(length, int) and length < 10_000:  # "no limit" is written as a huge number
            return length
    return 77


def _fingerprint(folder: Path) -> str:
    digest = sha256()
    for part in ("unet", "vae"):
        for file in sorted((folder / part).glob("*.safetensors")):
            digest.update(file.read_bytes())
    return digest.hexdigest()
