"""The files that hold a network: which of them to read, and how to tell what is wrong with them."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from semcorr.errors import ModelError, SemcorrError

PICKLED = (".bin", ".ckpt", ".pt", ".pth")
"""How files are called that can run any code when they are read, and so are not."""


def choose_weights(names: Collection[str], stem: str) -> tuple[str | None, list[str]] | None:
    """Choose the safetensors files to read from a part's file names.

    Returns the variant (None or "fp16") and the files: one, or an index followed by its shards. Full
    precision is preferred. None when there is no complete set.
    """
    for variant in (None, "fp16"):
        base, tail = (stem, "") if variant is None else (f"{stem}.{variant}", f".{variant}")
        if f"{base}.safetensors" in names:
            return variant, [f"{base}.safetensors"]
        shards = sorted(name for name in names if name.startswith(f"{base}-") and name.endswith(".safetensors"))
        index = f"{stem}.safetensors.index{tail}.json"
        if index in names and shards and shards[0].endswith(f"-of-{len(shards):05d}.safetensors"):
            return variant, [index, *shards]
    return None


@contextmanager
def reading(what: str, where: str) -> Iterator[None]:
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
    return found
