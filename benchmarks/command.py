"""What the benchmarks' commands share: how errors and Ctrl-C end them, loading a model, test pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from cyclopts import App
from jaxtyping import Float

from semcorr.cli import console
from semcorr.cli.main import run
from semcorr.errors import SemcorrError, SettingsError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.prompt import PRESETS, preset
from semcorr.models.diffusion import BUNDLED, DiffusionModel
from semcorr.models.diffusion.model import Device, DType
from semcorr.toy.render import render_scene

EXACT = "paper"
"""The preset that does what the plain procedure does."""

FAST = "fast"
"""The preset that is recommended where time matters."""


def cells_of(method: str) -> dict[str, Any]:
    """What makes a method's peaks cells, whatever its preset; methods on features have that from their publications.

    So that recorded figures stay comparable: what finer peaks are worth, :mod:`benchmarks.peaks` says.
    """
    return {"peak": "cell"} if method in ("prompt", "attention-dift") else {}


def new_app(name: str, text: str) -> App:
    """A command of one function, as ``semcorr`` itself makes them."""
    return App(
        name=f"python -m benchmarks.{name}",
        help=text,
        version_flags=[],
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        console=console.ResultConsole(),
    )


def main(app: App, argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0 all done, 2 nothing could be done, 130 stopped by Ctrl-C.
    """
    return run(app, argv, see="See --help.")


def chosen_presets(names: Sequence[str]) -> tuple[str, ...]:
    """The presets asked for, or all there are.

    Raises:
        SettingsError: there is no such preset.
    """
    for name in names:
        preset(name)
    return tuple(dict.fromkeys(names)) or tuple(PRESETS)


def load(model: str, dtype: DType = "float32", device: Device = "auto") -> DiffusionModel:
    """Load a model as :meth:`semcorr.models.diffusion.DiffusionModel.from_pretrained` does, or make "full-size".

    Raises:
        ModelError: there is no such model.
    """
    if model == "full-size":
        from benchmarks.full_size import full_size_model

        return full_size_model(dtype, device)
    return DiffusionModel.from_pretrained(model, dtype=dtype, device=device)


def picture(model: DiffusionModel, seed: int) -> Image:
    """A drawing of the toy world for the bundled model, a photograph's stand-in for the others.

    Random weights see nothing in either; the size is what a photograph usually has.
    """
    if model.model_id in BUNDLED:
        return load_image(render_scene(seed, 256, split="test").image, name=f"drawing {seed}")
    cells = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return load_image(PIL.Image.fromarray(cells).resize((640, 480), PIL.Image.Resampling.BICUBIC), name=f"blobs {seed}")


def places(count: int, size: tuple[int, int]) -> Float[np.ndarray, "count 2"]:
    """Points (x, y) in the middle of an image of a size (width, height), all different; more begin with fewer."""
    return np.random.default_rng(1).uniform(0.25, 0.75, size=(count, 2)) * size


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure as PNG, without matplotlib's version in the file.

    Raises:
        SemcorrError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Software": None})
    except OSError as error:
        raise SemcorrError(f"{path} cannot be written: {error.strerror or error}. Name another.") from error


def use_threads(count: int | None) -> None:
    """Have torch use so many threads of the processor; as many as it likes where ``count`` is None.

    Raises:
        SettingsError: fewer than one.
    """
    if count is None:
        return
    if count < 1:
        raise SettingsError(f"Expected at least 1 thread, got {count}.")
    torch.set_num_threads(count)


def synchronise(device: torch.device) -> None:
    """Wait for a GPU, so that clocks read what has been done and not what has been asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def save_json(document: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file.

    Raises:
        SemcorrError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SemcorrError(f"{path} cannot be written: {error.strerror or error}. Name another.") from error
