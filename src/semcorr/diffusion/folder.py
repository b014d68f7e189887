"""Load a checkpoint from a folder in the layout that diffusers saves."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from semcorr.checkpoints.fingerprint import fingerprint
from semcorr.checkpoints.weights import PICKLED, check_files, choose_weights, read_json, reading
from semcorr.diffusion.layers import Family
from semcorr.diffusion.parts import (
    CONTEXT_TOKENS,
    Checkpoint,
    check_supported,
    family_of,
    make_schedule,
)
from semcorr.errors import ModelError

WEIGHT_STEMS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
_CLASSES: dict[str, Any] = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}


def load_folder(
    folder: Path,
    model_id: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    vae_from: Path | None = None,
) -> Checkpoint:
    """Load ``unet/`` and ``vae/``, and ``scheduler/`` where there is one.

    Without a scheduler the noise schedule is Stable Diffusion 1.x's. ``vae_from`` is another folder whose
    ``vae/`` is used.

    Raises:
        ModelError: a part is missing, pickled, damaged, or of another kind of network.
    """
    places = {"unet": folder, "vae": vae_from or folder}
    for part, place in places.items():
        reason = missing(place, part)
        if reason:
            raise ModelError(_what_is_missing(place, model_id, reason))
    unet, vae = (_load_network(place, part, model_id, dtype) for part, place in places.items())
    check_supported(model_id, unet, vae)
    with reading("configuration", model_id):
        schedule = make_schedule(read_json(folder / "scheduler" / "scheduler_config.json"))
        print_ = fingerprint(
            [read_json(place / part / "config.json") for part, place in places.items()],
            [file for part, place in places.items() for file in _weight_files(place, part)],
        )
        family, tokens = _family(folder, unet), _context_tokens(folder)
    return Checkpoint(
        model_id=model_id,
        revision=revision,
        fingerprint=print_,
        family=family,
        context_tokens=tokens,
        unet=unet,
        vae=vae,
        scheduler=schedule,
        fetch=partial(_insist_on, folder, model_id),
    )


def missing(folder: Path, part: str) -> str:
    """Say what keeps ``part`` of a folder from being loaded; an empty string when all its files are there."""
    if not (folder / part).is_dir():
        return f"it has no {part}/ folder"
    names = {file.name for file in (folder / part).iterdir()}
    if part not in WEIGHT_STEMS:
        return "" if names else f"its {part}/ folder is empty"
    if "config.json" not in names:
        return f"{part}/config.json is missing"
    if choose_weights(names, WEIGHT_STEMS[part])[1]:
        return ""
    pickled = sorted(name for name in names if name.endswith(PICKLED))
    if pickled:
        return f"the weights in {part}/ are pickled ({pickled[0]})"
    return f"{part}/{WEIGHT_STEMS[part]}.safetensors is missing"


def _what_is_missing(folder: Path, model_id: str, reason: str) -> str:
    if "pickled" in reason:
        return (
            f"{model_id} cannot be loaded: {reason}. A pickle can run any code when it is read, so only "
            "safetensors are: ask for a revision that has them, or save the model again with diffusers "
            "(save_pretrained writes safetensors)."
        )
    return (
        f"{model_id} is not a Stable Diffusion checkpoint as diffusers saves it: {reason} (in {folder}). "
        "Expected unet/ and vae/, each with config.json and diffusion_pytorch_model.safetensors."
    )


def _insist_on(folder: Path, model_id: str, parts: Sequence[str]) -> Path:
    for part in parts:
        reason = missing(folder, part)
        if reason:
            raise ModelError(_what_is_missing(folder, model_id, reason).split(" Expected ")[0])
    return folder


def _weight_files(folder: Path, part: str) -> list[Path]:
    _, files = choose_weights([file.name for file in (folder / part).iterdir()], WEIGHT_STEMS[part])
    return [folder / part / name for name in files if name.endswith(".safetensors")]


def _load_network(folder: Path, part: str, model_id: str, dtype: torch.dtype) -> Any:
    kind = _CLASSES[part]
    variant, files = choose_weights([file.name for file in (folder / part).iterdir()], WEIGHT_STEMS[part])
    with reading(part, model_id):
        config = read_json(folder / part / "config.json")
        check_files(folder / part, files, config)
        saved_as = config.get("_class_name", kind.__name__)
        if saved_as != kind.__name__:
            raise ValueError(f"its configuration is of {saved_as}, expected {kind.__name__}")
        network, notes = kind.from_pretrained(
            folder,
            subfolder=part,
            variant=variant,
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        # What is missing would silently be random numbers.
        absent = notes["missing_keys"] or notes["mismatched_keys"]
        if absent:
            raise ValueError(f"{len(absent)} weights are missing or of the wrong shape, the first is {absent[0]}")
    return network.eval().requires_grad_(False)


def _family(folder: Path, unet: UNet2DConditionModel) -> Family:
    return "toy" if read_json(folder / "semcorr.json").get("family") == "toy" else family_of(unet.config)


def _context_tokens(folder: Path) -> int:
    for file, key in (
        ("text_encoder/config.json", "max_position_embeddings"),
        ("tokenizer/tokenizer_config.json", "model_max_length"),
    ):
        length = read_json(folder / file).get(key)
        if isinstance(length, int) and 2 <= length < 10_000:  # "no limit" is written as a huge number
            return length
    return CONTEXT_TOKENS
