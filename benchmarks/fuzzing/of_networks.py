"""Readers of networks: configurations, weights, indices of shards."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.fuzzing import mutate, networks
from benchmarks.fuzzing.target import Target
from semcorr.models.cnn import ConvolutionalModel
from semcorr.models.diffusion.load import load_checkpoint
from semcorr.models.dino import VisionModel


def checkpoints() -> list[Target]:
    """All of them."""
    unet = partial(networks.saved_file, save=networks.save_diffusion)
    return [
        Target(
            name="checkpoint: config",
            seeds=lambda: (unet("unet/config.json"),),
            mutate=mutate.json_of,
            file="unet/config.json",
            read=lambda path: load_checkpoint(path.parents[1]),
            prepare=networks.save_diffusion,
            weight=0.02,
        ),
        Target(
            name="checkpoint: weights",
            seeds=lambda: (unet(f"unet/{networks.WEIGHTS}"),),
            mutate=mutate.safetensors_of,
            file=f"unet/{networks.WEIGHTS}",
            read=lambda path: load_checkpoint(path.parents[1]),
            prepare=networks.save_diffusion,
            weight=0.02,
        ),
        Target(
            name="checkpoint: index",
            seeds=lambda: (networks.index(),),
            mutate=mutate.json_of,
            file=f"unet/{networks.INDEX}",
            read=lambda path: load_checkpoint(path.parents[1]),
            prepare=partial(networks.save_diffusion, shards="20KB"),
            weight=0.02,
        ),
        Target(
            name="checkpoint: schedule",
            seeds=lambda: (unet("scheduler/scheduler_config.json"),),
            mutate=mutate.json_of,
            file="scheduler/scheduler_config.json",
            read=lambda path: load_checkpoint(path.parents[1]),
            prepare=networks.save_diffusion,
            weight=0.02,
        ),
        Target(
            name="checkpoint: U-Net of a file",
            seeds=lambda: (unet(f"unet/{networks.WEIGHTS}"),),
            mutate=mutate.safetensors_of,
            file="file.safetensors",
            read=lambda path: load_checkpoint(f"{path.parent}+{path}"),
            prepare=networks.save_diffusion,
            weight=0.02,
        ),
        Target(
            name="checkpoint: one file",
            seeds=lambda: (networks.original_layout(),),
            mutate=mutate.safetensors_of,
            file="file.safetensors",
            read=load_checkpoint,
            weight=0.05,
            whole=False,
        ),
        *_folder_of("vision", networks.save_vision, VisionModel),
        *_folder_of("convolutional", networks.save_convolutional, ConvolutionalModel),
    ]


def _folder_of(name: str, save: Callable[[Path], None], model: Any) -> list[Target]:
    """Targets for a network that is one configuration and one file of weights."""
    return [
        Target(
            name=f"{name}: {part}",
            seeds=partial(_saved, file, save),
            mutate=change,
            file=file,
            read=lambda path: model.from_pretrained(path.parent, device="cpu"),
            prepare=save,
            weight=0.02,
        )
        for part, file, change in (
            ("config", "config.json", mutate.json_of),
            ("weights", "model.safetensors", mutate.safetensors_of),
        )
    ]


def _saved(file: str, save: Callable[[Path], None]) -> tuple[bytes]:
    return (networks.saved_file(file, save),)
