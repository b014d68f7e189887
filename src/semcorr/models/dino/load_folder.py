"""Load a vision transformer from a folder in the layout that transformers saves."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import Dinov2Model, Dinov2WithRegistersModel, DINOv3ViTModel, ViTModel

from semcorr.errors import ModelError, suggest
from semcorr.models.fingerprint import fingerprint
from semcorr.models.hub import RequiredFiles
from semcorr.models.weights import (
    as_model_error,
    choose_weights,
    folder_weights,
    how_to_choose,
    lacking_weights,
    load_network,
    read_json,
    variants,
)

KINDS: Mapping[str, Any] = {
    "vit": ViTModel,
    "dinov2": Dinov2Model,
    "dinov2_with_registers": Dinov2WithRegistersModel,
    "dinov3_vit": DINOv3ViTModel,
}
"""Known networks by their ``model_type`` in config.json; DINO's first version is a "vit"."""

EXPECTED = (
    "Expected a folder that transformers saved (save_pretrained), or a hub id such as facebook/dino-vits16 or "
    "facebook/dinov2-base."
)

_CONFIG, _PREPROCESSOR, _STEM = "config.json", "preprocessor_config.json", "model"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# A checkpoint's configuration may request another form of output.
_OUTPUT: Mapping[str, Any] = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}


@dataclass(frozen=True, kw_only=True)
class VisionCheckpoint:
    """A loaded network; :class:`semcorr.models.dino.VisionModel` documents the fields.

    ``mean`` and ``std`` are those of each colour channel, for images in [0, 1].
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
    """Load ``config.json``, ``model.safetensors`` (or its shards), and ``preprocessor_config.json`` if there is one.

    ``variant`` is that of the file with the weights, such as "bf16".

    Raises:
        ModelError: A file is missing, pickled, damaged, or of another kind of network.
    """
    reason = VisionFiles(variant).missing(folder)
    if reason:
        raise ModelError(_incomplete(folder, model_id, reason))
    with as_model_error("configuration", model_id):
        config, preprocessor = read_json(folder / _CONFIG), read_json(folder / _PREPROCESSOR)
    kind = _kind(config, model_id)
    with as_model_error("network", model_id):
        # DINO has no pooler, and the pooler of other networks is not used.
        pooling = {"add_pooling_layer": False} if kind == "vit" else {}
        network, _ = load_network(KINDS[kind], folder, _STEM, variant, dtype=dtype, **_OUTPUT, **pooling)
    with as_model_error("configuration", model_id):
        patch, resolution = _side(network.config, "patch_size"), _side(network.config, "image_size")
        if network.config.num_channels != 3:
            raise ValueError(f"the network takes {network.config.num_channels} channels, expected the 3 of RGB")
        mean = _colours(preprocessor, "image_mean", _IMAGENET_MEAN)
        std = _colours(preprocessor, "image_std", _IMAGENET_STD)
        fingerprint_ = _fingerprint(folder, variant, config, {"image_mean": mean, "image_std": std})
    return VisionCheckpoint(
        model_id=model_id,
        revision=revision,
        fingerprint=fingerprint_,
        kind=kind,
        network=network,
        patch=patch,
        resolution=resolution,
        mean=mean,
        std=std,
    )


@dataclass(frozen=True)
class VisionFiles(RequiredFiles):
    """The configuration and safetensors weights of a network, in a variant if one is given."""

    alternative: ClassVar[str] = "pass a folder that you have"
    variant: str | None = None

    def missing(self, folder: Path) -> str:
        """Return what a folder lacks, or an empty string if it is complete."""
        return self._missing_in([file.name for file in folder.iterdir()])

    def choose(self, repo_id: str, names: Collection[str]) -> list[str]:
        """Return the files to download, weights last; raise ``ModelError`` if the repository lacks one."""
        reason = self._missing_in(names)
        if reason:
            raise ModelError(_incomplete(None, repo_id, reason))
        configs = [name for name in (_CONFIG, _PREPROCESSOR) if name in names]
        return configs + choose_weights(names, _STEM, self.variant)[1]

    def _missing_in(self, names: Collection[str]) -> str:
        if _CONFIG not in names:
            return f"{_CONFIG} is missing"
        top = [name for name in names if "/" not in name]
        chosen, files = choose_weights(names, _STEM, self.variant)
        if self.variant is not None and chosen != self.variant:
            known = variants(top, _STEM)
            return f"it has no whole variant {self.variant!r}: there is {', '.join(known) or 'none'}"
        return "" if files else lacking_weights(top, _STEM)


def _incomplete(folder: Path | None, model_id: str, reason: str) -> str:
    if "pickled" in reason:
        return (
            f"{model_id} cannot be loaded: {reason}. A pickle can run any code when it is read, so only safetensors "
            "are read: ask for a revision that has them (on the hub often refs/pr/1 or another pull request's, see the "
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
    files = [folder / name for name in folder_weights(folder, _STEM, variant)[1] if name.endswith(".safetensors")]
    # The version that wrote the file is no property of the network.
    stable = {key: value for key, value in config.items() if key != "transformers_version"}
    return fingerprint([stable, colours], files)
