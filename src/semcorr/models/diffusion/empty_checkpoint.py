"""Make a checkpoint's networks from their configuration alone: with sizes, and without weights."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import diffusers
import torch

from semcorr.errors import ModelError
from semcorr.models import hub
from semcorr.models.diffusion.checkpoint import CONTEXT_TOKENS, Checkpoint, check_supported, make_schedule
from semcorr.models.diffusion.families import Family
from semcorr.models.diffusion.load import bundled_folder
from semcorr.models.diffusion.load_folder import check_folder, network_part
from semcorr.models.diffusion.model import DiffusionModel
from semcorr.models.diffusion.network import DenoisingNetwork
from semcorr.models.diffusion.networks import network_class_of
from semcorr.models.names import BUNDLED_DRAWING_MODELS, is_hub_id, split_unet_file, split_variant
from semcorr.models.weights import as_model_error, check_layers, read_json
from semcorr.progress import Progress
from semcorr.storage.files import exists, is_dir

_MOST_LAYERS = 10_000


@dataclass(frozen=True, kw_only=True)
class EmptyCheckpoint:
    """A checkpoint whose networks are on the device "meta".

    Attributes:
        name: Its name, without a variant of its files.
        folder: Where its configuration is.
        family: Its family.
        module, vae: The objects of diffusers.
    """

    name: str
    folder: Path
    family: Family
    module: Any
    vae: Any

    @property
    def kind(self) -> type[DenoisingNetwork]:
        """The class that wraps the network."""
        return network_class_of(self.family.network)


def has_configuration(model: str | Path) -> bool:
    """Whether :func:`empty_checkpoint` takes a model: everything but single files."""
    return not Path(split_variant(split_unet_file(str(model))[0])[0]).expanduser().is_file()


def empty_checkpoint(
    model: str | Path,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> EmptyCheckpoint:
    """Make the networks of a checkpoint.

    Args:
        model: A bundled name, a folder or a hub id, of which the configuration alone is downloaded. A U-Net from a file
            of its own has the sizes of the checkpoint's.
        revision: Branch, tag or commit of a hub id.
        local_files_only: Use only files on this machine.
        progress: Called during a download.

    Raises:
        ModelError: There is no such model, it is a single file, or of no family that is supported.
    """
    name, _ = split_variant(split_unet_file(str(model))[0])
    folder = _configuration(name, revision, local_files_only, progress)
    own = {part.name: part for part in folder.iterdir() if part.is_dir()}
    if name in BUNDLED_DRAWING_MODELS:  # one autoencoder serves both
        own["vae"] = bundled_folder("toy") / "vae"
    part = network_part(own)
    if part in own and (own[part] / "config.json").is_file():
        check_folder(folder, name)  # another kind of network is named as such, whatever it lacks
    for needed in (part, "vae"):
        if needed not in own or not (own[needed] / "config.json").is_file():
            raise ModelError(
                f"{name} is not a diffusion checkpoint as diffusers saves it: it has no {needed}/config.json."
            )
    family = check_folder(folder, name)
    with as_model_error("configuration", name), torch.device("meta"):
        module, vae = (
            _empty(kind, read_json(own[one] / "config.json"))
            for one, kind in ((part, family.network), ("vae", family.vae))
        )
    check_supported(name, module, vae)
    return EmptyCheckpoint(name=name, folder=folder, family=family, module=module, vae=vae)


def empty_model(model: str | Path, *, revision: str | None = None, progress: Progress | None = None) -> DiffusionModel:
    """Return a model that says what layers, taps and sizes it has, and cannot run; as for :func:`empty_checkpoint`."""
    made = empty_checkpoint(model, revision=revision, progress=progress)
    with as_model_error("configuration", made.name):
        schedule = make_schedule(read_json(made.folder / "scheduler" / "scheduler_config.json"), made.family.schedule)
    checkpoint = Checkpoint(
        model_id=str(model),
        revision=revision,
        fingerprint="",
        family=made.family.name,
        context_tokens=made.family.tokens or CONTEXT_TOKENS,
        network=made.module,
        vae=made.vae,
        scheduler=schedule,
        fetch=_nothing,
    )
    return DiffusionModel(checkpoint, "meta")


def _nothing(parts: Sequence[str]) -> NoReturn:
    raise ModelError(f"Only the configuration was read, and no {' or '.join(parts)}.")


def _empty(kind: str, config: Mapping[str, Any]) -> Any:
    check_layers(config, _MOST_LAYERS)
    network = getattr(diffusers, kind).from_config(dict(config))
    return network.eval().requires_grad_(False)


def _configuration(name: str, revision: str | None, local_files_only: bool, progress: Progress | None) -> Path:
    if name in BUNDLED_DRAWING_MODELS:
        return bundled_folder(name)
    path = Path(name).expanduser()
    if is_dir(path):
        return path
    if exists(path) or not is_hub_id(name):
        raise ModelError(
            f"There is no configuration in {name!r}: expected a folder that diffusers saved, a hub id, or a bundled "
            f"model ({', '.join(BUNDLED_DRAWING_MODELS)})."
        )
    return hub.fetch(name, Configurations(), revision=revision, local_files_only=local_files_only, progress=progress)


class Configurations(hub.RequiredFiles):
    """The configurations of a checkpoint's parts."""

    alternative: ClassVar[str] = "pass a folder that you have"

    def choose(self, repo_id: str, names: Collection[str]) -> list[str]:
        """Return the files of a repository; raise ``ModelError`` if it is no checkpoint of diffusers."""
        if f"{network_part(names)}/config.json" not in names or "vae/config.json" not in names:
            raise ModelError(f"{repo_id} is not a diffusion checkpoint as diffusers saves it.")
        own = ("model_index.json", "scheduler/scheduler_config.json")
        return [name for name in names if name in own or name.endswith("/config.json")]

    def missing(self, folder: Path) -> str:
        """Return what a folder lacks; an empty string if the configurations are there."""
        part = network_part(one.name for one in folder.iterdir())
        lacking = [one for one in (part, "vae") if not (folder / one / "config.json").is_file()]
        return f"{lacking[0]}/config.json is missing" if lacking else ""
