"""Which method ``"auto"`` stands for: one that fits the model that was named, or else this machine.

Light to import: PyTorch is asked for a GPU when there is something to choose.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from semcorr.models.names import PHOTO_MODEL
from semcorr.storage.files import is_dir

if TYPE_CHECKING:
    from semcorr.models.device import Device
    from semcorr.models.model_kind import ModelKind

Task = Literal["points", "grid"]
"""A few points, which may each be optimized, or thousands, which are compared by features alone."""

_METHODS: Mapping[str, Mapping[Task, str]] = {
    "diffusion": {"points": "attention-dift", "grid": "dift"},
    "vision": {"points": "dino", "grid": "dino"},
    "convolutional": {"points": "hypercolumn", "grid": "hypercolumn"},
    "collection": {"points": "asic", "grid": "asic"},
}
"""The recommended method for each kind of network."""

_NAMES: Mapping[str, str] = {
    "diffusion": "diffusion models",
    "vision": "vision transformers",
    "convolutional": "convolutional networks",
    "collection": "collections",
}


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the choice depends on.

    Attributes:
        kind: The kind of the model that was named; None if none was.
        gpu: Whether the network would run on a GPU.
        cpu_requested: Whether that is so because the user wants it on the processor.
        checkpoint: Whether the default diffusion checkpoint is on this machine; asked where there is a GPU and no model
            was named.
    """

    kind: "ModelKind | None" = None
    gpu: bool = False
    cpu_requested: bool = False
    checkpoint: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A method, on the model that was named or its own default.

    Attributes:
        method: Its name.
        reason: Why, in words.
        instead: How to get another, in words.
    """

    method: str
    reason: str
    instead: str

    def __str__(self) -> str:
        """Return reason and alternative, for people."""
        return f"{self.reason}; {self.instead}"


def choose(situation: Situation, task: Task = "points") -> Choice:
    """Return the method for a situation: the model's own; a diffusion model's on a GPU; else one for any processor."""
    diffusion, quick = (_METHODS[kind][task] for kind in ("diffusion", "convolutional"))
    if situation.kind is not None:
        others = "the paper's: --method prompt" if situation.kind == "diffusion" else "for another name --method"
        reason = f"recommended for {_NAMES[situation.kind]}"
        return Choice(method=_METHODS[situation.kind][task], reason=reason, instead=others)
    if not situation.gpu:
        reason = "on the processor, as requested" if situation.cpu_requested else "no GPU here"
        instead = "for the paper's method: --method prompt --model CHECKPOINT"
        return Choice(method=quick, reason=reason, instead=instead)
    if not situation.checkpoint:
        instead = f"to download and use it: --method {diffusion}"
        return Choice(method=quick, reason=f"{PHOTO_MODEL} is not on this machine", instead=instead)
    reason = "a GPU and the checkpoint are here"
    return Choice(method=diffusion, reason=reason, instead=f"faster, and without them: --method {quick}")


def situation_of(
    model: str | os.PathLike[str] | None,
    *,
    device: "Device" = "auto",
    revision: str | None = None,
    variant: str | None = None,
    local_files_only: bool = False,
) -> Situation:
    """Return what the choice depends on, of a model and this machine: at most a hub id's configuration is downloaded.

    A revision or variant without a model is one of the default diffusion checkpoint.

    Args:
        model: As methods take it; None for none.
        device: As methods take it.
        revision: Branch, tag or commit of a hub id.
        variant: Variant of the model's files.
        local_files_only: Use only files on this machine.

    Raises:
        ModelError: There is no such model or device, or the model does not say which method fits it.
    """
    from semcorr.models.device import find_device  # late: PyTorch takes a second

    if model is not None or revision is not None or variant is not None:
        from semcorr.models.model_kind import model_kind

        named = PHOTO_MODEL if model is None else model
        return Situation(kind=model_kind(named, revision=revision, local_files_only=local_files_only))
    gpu = find_device(device).type != "cpu"
    return Situation(gpu=gpu, cpu_requested=device == "cpu", checkpoint=gpu and has_checkpoint())


def has_checkpoint() -> bool:
    """Whether the default diffusion checkpoint is on this machine, whole."""
    from semcorr.models.diffusion.hub_files import CheckpointFiles  # late: diffusers takes seconds
    from semcorr.models.hub import cached

    return is_dir(Path(PHOTO_MODEL)) or cached(PHOTO_MODEL, CheckpointFiles()) is not None
