"""The files that hold a network: which of them to read, and what is wrong with them."""

import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open

from semcorr.errors import ModelError, SemcorrError
from semcorr.models.names import PICKLED


def pickle_message(name: object, instead: str) -> str:
    """Return the message that refuses a pickled file; ``instead`` is a sentence that says what to use."""
    return f"{name} is a pickle, which can run any code when it is read; only safetensors are read. {instead}"


def choose_weights(names: Collection[str], stem: str, variant: str | None = None) -> tuple[str | None, list[str]]:
    """Choose the safetensors files to read from the file names of one network.

    Returns the variant (None or a name such as "fp16") and the files: one, or an index followed by its shards; no file
    if no set is complete. ``variant`` is preferred; then full precision, then "fp16". Others are never chosen by
    default: a "non_ema" variant has different weights.
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


def folder_weights(folder: Path, stem: str, variant: str | None = None) -> tuple[str | None, list[str]]:
    """Choose from the files of a folder, as :func:`choose_weights` does."""
    return choose_weights([file.name for file in folder.iterdir()], stem, variant)


def variants(names: Collection[str], stem: str) -> list[str]:
    """Return the names of the variants of which all files are there."""
    pattern = re.compile(rf"{re.escape(stem)}\.([\w-]+?)(?:-\d{{5}}-of-\d{{5}})?\.safetensors")
    known = sorted({match.group(1) for match in map(pattern.fullmatch, names) if match})
    return [name for name in known if choose_weights(names, stem, name)[0] == name]


_OTHER_FORMATS = (".msgpack", ".onnx", ".onnx_data", ".gguf", ".h5", ".tflite")


def lacking_weights(names: Collection[str], stem: str, where: str = "") -> str:
    """Say, in part of a sentence, why no weights can be chosen and what is there instead.

    Args:
        names: File names of the network.
        stem: File name of its weights without a suffix.
        where: Folder of the network in the checkpoint, such as "unet/"; empty if the files are at the top.
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
    """Say how to choose the variant that :func:`lacking_weights` names, or return an empty string if it names none."""
    match = re.search(r"only the variant ([\w-]+)", reason)
    if match is None:
        return ""
    name = match.group(1)
    return (
        f"To use it pass variant={name!r} in Python (load_matcher, match, DiffusionModel.from_pretrained) or --variant "
        f"{name} on the command line, or write :{name} after the model's name."
    )


def _first(names: Collection[str], start: str) -> str:
    return min(name for name in names if name.startswith(start) and name.endswith(".safetensors"))


def check_files(folder: Path, files: Sequence[str], config: Mapping[str, Any]) -> None:
    """Check that an index names the shards beside it and no others, and that a configuration fits the weights.

    Args:
        folder: Folder of the files.
        files: The choice of :func:`choose_weights`.
        config: Configuration of the network.

    Raises:
        ValueError: An index or a configuration does not fit the files.
        SafetensorError, OSError: A file is damaged.
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
    """Check that an open safetensors file holds no complex numbers, whose imaginary part libraries would drop.

    Raises:
        ValueError: It holds some.
    """
    odd = next((name for name in file.keys() if file.get_slice(name).get_dtype().startswith("C")), None)  # noqa: SIM118
    if odd is not None:
        raise ValueError(f"{odd} holds complex numbers")


_LAYERS = (
    "layers_per_block",
    "num_hidden_layers",
    "num_layers",
    "num_single_layers",
    "encoder_layers_per_block",
    "decoder_layers_per_block",
)


def check_layers(config: Mapping[str, Any], tensors: int) -> None:
    """Check that a configuration has no more layers than there are tensors, before a network of a billion is built.

    Raises:
        ValueError: It has more.
    """
    levels, depth = config.get("block_out_channels"), _most(config.get("transformer_layers_per_block"))
    blocks = len(levels) if isinstance(levels, list) else 1
    layers = max(_most(config.get(name)) for name in _LAYERS) * blocks * depth
    if layers > tensors:
        raise ValueError(f"its configuration has {layers:,} layers, and its files {tensors:,} weights")


def _most(value: object) -> int:
    """Return the largest integer in nested lists; at least 1."""
    if isinstance(value, list):
        return max(map(_most, value), default=1)
    return max(1, value) if isinstance(value, int) else 1


def load_network(kind: Any, folder: Path, stem: str, variant: str | None, **options: Any) -> tuple[Any, Sequence[str]]:
    """Load a network of diffusers or transformers from its folder, frozen and in evaluation mode.

    Returns the network and the names of weights in the files that it has no use for. ``kind`` is its class and
    ``options`` are for its ``from_pretrained``.

    Raises:
        ValueError: The files do not fit one another, or weights are missing, which would silently be random numbers.
    """
    variant, files = folder_weights(folder, stem, variant)
    check_files(folder, files, read_json(folder / "config.json"))
    network, notes = kind.from_pretrained(
        folder, variant=variant, use_safetensors=True, local_files_only=True, output_loading_info=True, **options
    )
    absent = sorted([*notes["missing_keys"], *notes["mismatched_keys"]], key=str)
    if absent:
        raise ValueError(f"{len(absent)} weights are missing or of the wrong shape, the first is {absent[0]}")
    return network.eval().requires_grad_(False), sorted(notes["unexpected_keys"])


@contextmanager
def as_model_error(what: str, where: str) -> Iterator[None]:
    """Turn any error of a library that reads a model's files into ``ModelError``, and silence the library.

    Args:
        what: What is read, such as "configuration".
        where: Name of the model.
    """
    try:
        with ExitStack() as quiet:
            # A library that is not imported yet, and takes seconds to import, says nothing.
            for logging in (sys.modules.get(f"{library}.utils.logging") for library in ("diffusers", "transformers")):
                if logging is not None:
                    quiet.enter_context(_quiet(logging))
            yield
    except (SemcorrError, MemoryError):
        raise
    except Exception as error:  # Broken files make libraries raise all kinds of errors.
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
    """Read a JSON object; return an empty one if there is no such file."""
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if not isinstance(document, dict):
        raise TypeError(f"expected an object in {file.name}, got {type(document).__name__}")
    return document
