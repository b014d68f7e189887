"""``semcorr plan --memory``: what a network takes in each precision, from its configuration alone."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from semcorr.cli import console
from semcorr.errors import SettingsError
from semcorr.matchers.spec import MatcherSpec

if TYPE_CHECKING:
    from semcorr.models.diffusion.memory_needs import Fit, MemoryNeeds


_USABLE = 0.9
"""Share of a device; the rest is for libraries, and for gaps between tensors."""


def plan_memory(spec: MatcherSpec, gpu_memory: float | None, *, json: bool) -> int:
    """Print what a method's network takes of a device with ``gpu_memory`` GB; None is the device here.

    Raises:
        SettingsError: The method has no diffusion network, or the size is not above 0.
        ModelError: The network has no configuration that is supported.
    """
    from semcorr.matchers.registry import load_class
    from semcorr.models.device import find_device
    from semcorr.models.diffusion.memory_needs import fits, memory_needs
    from semcorr.models.diffusion.model import DiffusionModel
    from semcorr.models.diffusion.quantization import needing_a_gpu
    from semcorr.models.memory import total_bytes

    if load_class(spec.method).network_type is not DiffusionModel:
        raise SettingsError(
            f"--memory is for diffusion networks, and {spec.method!r} on {spec.model_name} runs none. Leave it out: "
            "semcorr plan measures what this method takes."
        )
    if gpu_memory is not None and not gpu_memory > 0:
        raise SettingsError(f"Expected --gpu-memory above 0 GB, got {gpu_memory}.")
    device = find_device(spec.options.get("device", "auto"))
    size = total_bytes(device) if gpu_memory is None else round(gpu_memory * 1e9)
    loading = {name: spec.options[name] for name in ("revision", "local_files_only") if name in spec.options}
    with console.TerminalProgress() as progress:
        progress.busy("count")
        needs = [
            memory_needs(spec.model_name, dtype=dtype, **loading, progress=progress)
            for dtype in ("float32", "bfloat16")
        ]
    # What is offloaded is in main memory, which is the device's own where there is no GPU.
    gpu = gpu_memory is not None or device.type != "cpu"
    ways = [way for way in fits(needs) if gpu or not (way.offload or way.quantize in needing_a_gpu())]
    if json:
        console.show_json(_document(needs, ways, size))
    else:
        of = "a GPU" if gpu_memory is not None else f"the {device.type} here"
        _show(needs[-1], ways, size, f"the {_gigabytes(size)} of {of}")
    return 0


def check_weights(spec: MatcherSpec) -> None:
    """Check that the weights of a diffusion network are no more than the device has, before they are downloaded.

    Raises:
        SettingsError: They are more.
        ModelError: There is no such model.
    """
    from semcorr.matchers.registry import load_class, methods
    from semcorr.models.device import find_device, resolve_dtype
    from semcorr.models.diffusion.memory_needs import network_weights
    from semcorr.models.diffusion.model import DiffusionModel
    from semcorr.models.memory import total_bytes
    from semcorr.models.names import is_bundled

    if spec.method not in methods():  # a baseline, or a class of someone's own
        return
    kind, name, options = load_class(spec.method).network_type, spec.model_name, spec.options
    if kind is not DiffusionModel or is_bundled(name) or Path(name).expanduser().is_file() or "+" in str(name):
        return
    device = options.get("device", "auto")
    dtype = resolve_dtype(options.get("dtype", "float32"), kind, name, device)
    weights = network_weights(name, revision=options.get("revision"))
    needed = weights.bytes(dtype, options.get("quantize"), offload=bool(options.get("offload")))
    size = total_bytes(find_device(device))
    if needed > size:
        raise SettingsError(
            f"The weights of {name} take {_gigabytes(needed)} as they would be loaded, and the {find_device(device)} "
            f"here has {_gigabytes(size)}. What fits: semcorr plan --memory --model {name}"
        )


def _document(needs: "list[MemoryNeeds]", ways: "list[Fit]", size: int) -> dict[str, object]:
    room = _USABLE * size

    def both(way: "Fit") -> dict[str, object]:
        return {"forward_fits": way.forward <= room, "gradient_fits": way.gradient <= room, "options": way.options}

    return {
        "model": needs[0].model_id,
        "family": needs[0].family,
        "device_bytes": size,
        "needs": [dataclasses.asdict(need) for need in needs],
        "ways": [{**vars(way), **both(way)} for way in ways],
    }


def _show(need: "MemoryNeeds", ways: "list[Fit]", size: int, where: str) -> None:
    room = _USABLE * size
    title = f"{need.model_id} ({need.family}): {_count(need.network.all)} weights"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("network", "a pass", "with a gradient"):
        table.add_column(heading, justify="right")
    for way in ways:
        peaks = (f"{_gigabytes(peak)}{'' if peak <= room else ' (too much)'}" for peak in (way.forward, way.gradient))
        table.add_row(way.options, _gigabytes(way.network), *peaks)
    console.show(table)
    for what, fitting in (
        ("a pass", [way.options for way in ways if way.forward <= room]),
        ("a gradient, for embeddings that are optimized,", [way.options for way in ways if way.gradient <= room]),
    ):
        console.say(f"Into {where}, {what} fits {'with ' + _either(fitting) if fitting else 'in none of these ways'}.")
    console.say("Assumed:")
    for line in _assumptions(need):
        console.say(f"- {line}")


def _assumptions(need: "MemoryNeeds") -> Iterator[str]:
    yield f"one image of {need.resolution} pixels, a context of {need.tokens} tokens, layers and VAE of the family"
    again = "computed again (--gradient-checkpointing)" if need.checkpointed is not None else "kept"
    yield f"activations for the gradient are {again}"
    yield "only attention that is recorded makes a matrix of its scores; a tenth of the device is left for libraries"
    yield "main memory holds the whole network while it is loaded, and with --offload"
    if need.text:
        yield f"text encoders ({_count(sum(need.text.values()))} weights) are loaded for prompts alone, and left out"


def _either(options: list[str]) -> str:
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} or {options[-1]}"


def _count(weights: int) -> str:
    return f"{weights / 1e9:,.2f} billion" if weights >= 1e8 else f"{weights:,}"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
