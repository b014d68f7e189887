"""What the machine at hand is, and how fast it multiplies matrices: the rate that all others are parts of.

``python -m benchmarks.machine [--dtype bfloat16 ...]``
"""

import sys
import time
from dataclasses import dataclass
from typing import Annotated

import psutil
import torch
from cyclopts import Parameter

from benchmarks.command import main, new_app, synchronise, use_threads
from semcorr.cli import console
from semcorr.models.diffusion.model import Device, DType, find_device
from semcorr.models.environment import processor

SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192), "mps": (1024, 2048, 4096)}
"""Sides of the square matrices that are tried; the largest is past the caches of its kind of machine."""

app = new_app("machine", "Measure how fast this machine multiplies matrices.")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A device by name, and its measured rate of products in floating-point operations a second.

    ``busy`` is the part of the processor's time, from 0 to 1, that other programs took just before: times that are
    taken with several threads on a busy processor mean little.
    """

    device: str
    name: str
    threads: int
    memory_bytes: int
    torch_version: str
    dtype: str
    rate: float
    side: int
    busy: float

    def __str__(self) -> str:
        threads = f", {self.threads} threads" if self.device == "cpu" else ""
        return (
            f"{self.name}{threads}, {self.memory_bytes / 1e9:.0f} GB, torch {self.torch_version}: "
            f"{self.rate / 1e9:,.0f} GFLOP/s in {self.dtype} (best of all products, {self.side} x {self.side}), "
            f"{100 * self.busy:.0f} % busy with other work"
        )


def measure(device: torch.device, dtype: torch.dtype, *, seconds: float = 2.0) -> Machine:
    """Multiply square matrices of several sizes again and again and keep the best.

    The best and not the mean: it is what the machine can do when nothing else runs.

    Args:
        device: Where.
        dtype: Precision of the matrices.
        seconds: How long each size is tried; at least three products of each are. A size of which a single product
            would take longer is left out.
    """
    busy = psutil.cpu_percent(interval=0.5) / 100
    best, best_side = 0.0, 0
    for side in SIZES[device.type]:
        if best and 2 * side**3 / best > seconds:  # a precision that the processor lacks
            break
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        torch.mm(a, b)
        synchronise(device)
        began, tried = time.perf_counter(), 0
        while tried < 3 or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            torch.mm(a, b)
            synchronise(device)
            rate = 2 * side**3 / (time.perf_counter() - start)
            if rate > best:
                best, best_side = rate, side
            tried += 1
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name, memory = properties.name, properties.total_memory
    else:
        name, memory = processor(), psutil.virtual_memory().total
    return Machine(
        device=device.type,
        name=name,
        threads=torch.get_num_threads(),
        memory_bytes=memory,
        torch_version=torch.__version__,
        dtype=str(dtype).removeprefix("torch."),
        rate=best,
        side=best_side,
        busy=busy,
    )


@app.default
def show(
    *,
    dtype: Annotated[tuple[DType, ...], Parameter(negative="")] = ("float32",),
    device: Device = "auto",
    threads: int | None = None,
) -> int:
    """Print the rate of matrix products.

    Args:
        dtype: Precision; repeat for more.
        device: Where; auto takes a GPU if there is one.
        threads: Of the processor; all cores by default.
    """
    use_threads(threads)
    for kind in dtype:
        console.say(str(measure(find_device(device), getattr(torch, kind))))
    return 0


if __name__ == "__main__":
    sys.exit(main(app))
