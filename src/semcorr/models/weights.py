"""The files that hold a network: which of them to read, and how to tell what is wrong with them."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusers.utils import logging as diffusers_logging
from safetensors import safe_open
from transformers.utils import logging as transformers_logging

from semcorr.errors import ModelError, SemcorrError

PICKLED = (".bin", ".ckpt", ".pt", ".pth")
"""How files are called that can run any code when they are read, and so are not."""


def choose_weights(names: Collection[str], stem: str, variant: str | None = None) -> tuple[str | None, list[str]]:
    """Choose the safetensors files to read from a part's file names.

    Returns the variant (None or a name such as "fp16") and the files: one, or an index followed by its shards; no file
    when there is no complete set. ``variant`` is preferred; then full precision, then "fp16". Others are never chosen
    unasked: a "non_ema" one has other weights.
    """
    for chosen in dict.fromkeys((variant, None, "fp16") if variant else (None, "fp16")):
        base, tail = (stem, "") if chosen is None else (f"{stem}.{chosen}", f".{chosen}")
        if f"{base}.safetensors" in names:
            return chosen, [f"{base}.safetensors"]
        shards = sorted(name for name in names if name.startswith(f"{base}-") and name.endswith(".safetensors"))
        index = f"{stem}.safetensors.index{tail}.json"
        if index in names and shards and shards[0].endswith(f"-of-{len(shards):05d}.safetensors"):
            return chosen, [index, *shards]
    return None, []


def variants(names: Collection[str], stem: str) -> list[str]:
    """The variants, by name, of which a part's files have a complete set; files without a variant's name are none."""
    pattern = re.compile(rf"{re.escape(stem)}\.([\w-]+?)(?:-\d{{5}}-of-\d{{5}})?\.safetensors")
    known = sorted({match.group(1) for match in map(pattern.fullmatch, names) if match})
    return [name for name in known if choose_weights(names, stem, name)[0] == name]


_OTHER_FORMATS = (".msgpack", ".onnx", ".onnx_data", ".gguf", ".h5", ".tflite")


def lacking_weights(names: Collection[str], stem: str, where: str = "") -> str:
    """Say why no weights can be chosen from a part's files: what is there, in a part of a sentence.

    Args:
        names: The part's files.
        stem: What its weights are called, without an ending.
        where: The part's folder, such as "unet/"; empty where the files lie in no folder of their own.
    """
    inside = f" in {where}" if where else ""
    whole = variants(names, stem)
    if whole:
        return (
            f"{where}{stem}.safetensors is missing, and there is only the variant {' or '.join(whole)}{inside} "
            f"({_first(names, f'{stem}.{whole[0]}')})"
        )
    shards = [name for name in names if name.startswith((f"{stem}-", f"{stem}.")) and "-of-" in name]
    if shards or any(name.startswith(f"{stem}.safetensors.index") for name in names):
        return (
            f"{where}{stem}.safetensors is missing, and of its parts (an index and all shards that it names) only "
            f"{len(shards)} shards{'' if any('.index' in name for name in names) else ' and no index'} are there"
        )
    pickled = sorted(name for name in names if name.endswith(PICKLED))
    if pickled:
        return f"the weights{inside} are pickled ({pickled[0]})"
    others = sorted(name for name in names if name.endswith((".safetensors", *_OTHER_FORMATS)))
    there = f", and there is only {', '.join(others[:3])}" if others else ""
    return f"{where}{stem}.safetensors is missing{there}"


def how_to_choose(reason: str) -> str:
    """Say how to choose a variant that :func:`lacking_weights` names; an empty string where it names none."""
    found = re.search(r"only the variant ([\w-]+)", reason)
    if found is None:
        return ""
    name = found.group(1)
    return (
        f"To use it say variant={name!r} in Python (load_matcher, match, DiffusionModel.from_pretrained) or --variant "
        f"{name} on the command line, or write :{name} after the model's name."
    )


def _first(names: Collection[str], start: str) -> str:
    return min(name for name in names if name.startswith(start) and name.endswith(".safetensors"))


def check_files(folder: Path, files: Sequence[str], config: Mapping[str, Any]) -> None:
    """Insist that an index names the shards beside it and none elsewhere, and that a configuration is of these weights.

    Args:
        folder: where the files lie.
        files: what :func:`choose_weights` chose.
        config: the network's.

    Raises:
        ValueError: an index or a configuration that lies.
        SafetensorError, OSError: a file is damaged.
    """
    shards = [name for name in files if not name.endswith(".json")]
    for name in files:
        if name.endswith(".json"):
            named = read_json(folder / name).get("weight_map")
            if not isinstance(named, dict) or not set(map(str, named.values())) <= set(shards):
                raise ValueError(f"{name} names other files than {', '.join(shards)}")
    tensors = 0
    for name in shards:
        with safe_open(folder / name, framework="pt") as file:
            check_types(file)
            tensors += len(file.keys())
    check_layers(config, tensors)


def check_types(file: Any) -> None:
    """Insist that an open safetensors file has no complex numbers, of which libraries would drop a part.

    Raises:
        ValueError: it has.
    """
    odd = next((name for name in file.keys() if file.get_slice(name).get_dtype().startswith("C")), None)  # noqa: SIM118
    if odd is not None:
        raise ValueError(f"{odd} holds complex numbers")


_LAYERS = ("layers_per_block", "num_hidden_layers")


def check_layers(config: Mapping[str, Any], tensors: int) -> None:
    """Insist that a configuration has no more layers than there are tensors: a network of a billion is never built.

    Raises:
        ValueError: it has.
    """
    levels, depth = config.get("block_out_channels"), _most(config.get("transformer_layers_per_block"))
    blocks = len(levels) if isinstance(levels, list) else 1
    layers = max(_most(config.get(name)) for name in _LAYERS) * blocks * depth
    if layers > tensors:
        raise ValueError(f"its configuration has {layers:,} layers, and its files {tensors:,} weights")


def _most(value: object) -> int:
    """The largest whole number in numbers and lists of them; at least 1."""
    if isinstance(value, list):
        return max(map(_most, value), default=1)
    return max(1, value) if isinstance(value, int) else 1


@contextmanager
def as_model_error(what: str, where: str) -> Iterator[None]:
    """Turn what goes wrong inside libraries while weights are read into one ``ModelError``, and keep them quiet."""
    try:
        with _quiet(diffusers_logging), _quiet(transformers_logging):
            yield
    except (SemcorrError, MemoryError):
        raise
    except Exception as error:  # What broken files make libraries stumble over is not limited to their own errors.
        reason = str(error).strip().splitlines() or [""]
        raise ModelError(
            f"The {what} of {where} cannot be read: {type(error).__name__}: {reason[0]}\n"
            "Its files are damaged, incomplete or of another kind of network; fetch them again."
        ) from error


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one where there is no such file."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if not isinstance(found, dict):
        raise TypeError(f"expected an object in {file.name}, got {type(found).__name__}")
    return found
