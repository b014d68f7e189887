"""Output of the command: results on standard output; progress, notes and errors on standard error."""

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from semcorr.progress import duration

_SECONDS_BETWEEN_LINES = 10.0
"""How often progress is printed where no bar can be drawn, as in a log file."""


class ResultConsole(Console):
    """Rich's console on standard output, in which a closed pipe raises an ordinary ``BrokenPipeError``."""

    def on_broken_pipe(self) -> None:
        """Raise; rich's own method ends the process."""
        raise BrokenPipeError


def quiet_libraries() -> None:
    """Keep the host libraries' progress bars and hints off the terminal; their errors are still shown."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in ("diffusers", "transformers", "huggingface_hub", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)


def plain_error(message: str) -> None:
    """Print a message on standard error, without wrapping, colours or a traceback."""
    print(message, file=sys.stderr, flush=True)


def note(message: str) -> None:
    """Print a line for the user on standard error, so that standard output holds nothing but the result."""
    print(message, file=sys.stderr, flush=True)


def say(message: str = "") -> None:
    """Print a line of the result on standard output."""
    print(message, flush=True)


def show(table: Table) -> None:
    """Print a table of the result on standard output; it is not cut to the width of a pipe."""
    out = ResultConsole(file=sys.stdout, highlight=False, markup=False)
    if not out.is_terminal:
        out.width = 160
    out.print(table)


def show_json(document: Mapping[str, object]) -> None:
    """Print a JSON document on standard output. NaN and infinity become null."""
    print(json.dumps(_plain(document), indent=2, allow_nan=False), flush=True)


def _plain(value: object) -> object:
    """Return the value in types that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)


class TerminalProgress:
    """Shows progress on standard error: a bar with the remaining time for each stage, or lines in a log.

    Use it as a context manager and pass it to the library as ``progress``.
    """

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False, markup=False)
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._log = _LogLines()

    def __enter__(self) -> "TerminalProgress":
        if self._console.is_terminal:
            self._bars = RichProgress(
                TextColumn("{task.description:<9}"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[count]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def busy(self, what: str) -> None:
        """Show that work of unknown length is running, until the first real stage is reported."""
        if self._bars is not None:
            self._tasks[what] = self._bars.add_task(what, total=None, note="", count="")

    def __call__(self, stage: str, done: int, total: int, **info: object) -> None:
        """Show that ``done`` of ``total`` steps of ``stage`` are done."""
        if stage == "float32":  # not a stage of work, but a note on the result
            note(f"A part is done {info['reason']}.")
            return
        # A callable draws a preview, which a terminal cannot show.
        shown = {name: value for name, value in info.items() if value is not None and not callable(value)}
        details = ", ".join(f"{name} {_short(value)}" for name, value in shown.items())
        if self._bars is None:
            self._log.print(stage, done, total, details)
            return
        task = self._tasks.get(stage)
        if task is not None and (done < self._bars.tasks[task].completed or self._bars.tasks[task].finished):
            # The stage starts again, for the next image perhaps, with its own remaining time.
            self._bars.remove_task(task)
            task = None
            self._tasks = {name: known for name, known in self._tasks.items() if name != stage}
        if task is None:
            task = self._bars.add_task(stage, total=total, note="", count="")
            self._tasks[stage] = task
        self._bars.update(task, completed=done, total=total, note=details, count=_count(stage, done, total))


class _LogLines:
    """Prints progress as lines, now and then, with the remaining time estimated from the pace so far."""

    def __init__(self) -> None:
        self._stage = ""
        self._done = 0
        self._began = 0.0
        self._printed = 0.0

    def print(self, stage: str, done: int, total: int, details: str) -> None:
        now = time.monotonic()
        if stage != self._stage or done < self._done:
            if stage == "download" and stage != self._stage:
                note(f"Downloading {total / 1e6:.0f} MB.")
            self._stage, self._began, self._printed = stage, now, now
        self._done = done
        if now - self._printed < _SECONDS_BETWEEN_LINES or done < 1:
            return
        self._printed = now
        left = (now - self._began) / done * (total - done)
        note(
            f"{stage} {_count(stage, done, total)}, about {duration(left)} left" + (f" ({details})" if details else "")
        )


def _count(stage: str, done: int, total: int) -> str:
    """Return the count of steps; a download's bytes are shown as megabytes."""
    return f"{done / 1e6:.0f}/{total / 1e6:.0f} MB" if stage == "download" else f"{done}/{total}"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
