"""Load what diffusers saves: a checkpoint's folder, or a file with the weights of its network alone."""

import contextlib
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from semcorr.errors import ModelError
from semcorr.models.diffusion.checkpoint import (
    CONTEXT_TOKENS,
    Checkpoint,
    check_supported,
    check_transformer,
    make_schedule,
)
from semcorr.models.diffusion.families import FAMILIES, TRANSFORMERS, Family, family_of
from semcorr.models.diffusion.kinds import SUPPORTED, check_kind, kind_of_class, kind_of_weights, traits_of_config
from semcorr.models.diffusion.networks import network_class_of
from semcorr.models.diffusion.quantization import quantization_config
from semcorr.models.fingerprint import fingerprint
from semcorr.models.names import PICKLED
from semcorr.models.weights import (
    as_model_error,
    check_types,
    choose_weights,
    folder_weights,
    how_to_choose,
    lacking_weights,
    load_network,
    pickle_message,
    read_json,
    variants,
)
from semcorr.storage.files import is_file

WEIGHT_STEMS = {
    "unet": "diffusion_pytorch_model",
    "transformer": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
    "text_encoder_3": "model",
}
UNET, TRANSFORMER = "unet", "transformer"


def network_part(names: Iterable[str]) -> str:
    """Return the folder of the network, given the names of a checkpoint's files, with "/", or folders."""
    folders = {name.split("/")[0] for name in names}
    return TRANSFORMER if TRANSFORMER in folders and UNET not in folders else UNET


def load_folder(
    folder: Path,
    model_id: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    vae_from: Path | None = None,
    variant: str | None = None,
    quantize: str | None = None,
) -> Checkpoint:
    """Load ``unet/`` or ``transformer/``, and ``vae/``, and ``scheduler/`` if there is one.

    Args:
        folder: The checkpoint's folder.
        model_id: Name of the model.
        revision: Commit of a hub id.
        dtype: Precision of the weights.
        vae_from: Another folder whose ``vae/`` is used.
        variant: Variant of the files, such as "bf16". The network must have it; other parts fall back to their usual
            files.
        quantize: What the linear layers of the network are quantised to, each as it is read: a name of
            :data:`semcorr.models.diffusion.quantization.KINDS`.

    Returns:
        The checkpoint, with the noise schedule of its family if the folder has no scheduler.

    Raises:
        ModelError: A part is missing, pickled, damaged, or of another kind of network.
    """
    part = network_part(_folders(folder))
    folders = {part: folder, "vae": vae_from or folder}
    if is_file(folder / part / "config.json"):
        check_folder(folder, model_id)  # another kind of network is named as such, whatever it lacks
    for name, parent in folders.items():
        reason = missing(parent, name, variant)
        if reason:
            raise ModelError(_incomplete(parent, model_id, reason))
    family = check_folder(folder, model_id)
    classes = {part: family.network, "vae": family.vae}
    more = {}
    if quantize is not None:
        whole = network_class_of(family.network).weights_read
        more = {part: {"quantization_config": quantization_config(quantize, dtype, whole)}}
    network, vae = (
        _load_part(parent / name, name, classes[name], model_id, variant, torch_dtype=dtype, **more.get(name, {}))
        for name, parent in folders.items()
    )
    check_supported(model_id, network, vae)
    with as_model_error("configuration", model_id):
        schedule = make_schedule(read_json(folder / "scheduler" / "scheduler_config.json"), family.schedule)
        fingerprint_ = fingerprint(
            [read_json(parent / name / "config.json") for name, parent in folders.items()],
            [
                parent / name / file
                for name, parent in folders.items()
                for file in folder_weights(parent / name, WEIGHT_STEMS[name], variant)[1]
                if file.endswith(".safetensors")
            ],
        )
        tokens = family.tokens or _context_tokens(folder)
    return Checkpoint(
        model_id=model_id,
        revision=revision,
        fingerprint=fingerprint_,
        family=family.name,
        context_tokens=tokens,
        network=network,
        vae=vae,
        scheduler=schedule,
        fetch=partial(_check_parts, folder, model_id, variant),
        variant=variant,
        quantize=quantize,
    )


def with_unet_file(checkpoint: Checkpoint, file: Path, name: str) -> Checkpoint:
    """Load the weights of a U-Net, in diffusers' layout, into a checkpoint's own U-Net; its precision stays.

    Args:
        checkpoint: Checkpoint of the same kind of network. Its own U-Net is overwritten.
        file: A safetensors file with every weight of the U-Net, as CleanDIFT's are published (Stracke et al., 2024).
        name: Name of the resulting model.

    Raises:
        ModelError: The file is missing, pickled, damaged, or of another network.
    """
    if file.suffix.lower() in PICKLED:
        raise ModelError(pickle_message(file, "Use the U-Net's .safetensors file."))
    if not is_file(file):
        raise ModelError(
            f"There is no U-Net at {str(file)!r}: no such file. Expected, after the '+' of a model's name, the path of "
            "a .safetensors file with the U-Net's weights."
        )
    with as_model_error("U-Net", str(file)):
        with safe_open(file, framework="pt") as opened:
            check_types(opened)
        checkpoint.network.load_state_dict(load_file(file))
        own = fingerprint([], [file])
    both = hashlib.sha256(f"{checkpoint.fingerprint} {own}".encode()).hexdigest()
    return replace(checkpoint, model_id=name, fingerprint=both)


def missing(folder: Path, part: str, variant: str | None = None) -> str:
    """Say what keeps a part of a folder from being loaded; return an empty string if all its files are there."""
    names = [file.name for file in (folder / part).iterdir()] if (folder / part).is_dir() else None
    return missing_in(names, part, variant)


def missing_in(names: Collection[str] | None, part: str, variant: str | None) -> str:
    """Do the same for the file names of a part's folder; None means that there is no such folder."""
    if names is None:
        return f"it has no {part}/ folder"
    if part not in WEIGHT_STEMS:
        return "" if names else f"its {part}/ folder is empty"
    if "config.json" not in names:
        return f"{part}/config.json is missing"
    stem = WEIGHT_STEMS[part]
    chosen, files = choose_weights(names, stem, variant)
    if variant is not None and part in (UNET, TRANSFORMER) and chosen != variant:
        known = [*variants(names, stem), *([f"{stem}.safetensors"] if files and chosen is None else [])]
        return f"{part}/ has no whole variant {variant!r}: there is {', '.join(known) or 'none'}"
    return "" if files else lacking_weights(names, stem, f"{part}/")


def check_folder(folder: Path, model_id: str) -> Family:
    """Check by its configuration alone that a folder's network is of a supported family, and return the family.

    Raises:
        ModelError: It is another kind of network, which the message names if it is known.
    """
    with as_model_error("configuration", model_id):
        part = network_part(_folders(folder))
        config, index = read_json(folder / part / "config.json"), read_json(folder / "model_index.json")
        pipeline = index.get("_class_name")
        family = family_of(config, pipeline, read_json(folder / "semcorr.json").get("family"))
        if family is None or (family.network in TRANSFORMERS) != (part == TRANSFORMER):
            saved_as = config.get("_class_name")
            kind = kind_of_class(saved_as, pipeline)
            expected = FAMILIES["sd1"].network if part == UNET else " or ".join(sorted(TRANSFORMERS))
            raise ModelError(
                f"The {part} of {model_id} is not supported: its configuration is of {saved_as}, expected "
                f"{expected}.{f' It looks like {kind}.' if kind else ''} {SUPPORTED}."
            )
        if part == TRANSFORMER:
            check_transformer(model_id, config, family)
            return family
        check_kind(model_id, traits_of_config(config, index))
        return family


def _incomplete(folder: Path, model_id: str, reason: str) -> str:
    if "pickled" in reason:
        return (
            f"{model_id} cannot be loaded: {reason}. A pickle can run any code when it is read, so only "
            "safetensors are read: ask for a revision that has them, or save the model again with diffusers "
            "(save_pretrained writes safetensors)."
        )
    choice = how_to_choose(reason)
    if choice or " variant " in reason:
        return f"{model_id} cannot be loaded as it is: {reason}. {choice}".rstrip()
    kind = _kind_of_folder(folder)
    return (
        f"{model_id} is not a diffusion checkpoint as diffusers saves it: {reason} (in {folder}). "
        + (f"It looks like {kind}, which cannot be used alone or is not supported. " if kind else "")
        + f"{_single_files(folder)}Expected unet/ or transformer/, and vae/, each with config.json and "
        "diffusion_pytorch_model.safetensors."
    )


def _kind_of_folder(folder: Path) -> str:
    """Name the kind of a folder without a whole network and VAE, by the class names and file names in it."""
    if (folder / "adapter_config.json").exists() or (folder / "pytorch_lora_weights.safetensors").exists():
        return "an adapter (LoRA)"
    classes: list[object] = []
    for name in ("model_index.json", "config.json", "transformer/config.json", "prior/config.json"):
        with contextlib.suppress(ValueError, TypeError, OSError):
            config = read_json(folder / name)
            classes += [config.get("_class_name"), *(config.get("architectures") or ())]
    return kind_of_class(*classes)


def _single_files(folder: Path) -> str:
    """Name the checkpoints in the original layout that lie in a folder that is no checkpoint itself."""
    whole = []
    for file in sorted(folder.glob("*.safetensors")):
        with contextlib.suppress(Exception), safe_open(file, "pt") as opened:
            if not kind_of_weights(opened.keys()) or "first_stage_model.decoder.conv_in.weight" in opened.keys():  # noqa: SIM118
                whole.append(str(file))
    return f"It holds {', '.join(whole)}: name the file itself. " if whole else ""


def _check_parts(folder: Path, model_id: str, variant: str | None, parts: Sequence[str]) -> Path:
    for part in parts:
        reason = missing(folder, part, variant)
        if reason:
            raise ModelError(_incomplete(folder, model_id, reason).split(" Expected ")[0])
    return folder


def _folders(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir() if one.is_dir()]


def _load_part(folder: Path, part: str, expected: str, model_id: str, variant: str | None, **options: Any) -> Any:
    with as_model_error(part, model_id):
        saved_as = read_json(folder / "config.json").get("_class_name", expected)
        if saved_as != expected:
            raise ValueError(f"its configuration is of {saved_as}, expected {expected}")
        kind = getattr(diffusers, expected)
        network, extra = load_network(kind, folder, WEIGHT_STEMS[part], variant, **options)
        # They belong to another input of the network, which would silently be ignored.
        if part != "vae" and extra:
            raise ValueError(f"{len(extra)} weights have no counterpart in the network, the first is {extra[0]}")
    return network


def _context_tokens(folder: Path) -> int:
    for file, key in (
        ("text_encoder/config.json", "max_position_embeddings"),
        ("tokenizer/tokenizer_config.json", "model_max_length"),
    ):
        length = read_json(folder / file).get(key)
        if isinstance(length, int) and 2 <= length < 10_000:  # "no limit" is written as a huge number
            return length
    return CONTEXT_TOKENS
