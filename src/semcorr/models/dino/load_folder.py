"""Load a vision transformer from a folder in the layout that transformers saves."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import Dinov2Model, Dinov2WithRegistersModel, DINOv3ViTModel, ViTModel

from semcorr.errors import ModelError, suggest
from semcorr.models.fingerprint import fingerprint
from semcorr.models.hub import Needed
from semcorr.models.weights import (
    as_model_error,
    check_files,
    choose_weights,
    how_to_choose,
    lacking_weights,
    read_json,
    variants,
)

KINDS: Mapping[str, Any] = {
    "vit": ViTModel,
    "dinov2": Dinov2Model,
    "dinov2_with_registers": Dinov2WithRegistersModel,
    "dinov3_vit": DINOv3ViTModel,
}
"""Known networks by what config.json calls them (``model_type``); DINO's first version is a "vit"."""

EXPECTED = (
    "Expected a folder that transformers saved (save_pretrained), or a hub id such as facebook/dino-vits16 or "
    "facebook/dinov2-base."
)

_CONFIG, _PREPROCESSOR, _STEM = "config.json", "preprocessor_config.json", "model"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# A checkpoint may ask for other returns; they would have to be told apart.
_SETTINGS: Mapping[str, Any] = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}


@dataclass(frozen=True, kw_only=True)
class VisionCheckpoint:
    """A loaded network: :class:`semcorr.models.dino.VisionModel` tells what the fields mean.

    ``mean`` and ``std`` are those of each colour, for pictures in [0, 1].
    """

    model_id: str
    revision: str | None
    fingerprint: str
    kind: str
    network: Any
    patch: int
    resolution: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def load_folder(
    folder: Path,
    model_id: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    variant: str | None = None,
) -> VisionCheckpoint:
    """Load ``config.json``, ``model.safetensors`` (or its shards), and ``preprocessor_config.json`` where there is one.

    ``variant`` is that of the weights' file, such as "bf16".

    Raises:
        ModelError: a file is missing, pickled, damaged, or of another kind of network.
    """
    reason = missing(variant, folder)
    if reason:
        raise ModelError(_what_is_missing(folder, model_id, reason))
    with as_model_error("configuration", model_id):
        config, preprocessor = read_json(folder / _CONFIG), read_json(folder / _PREPROCESSOR)
    kind = _kind(config, model_id)
    network = _load_network(folder, kind, model_id, dtype, variant)
    with as_model_error("configuration", model_id):
        patch, resolution = _side(network.config, "patch_size"), _side(network.config, "image_size")
        if network.config.num_channels != 3:
            raise ValueError(f"the network takes {network.config.num_channels} channels, expected the 3 of RGB")
        mean = _colours(preprocessor, "image_mean", _IMAGENET_MEAN)
        std = _colours(preprocessor, "image_std", _IMAGENET_STD)
        print_ = _fingerprint(folder, variant, config, {"image_mean": mean, "image_std": std})
    return VisionCheckpoint(
        model_id=model_id,
        revision=revision,
        fingerprint=print_,
        kind=kind,
        network=network,
        patch=patch,
        resolution=resolution,
        mean=mean,
        std=std,
    )


def needed(variant: str | None = None) -> Needed:
    """What of a hub repository is downloaded."""
    return Needed(
        marker=_CONFIG,
        choose=partial(_choose, variant),
        missing=partial(missing, variant),
        otherwise="pass a folder that you have",
    )


def missing(variant: str | None, folder: Path) -> str:
    """Say what keeps a folder from being loaded; an empty string when all its files are there."""
    return _lacking(variant, [file.name for file in folder.iterdir()])


def _lacking(variant: str | None, names: Collection[str]) -> str:
    if _CONFIG not in names:
        return f"{_CONFIG} is missing"
    chosen, files = choose_weights(names, _STEM, variant)
    if variant is not None and chosen != variant:
        known = variants([name for name in names if "/" not in name], _STEM)
        return f"it has no whole variant {variant!r}: there is {', '.join(known) or 'none'}"
    return "" if files else lacking_weights([name for name in names if "/" not in name], _STEM)


def _choose(variant: str | None, repo_id: str, names: Collection[str]) -> list[str]:
    reason = _lacking(variant, names)
    if reason:
        raise ModelError(_what_is_missing(None, repo_id, reason))
    _, weights = choose_weights(names, _STEM, variant)
    return [*(name for name in (_CONFIG, _PREPROCESSOR) if name in names), *weights]


def _what_is_missing(folder: Path | None, model_id: str, reason: str) -> str:
    if "pickled" in reason:
        return (
            f"{model_id} cannot be loaded: {reason}. A pickle can run any code when it is read, so only safetensors "
            "are: ask for a revision that has them (on the hub often refs/pr/1 or another pull request's, see the "
            "repository's Community tab), or, if you trust the file, load it with transformers once and save it again "
            "(save_pretrained writes safetensors)."
        )
    if " variant " in reason:
        return f"{model_id} cannot be loaded as it is: {reason}. {how_to_choose(reason)}".rstrip()
    where = "" if folder is None else f" (in {folder})"
    return f"{model_id} is not a vision transformer as transformers saves it: {reason}{where}. {EXPECTED}"


def _kind(config: Mapping[str, Any], model_id: str) -> str:
    kind = str(config.get("model_type"))
    if kind not in KINDS:
        raise ModelError(
            f"{model_id} is a network of type {kind!r}.{suggest(kind, KINDS)} Expected one of {', '.join(KINDS)} "
            "(model_type in config.json)."
        )
    return kind


def _load_network(folder: Path, kind: str, model_id: str, dtype: torch.dtype, variant: str | None) -> Any:
    variant, files = choose_weights([file.name for file in folder.iterdir()], _STEM, variant)
    with as_model_error("network", model_id):
        check_files(folder, files, read_json(folder / _CONFIG))
        network, notes = KINDS[kind].from_pretrained(
            folder,
            variant=variant,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **_SETTINGS,
            # DINO has no pooler, and nobody reads that of others.
            **({"add_pooling_layer": False} if kind == "vit" else {}),
        )
        # What is missing would silently be random numbers.
        absent = sorted([*notes["missing_keys"], *notes["mismatched_keys"]], key=str)
        if absent:
            raise ValueError(f"{len(absent)} weights are missing or of the wrong shape, the first is {absent[0]}")
    return network.eval().requires_grad_(False)


def _side(config: Any, name: str) -> int:
    value = getattr(config, name)
    sides = set(value) if isinstance(value, list | tuple) else {value}
    if len(sides) != 1:
        raise ValueError(f"{name} is {value}, expected a square")
    return int(sides.pop())


def _colours(
    preprocessor: Mapping[str, Any], name: str, default: tuple[float, float, float]
) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in preprocessor.get(name) or default)
    if name == "image_std" and min(red, green, blue) <= 0:
        raise ValueError(f"{name} is {[red, green, blue]}, expected numbers above 0")
    return red, green, blue


def _fingerprint(folder: Path, variant: str | None, config: Mapping[str, Any], colours: Mapping[str, Any]) -> str:
    _, names = choose_weights([file.name for file in folder.iterdir()], _STEM, variant)
    files = [folder / name for name in names if name.endswith(".safetensors")]
    # Which version wrote the file says nothing about the network.
    stable = {key: value for key, value in config.items() if key != "transformers_version"}
    return fingerprint([stable, colours], files)
