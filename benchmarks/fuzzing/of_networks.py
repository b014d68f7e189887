"""Readers of networks: configurations, weights, indices of shards."""

from functools import partial

from benchmarks.fuzzing import mutate, networks
from benchmarks.fuzzing.target import Target
from semcorr.models.diffusion.load import load_checkpoint
from semcorr.models.dino.load_folder import load_folder as load_vision


def checkpoints() -> list[Target]:
    """All of them."""
    unet, vision = partial(networks.saved_file, folder_of="diffusion"), partial(networks.saved_file, folder_of="vision")
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
        Target(
            name="vision: config",
            seeds=lambda: (vision("config.json"),),
            mutate=mutate.json_of,
            file="config.json",
            read=lambda path: load_vision(path.parent, "fuzzed"),
            prepare=networks.save_vision,
            weight=0.02,
        ),
        Target(
            name="vision: weights",
            seeds=lambda: (vision("model.safetensors"),),
            mutate=mutate.safetensors_of,
            file="model.safetensors",
            read=lambda path: load_vision(path.parent, "fuzzed"),
            prepare=networks.save_vision,
            weight=0.02,
        ),
    ]
