"""Meters for work that somebody else's code does: operations, passes of the networks, memory at its peak."""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.command import synchronise
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.prefix_cache import prefix_modules

_SAMPLE_SECONDS = 0.01


@dataclass(kw_only=True)
class Counts:
    """What the networks have done so far: images encoded, in seconds and operations, and rows passed by the U-Net.

    Where the U-Net's part before its first cross-attention is remembered with an encoded image, its seconds and
    operations are among the encoding's.
    """

    encodes: int = 0
    encode_seconds: float = 0.0
    encode_flops: int = 0
    passes: int = 0


@contextmanager
def counting(
    model: DiffusionModel, flops: FlopCounterMode | None = None, *, prefix_remembered: bool = False
) -> Iterator[Counts]:
    """Count while the block runs, whoever calls the networks and however much of the U-Net is left of it.

    A cut U-Net shares its first convolution with the whole one, so that is where rows are counted.
    """
    counts, began = Counts(), [0.0, 0]

    def before_encoding(*_: object) -> None:
        synchronise(model.device)
        began[:] = time.perf_counter(), flops.get_total_flops() if flops else 0

    def after_encoding(_module: nn.Module, images: tuple[Tensor, ...], _result: object) -> None:
        counts.encodes += len(images[0])
        after_prefix()

    def after_prefix(*_: object) -> None:
        synchronise(model.device)
        counts.encode_seconds += time.perf_counter() - began[0]
        counts.encode_flops += int((flops.get_total_flops() if flops else 0) - began[1])

    def after_first_convolution(_module: nn.Module, latents: tuple[Tensor, ...], _result: object) -> None:
        counts.passes += len(latents[0])

    hooks = [
        model.vae.encoder.register_forward_pre_hook(before_encoding),
        model.vae.encoder.register_forward_hook(after_encoding),
        model.unet.conv_in.register_forward_hook(after_first_convolution),
    ]
    for module in prefix_modules(model.unet) if prefix_remembered else ():
        hooks += [
            module.register_forward_pre_hook(before_encoding),
            module.register_forward_hook(after_prefix),
        ]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


class PeakMemory:
    """The most memory in use inside a ``with`` block, beyond what was in use before it.

    On a GPU what torch has allocated; elsewhere this process's resident memory, looked at a hundred times a second.
    Memory that is freed before a sample is not seen: what lives shorter than that is small.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.bytes = 0

    def __enter__(self) -> "PeakMemory":
        give_back_memory()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
            return self
        self._before = resident_bytes()
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self.bytes = max(0, torch.cuda.max_memory_allocated(self._device) - self._before)
            return
        self._stop.set()
        self._sampler.join()

    def _sample(self) -> None:
        process = psutil.Process()
        while True:
            self.bytes = max(self.bytes, process.memory_info().rss - self._before)
            if self._stop.wait(_SAMPLE_SECONDS):
                return


class OtherWork:
    """The part of the processor's time, from 0 to 1, that other programs take while a ``with`` block runs.

    Where it is more than a little, times mean little: threads that wait for each other lose far more than that part.
    """

    def __init__(self) -> None:
        self.share = 0.0

    def __enter__(self) -> "OtherWork":
        self._began, self._others = time.perf_counter(), _seconds_of_others()
        return self

    def __exit__(self, *_: object) -> None:
        seconds = (time.perf_counter() - self._began) * (psutil.cpu_count() or 1)
        # The system counts in hundredths of a second, so that a short block can seem to have had less than none.
        self.share = max(0.0, (_seconds_of_others() - self._others) / max(seconds, 0.1))


def _seconds_of_others() -> float:
    """Processor time since the machine began, of all but this process."""
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - own.user - own.system)


def resident_bytes() -> int:
    """This process's memory that is in the machine's."""
    return int(psutil.Process().memory_info().rss)


def give_back_memory() -> None:
    """Free what is free, also in the C library's hands: it would else hide the growth that comes next."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in every C library
        if trim is not None:
            trim(0)
