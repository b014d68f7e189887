"""What the benchmarks' commands share: how errors and Ctrl-C end them, saving figures and JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from cyclopts import App

from semcorr.cli import console
from semcorr.cli.main import run
from semcorr.errors import SemcorrError, SettingsError
from semcorr.matchers.prompt import PRESETS, preset
from semcorr.matchers.spec import MatcherSpec

EXACT = "paper"
"""The preset that does what the plain procedure does."""

FAST = "fast"
"""The preset that is recommended where time matters."""


def cells_of(method: str) -> dict[str, Any]:
    """What makes a method's peaks cells, whatever its preset; methods on features have that from their publications.

    So that recorded figures stay comparable: what finer peaks are worth, :mod:`benchmarks.peak_refinement` says.
    """
    return {"peak": "cell"} if MatcherSpec(method=method).capabilities().optimizes else {}


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
