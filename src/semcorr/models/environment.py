"""What a result was computed with besides its settings: versions of libraries, and the device."""

import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

PACKAGES = ("semcorr", "torch", "diffusers", "transformers", "huggingface-hub", "safetensors", "numpy", "pillow")
"""The distributions that results depend on."""


def versions() -> Mapping[str, str]:
    """The versions of Python and of the libraries, by name; a library that is not installed is left out."""
    known = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    # PyTorch's own version also names the build: for a processor, or for which CUDA.
    return known | ({"torch": torch.__version__} if "torch" in known else {})


def processor() -> str:
    """The processor's name as the system gives it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def environment(model: Any = None) -> dict[str, Any]:
    """Versions and hardware, as JSON holds them.

    Args:
        model: The network that is in use; what is measured without one runs on the processor.
    """
    device = getattr(model, "device", torch.device("cpu"))
    on_gpu = device.type == "cuda"
    return {
        "versions": dict(versions()),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
    }
