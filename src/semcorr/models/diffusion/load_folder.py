"""Load a checkpoint from a folder in the layout that diffusers saves."""

import contextlib
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open

from semcorr.errors import ModelError
from semcorr.models.diffusion.checkpoint import (
    CONTEXT_TOKENS,
    Checkpoint,
    check_supported,
    family_of,
    make_schedule,
)
from semcorr.models.diffusion.kinds import SUPPORTED, check_kind, kind_of_class, kind_of_weights, traits_of_config
from semcorr.models.diffusion.layers import Family
from semcorr.models.fingerprint import fingerprint
from semcorr.models.weights import (
    as_model_error,
    check_files,
    choose_weights,
    how_to_choose,
    lacking_weights,
    read_json,
    variants,
)

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
    variant: str | None = None,
) -> Checkpoint:
    """Load ``unet/`` and ``vae/``, and ``scheduler/`` where there is one.

    Without a scheduler the noise schedule is Stable Diffusion 1.x's. ``vae_from`` is another folder whose
    ``vae/`` is used. ``variant`` is that of the files, such as "bf16"; a part that lacks it is read as usual, and the
    U-Net must have it.

    Raises:
        ModelError: a part is missing, pickled, damaged, or of another kind of network.
    """
    places = {"unet": folder, "vae": vae_from or folder}
    for part, place in places.items():
        reason = missing(place, part, variant)
        if reason:
            raise ModelError(_what_is_missing(place, model_id, reason))
    check_folder(folder, model_id)
    unet, vae = (_load_network(place, part, model_id, dtype, variant) for part, place in places.items())
    check_supported(model_id, unet, vae)
    with as_model_error("configuration", model_id):
        schedule = make_schedule(read_json(folder / "scheduler" / "scheduler_config.json"))
        print_ = fingerprint(
            [read_json(place / part / "config.json") for part, place in places.items()],
            [file for part, place in places.items() for file in _weight_files(place, part, variant)],
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
        fetch=partial(_insist_on, folder, model_id, variant),
        variant=variant,
    )


def missing(folder: Path, part: str, variant: str | None = None) -> str:
    """Say what keeps ``part`` of a folder from being loaded; an empty string when all its files are there."""
    names = {file.name for file in (folder / part).iterdir()} if (folder / part).is_dir() else None
    return lacking(names, part, variant)


def lacking(names: Collection[str] | None, part: str, variant: str | None) -> str:
    """The same of the file names of a part's folder; None where there is no such folder."""
    if names is None:
        return f"it has no {part}/ folder"
    if part not in WEIGHT_STEMS:
        return "" if names else f"its {part}/ folder is empty"
    if "config.json" not in names:
        return f"{part}/config.json is missing"
    stem = WEIGHT_STEMS[part]
    chosen, files = choose_weights(names, stem, variant)
    if variant is not None and part == "unet" and chosen != variant:
        known = [*variants(names, stem), *([f"{stem}.safetensors"] if files and chosen is None else [])]
        return f"{part}/ has no whole variant {variant!r}: there is {', '.join(known) or 'none'}"
    return "" if files else lacking_weights(names, stem, f"{part}/")


def check_folder(folder: Path, model_id: str) -> None:
    """Insist that a folder's U-Net is one of a supported family, by its configuration alone.

    Raises:
        ModelError: it is another kind of network, which is named where it is known.
    """
    with as_model_error("configuration", model_id):
        config, index = read_json(folder / "unet" / "config.json"), read_json(folder / "model_index.json")
        saved_as = config.get("_class_name", UNet2DConditionModel.__name__)
        if saved_as != UNet2DConditionModel.__name__:
            kind = kind_of_class(saved_as, index.get("_class_name"))
            raise ModelError(
                f"The unet of {model_id} is not supported: its configuration is of {saved_as}, expected "
                f"{UNet2DConditionModel.__name__}.{f' It looks like {kind}.' if kind else ''} {SUPPORTED}."
            )
        check_kind(model_id, traits_of_config(config, index))


def _what_is_missing(folder: Path, model_id: str, reason: str) -> str:
    if "pickled" in reason:
        return (
            f"{model_id} cannot be loaded: {reason}. A pickle can run any code when it is read, so only "
            "safetensors are: ask for a revision that has them, or save the model again with diffusers "
            "(save_pretrained writes safetensors)."
        )
    choice = how_to_choose(reason)
    if choice or " variant " in reason:
        return f"{model_id} cannot be loaded as it is: {reason}. {choice}".rstrip()
    kind = _kind_of_folder(folder)
    return (
        f"{model_id} is not a Stable Diffusion checkpoint as diffusers saves it: {reason} (in {folder}). "
        + (f"It looks like {kind}, which cannot be used alone or is not supported. " if kind else "")
        + f"{_single_files(folder)}Expected unet/ and vae/, each with config.json and "
        "diffusion_pytorch_model.safetensors."
    )


def _kind_of_folder(folder: Path) -> str:
    """Say what a folder without a whole U-Net and VAE is, by the class names in it and by its files' names."""
    if (folder / "adapter_config.json").exists() or (folder / "pytorch_lora_weights.safetensors").exists():
        return "an adapter (LoRA)"
    classes: list[object] = []
    for name in ("model_index.json", "config.json", "transformer/config.json", "prior/config.json"):
        with contextlib.suppress(ValueError, TypeError, OSError):
            found = read_json(folder / name)
            classes += [found.get("_class_name"), *(found.get("architectures") or ())]
    return kind_of_class(*classes)


def _single_files(folder: Path) -> str:
    """Say which checkpoints of the original layout lie in a folder that is none itself."""
    whole = []
    for file in sorted(folder.glob("*.safetensors")):
        with contextlib.suppress(Exception), safe_open(file, "pt") as opened:
            if not kind_of_weights(opened.keys()) or "first_stage_model.decoder.conv_in.weight" in opened.keys():  # noqa: SIM118
                whole.append(str(file))
    return f"It holds {', '.join(whole)}: name the file itself. " if whole else ""


def _insist_on(folder: Path, model_id: str, variant: str | None, parts: Sequence[str]) -> Path:
    for part in parts:
        reason = missing(folder, part, variant)
        if reason:
            raise ModelError(_what_is_missing(folder, model_id, reason).split(" Expected ")[0])
    return folder


def _weight_files(folder: Path, part: str, variant: str | None) -> list[Path]:
    _, files = choose_weights([file.name for file in (folder / part).iterdir()], WEIGHT_STEMS[part], variant)
    return [folder / part / name for name in files if name.endswith(".safetensors")]


def _load_network(folder: Path, part: str, model_id: str, dtype: torch.dtype, variant: str | None) -> Any:
    kind = _CLASSES[part]
    variant, files = choose_weights([file.name for file in (folder / part).iterdir()], WEIGHT_STEMS[part], variant)
    with as_model_error(part, model_id):
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
        # What is left over is of something that the network takes besides, and would silently be ignored.
        extra = sorted(notes["unexpected_keys"]) if part == "unet" else []
        if extra:
            raise ValueError(f"{len(extra)} weights have no place in the network, the first is {extra[0]}")
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
