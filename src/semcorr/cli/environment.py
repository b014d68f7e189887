"""What this machine and installation offer: devices, precisions, models, extras."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import huggingface_hub
import psutil
import torch

from semcorr.cli.extras import EXTRAS, version_of
from semcorr.errors import ModelError
from semcorr.matchers.choice import choose, situation_of
from semcorr.matchers.registry import methods
from semcorr.models.cnn.load_folder import CONVOLUTIONAL
from semcorr.models.cnn.published_lite0 import weights_file
from semcorr.models.device import device_traits, fastest_dtype
from semcorr.models.diffusion.load import bundled_folder
from semcorr.models.dino.load_folder import TRANSFORMER
from semcorr.models.environment import PACKAGES, versions
from semcorr.models.names import BUNDLED_DRAWING_MODELS, BUNDLED_PHOTO_MODEL
from semcorr.models.weights import read_json

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One item that was examined.

    Attributes:
        topic: "software", "device", "precision", "model", "method", "auto" or "extra".
        name: Name of the item.
        usable: Whether semcorr can use it.
        detail: Version, size, or how to get it.
    """

    topic: str
    name: str
    usable: bool
    detail: str

    def to_dict(self) -> dict[str, object]:
        """Return the finding for JSON."""
        return asdict(self)


def examine() -> list[Finding]:
    """Examine everything; nothing is downloaded and no network is used."""
    return [*_software(), *_devices(), *_precisions(), *_models(), *_methods(), *_chosen(), *_extras()]


def _software() -> Iterator[Finding]:
    known = versions()
    for name in ("python", *PACKAGES):
        yield Finding(topic="software", name=name, usable=name in known, detail=known.get(name, "not installed"))


def _devices() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{cores} cores, {memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB of memory free"
    yield Finding(topic="device", name="cpu", usable=True, detail=detail)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            detail = f"{torch.cuda.get_device_name(index)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB of memory free"
            yield Finding(topic="device", name=f"cuda:{index}", usable=True, detail=detail)
    else:
        built = "no GPU that it can use" if torch.backends.cuda.is_built() else "this PyTorch is built without CUDA"
        yield Finding(topic="device", name="cuda", usable=False, detail=built)
    mps = torch.backends.mps.is_available()
    yield Finding(topic="device", name="mps", usable=mps, detail="Apple GPU" if mps else "no Apple GPU")


def _precisions() -> Iterator[Finding]:
    devices = ["cpu"]
    devices += ["cuda"] if torch.cuda.is_available() else []
    devices += ["mps"] if torch.backends.mps.is_available() else []
    for device in devices:
        for name, dtype in _DTYPES.items():
            trouble = _try_precision(device, dtype)
            detail = trouble or "convolution, matrix product and gradient work"
            yield Finding(topic="precision", name=f"{name} on {device}", usable=trouble is None, detail=detail)


def _try_precision(device: str, dtype: torch.dtype) -> str | None:
    """Run the operations that the network needs; return the first line of the error if one is missing."""
    try:
        image = torch.ones(1, 4, 8, 8, device=device, dtype=dtype, requires_grad=True)
        out = torch.nn.functional.conv2d(image, torch.ones(4, 4, 3, 3, device=device, dtype=dtype), padding=1)
        (out.flatten(2) @ out.flatten(2).transpose(1, 2)).float().sum().backward()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return None


def _models() -> Iterator[Finding]:
    for name in BUNDLED_DRAWING_MODELS:
        try:
            size = sum(file.stat().st_size for file in bundled_folder(name).rglob("*") if file.is_file()) / 1e6
            usable, detail = True, f"bundled, {size:.1f} MB; knows the toy world only"
        except ModelError:
            usable, detail = False, "not part of this installation"
        yield Finding(topic="model", name=name, usable=usable, detail=detail)
    yield _lite0()
    try:
        cache = huggingface_hub.scan_cache_dir()
    except huggingface_hub.CacheNotFound:
        yield Finding(topic="model", name="hub cache", usable=False, detail="empty; models are downloaded when named")
        return
    for repo in sorted(cache.repos, key=lambda repo: repo.repo_id):
        files = [file.file_path for revision in repo.revisions for file in revision.files]
        folders = {file.parent.name for file in files}
        generates = "vae" in folders and not folders.isdisjoint(("unet", "transformer"))
        if repo.repo_type == "model" and (generates or _compares(files)):
            detail = f"in the hub cache, {repo.size_on_disk / 1e6:.0f} MB"
            yield Finding(topic="model", name=repo.repo_id, usable=True, detail=detail)
    offline = "; offline mode is on" if huggingface_hub.constants.HF_HUB_OFFLINE else ""
    where = Path(huggingface_hub.constants.HF_HUB_CACHE)
    yield Finding(topic="model", name="hub cache", usable=True, detail=f"at {where}{offline}")


def _lite0() -> Finding:
    try:
        detail = f"bundled, {weights_file().stat().st_size / 1e6:.1f} MB; an ImageNet network for photographs"
    except ModelError as error:
        return Finding(topic="model", name=BUNDLED_PHOTO_MODEL, usable=False, detail=str(error))
    return Finding(topic="model", name=BUNDLED_PHOTO_MODEL, usable=True, detail=detail)


def _compares(files: Sequence[Path]) -> bool:
    """Whether the files of a repository are a network that the methods on features read."""
    configs = [file for file in files if file.name == "config.json"]
    for kind in (CONVOLUTIONAL, TRANSFORMER):
        for file in configs:
            with contextlib.suppress(ModelError, OSError, ValueError, TypeError):
                kind.check(read_json(file), file.name)
                return any(file.suffix == ".safetensors" for file in files)
    return False


def _methods() -> Iterator[Finding]:
    for name, method in methods().items():
        presets = f"presets {', '.join(method.presets)}" if method.presets else f"added by {method.matcher}"
        yield Finding(topic="method", name=name, usable=True, detail=presets)


def _chosen() -> Iterator[Finding]:
    choice = choose(situation_of(None))
    model = methods()[choice.method].default_model
    yield Finding(topic="auto", name="method", usable=True, detail=f"{choice.method} on {model}: {choice}")
    kind, native = device_traits()
    dtype = fastest_dtype(kind, native)
    bundled = "" if dtype == "float32" else "; float32 for bundled models"
    why = "" if kind == "mps" else f", which has {'' if native else 'no '}instructions for bfloat16"
    yield Finding(topic="auto", name="dtype", usable=True, detail=f"{dtype} on {kind}{why}{bundled}")


def _extras() -> Iterator[Finding]:
    for extra, distributions in EXTRAS.items():
        missing = [name for name in distributions if version_of(name) is None]
        have = ", ".join(f"{name} {version_of(name)}" for name in distributions if name not in missing)
        detail = have if not missing else f"{', '.join(missing)} missing: pip install 'semcorr[{extra}]'"
        yield Finding(topic="extra", name=extra, usable=not missing, detail=detail)
