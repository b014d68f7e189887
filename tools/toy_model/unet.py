"""Stage 2: the network and the text encoder, with the diffusion loss and, if requested, attention grounding.

Two single-thread processes take half of the batch each and average their gradients (gloo). At these sizes
this is faster than two threads in one process.
"""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from semcorr.progress import Progress
from tools.toy_model.denoiser import Denoiser, Network
from tools.toy_model.networks import SPECIAL, build_scheduler
from tools.toy_model.scene_cache import SceneCache, open_scenes
from tools.toy_model.state import TrainingState, append_log, mixed_precision, schedule

EMPTY_CAPTIONS = 0.1
GROUNDED_BELOW = 600


@dataclass(frozen=True, kw_only=True)
class UNetTraining:
    """Settings of one run of stage 2.

    Attributes:
        scenes: Folder of the scene cache and its latents.
        count: Number of scenes in the cache.
        folder: Folder for the checkpoint and the log.
        steps: Number of optimizer steps.
        batch: Scenes per step and process.
        processes: Number of training processes.
        peak_rate: Highest learning rate.
        grounding: Weight of the loss that makes the attention of part words cover the rendered part masks; 0 leaves
            the diffusion loss alone.
        colourless: Probability that a named part loses its colour word. With all colour words present, attention
            tells parts apart by their colour and ignores their shape.
        start: Checkpoint of another run whose weights and optimizer state this one continues.
        fresh: Whether to take only the moving average of ``start``, with a new optimizer.
        anneal: Whether the learning rate falls to nearly 0; without it, a later run can continue.
        network: What is trained: the U-Net or the transformer.
        bottom: Channels of the U-Net at its lowest resolution.
        width, blocks: Channels and blocks of the transformer.
        seed: Seed of the initial weights and of every batch.
    """

    scenes: Path
    count: int
    folder: Path
    steps: int
    batch: int = 16
    processes: int = 2
    peak_rate: float = 6e-4
    grounding: float = 0.0
    colourless: float = 0.0
    start: Path | None = None
    fresh: bool = False
    network: Network = "unet"
    bottom: int = 192
    width: int = 256
    blocks: int = 8
    anneal: bool = True
    seed: int = 0


def grounding_loss(
    attention: Float[Tensor, "batch queries tokens"],
    phrases: Float[Tensor, "batch parts tokens"],
    coverage: Float[Tensor, "batch parts height width"],
) -> Tensor:
    """Measure how far the attention of each named part is from covering its mask.

    For part masks M and the attention A of the part's tokens, (1 - sum(A M) / sum(A))² keeps A inside the mask, and
    the binary cross-entropy of A with M fills it.
    """
    side = int(attention.shape[1] ** 0.5)
    masks = F.interpolate(coverage, size=(side, side), mode="area").flatten(2)
    maps = torch.einsum("bqt,bpt->bpq", attention, phrases)
    named = (phrases.sum(-1) > 0) & (masks.sum(-1) > 0.5)
    inside = (maps * masks).sum(-1) / maps.sum(-1).clamp_min(1e-6)
    fill = F.binary_cross_entropy(maps.clamp(1e-5, 1 - 1e-5), masks.clamp(0, 1), reduction="none").mean(-1)
    return (((1 - inside) ** 2 + fill) * named).sum() / named.sum().clamp_min(1)


def drop_colours(
    tokens: UInt8[np.ndarray, "batch tokens"],
    phrases: UInt8[np.ndarray, "batch parts tokens"],
    chance: float,
    generator: torch.Generator,
) -> tuple[Int[Tensor, "batch tokens"], Float[Tensor, "batch parts tokens"]]:
    """Remove the colour word before a part's name with probability ``chance``, and close the gaps.

    ``phrases`` marks the tokens of each named part, without its colour; the marks move with the tokens.
    """
    batch, parts, length = phrases.shape
    dropped = torch.rand((batch, parts), generator=generator).numpy() < chance
    out_tokens = torch.full((batch, length), SPECIAL.index("<pad>"))
    out_phrases = torch.zeros((batch, parts, length))
    for row in range(batch):
        keep = np.ones(length, dtype=bool)
        for part in np.flatnonzero(dropped[row] & phrases[row].any(1)):
            keep[phrases[row, part].argmax() - 1] = False
        kept = int(keep.sum())
        out_tokens[row, :kept] = torch.from_numpy(tokens[row, keep].astype(np.int64))
        out_phrases[row, :, :kept] = torch.from_numpy(phrases[row][:, keep].astype(np.float32))
    return out_tokens, out_phrases


def encode_scenes(vae: AutoencoderKL, scenes: SceneCache, folder: Path, progress: Progress | None = None) -> np.ndarray:
    """Return the scaled latents of all scenes, (count, 8, 16, 16) float16; they are cached in ``folder``."""
    path, partial = folder / "latents.npy", folder / "latents.partial.npy"
    if path.exists():
        return np.load(path, mmap_mode="r")
    latents = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=(len(scenes), 8, 16, 16))
    for first in range(0, len(scenes), 128):
        images = torch.from_numpy(scenes.images[first : first + 128]).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.no_grad(), mixed_precision():
            mean = vae.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        latents[first : first + 128] = (mean.float() * vae.config.scaling_factor).half().numpy()
        if progress:
            progress("encode", min(first + 128, len(scenes)), len(scenes))
    partial.replace(path)
    return np.load(path, mmap_mode="r")


def train_unet(settings: UNetTraining, progress: Progress | None = None) -> Path:
    """Train, or continue training, and return the checkpoint.

    ``progress`` is called once a step, in this process. A single training process is this one.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)

    def note(row: tuple[int, float]) -> None:
        if progress:
            progress("U-Net" if settings.network == "unet" else "transformer", row[0], settings.steps, loss=row[1])

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if settings.processes == 1:
        _worker(0, settings, port, note)
    else:
        reports = multiprocessing.get_context("spawn").SimpleQueue()
        workers = spawn(_worker, (settings, port, reports.put), nprocs=settings.processes, join=False)
        while not workers.join(timeout=0.2):
            while not reports.empty():
                note(reports.get())
    return settings.folder / "unet.safetensors"


def _worker(rank: int, settings: UNetTraining, port: int, note: Callable[[tuple[int, float]], None]) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=settings.processes)
    torch.manual_seed(settings.seed)
    denoiser = Denoiser(settings.network, bottom=settings.bottom, width=settings.width, blocks=settings.blocks)
    denoiser.network.to(memory_format=torch.channels_last)
    kept: list[Tensor] = []
    denoiser.keep_attention(kept if settings.grounding else None)
    state = TrainingState(denoiser, learning_rate=settings.peak_rate, average=0.9985)
    checkpoint = settings.folder / "unet.safetensors"
    if checkpoint.exists():
        state.load(checkpoint)
    elif settings.start and settings.fresh:
        state.restart(settings.start)
    elif settings.start:
        state.load(settings.start)
        state.step, state.seconds = 0, 0.0
    scenes = open_scenes(settings.scenes, settings.count, "train")
    latents = np.load(settings.scenes / "latents.npy", mmap_mode="r")
    scheduler, began = build_scheduler(), time.perf_counter() - state.seconds
    parent = multiprocessing.parent_process()
    # Killing the parent process does not end this one, so each worker checks whether the parent is still alive.
    while state.step < settings.steps and (parent is None or parent.is_alive()):
        loss = _step(denoiser, state, settings, rank, scenes, latents, scheduler, kept)
        warm_up = 0 if settings.start and not settings.fresh else 100
        rate = schedule(state.step, settings.steps, settings.peak_rate, warm_up=warm_up, anneal=settings.anneal)
        state.update(rate)
        state.seconds = time.perf_counter() - began
        if rank == 0:
            _report(state, settings, checkpoint, loss, note)
    dist.destroy_process_group()


def _report(
    state: TrainingState,
    settings: UNetTraining,
    checkpoint: Path,
    loss: dict[str, float],
    note: Callable[[tuple[int, float]], None],
) -> None:
    if state.step % 50 == 0:
        append_log(settings.folder / "unet.log", {"step": state.step, **loss, "seconds": round(state.seconds, 1)})
    if state.step % 50 == 0 or state.step == settings.steps:
        state.save(checkpoint)
    note((state.step, loss["diffusion"]))


def _step(
    denoiser: Denoiser,
    state: TrainingState,
    settings: UNetTraining,
    rank: int,
    scenes: SceneCache,
    latents: np.ndarray,
    scheduler: DDIMScheduler,
    kept: list[Tensor],
) -> dict[str, float]:
    """Compute the gradients of one step, averaged over the processes, and leave them on the module."""
    g = torch.Generator().manual_seed((settings.seed * 1_000_003 + state.step) * settings.processes + rank)
    rows = torch.randint(len(scenes), (settings.batch,), generator=g).numpy()
    clean = torch.from_numpy(np.stack([latents[r] for r in rows])).float()
    tokens, phrases = drop_colours(scenes.tokens[rows], scenes.phrases[rows], settings.colourless, g)
    empty = torch.rand(settings.batch, generator=g) < EMPTY_CAPTIONS
    nothing = torch.zeros_like(tokens[0])
    nothing[0], nothing[1] = SPECIAL.index("<start>"), SPECIAL.index("<end>")
    tokens[empty] = nothing
    steps = torch.randint(1000, (settings.batch,), generator=g)
    noise = torch.randn(clean.shape, generator=g)
    noisy = scheduler.add_noise(clean, noise, steps).contiguous(memory_format=torch.channels_last)
    velocity = scheduler.get_velocity(clean, noise, steps)
    kept.clear()
    with mixed_precision():
        predicted = denoiser(noisy, steps, tokens)
    diffusion = F.mse_loss(predicted.float(), velocity)
    grounding = torch.zeros(())
    if settings.grounding:
        use = (~empty & (steps < GROUNDED_BELOW)).nonzero().flatten()
        if len(use):
            coverage = torch.from_numpy(scenes.coverage[rows]).float()[use] / 255
            grounding = torch.stack([grounding_loss(maps[use], phrases[use], coverage) for maps in kept]).mean()
    (diffusion + settings.grounding * grounding).backward()
    _average_gradients(denoiser)
    return {"diffusion": float(diffusion.detach()), "grounding": float(grounding.detach())}


def _average_gradients(module: nn.Module) -> None:
    """Replace the gradients by their mean over the processes, in one message."""
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])  # reshape copies in logical order whatever the strides
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for g, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        g.copy_(part.view(g.shape))
