"""The file of ``--arrays``: what was located in all targets, for NumPy."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from semcorr.errors import SettingsError
from semcorr.storage.files import is_dir
from semcorr.storage.npz import npz_file

if TYPE_CHECKING:
    from semcorr.matchers.results import Matches, Query

Add = Callable[[str, "Matches", "np.ndarray | None"], None]
"""Adds a target: its path, its matches, and each layer's heat maps, if they are requested."""


def check_file(path: Path | None, option: str, example: str) -> None:
    """Refuse, before anything slow begins, a name that no file can be written under.

    Raises:
        SettingsError: It is a folder's.
    """
    if path is not None and is_dir(path):
        raise SettingsError(f"{option}: {str(path)!r} is a folder, expected the name of a file, such as {example}.")


@contextlib.contextmanager
def arrays_file(path: Path | None, query: "Query") -> Iterator[Add]:
    """Write the arrays of targets as they are done; the file appears at the end, also where the work was stopped.

    Args:
        path: The file; None writes nothing.
        query: The points that are located.
    """
    if path is None:
        yield lambda *_: None
        return
    stopped: BaseException | None = None
    targets: list[str] = []
    done: list[Matches] = []
    with npz_file(path) as write:

        def add(target: str, matches: "Matches", layers: "np.ndarray | None") -> None:
            number = len(targets)
            write(f"heatmaps_{number}", matches.heatmaps)
            if layers is not None:
                write(f"layer_heatmaps_{number}", layers)
            targets.append(target)
            # The rest is written at the end; heat maps of thousands of targets would not fit into memory.
            done.append(dataclasses.replace(matches, heatmaps=matches.heatmaps[:, :0, :0]))

        try:
            yield add
        except BaseException as error:  # what is done stays
            if not targets:
                raise
            stopped = error
        count = len(query.points)
        write("targets", np.array(targets, dtype=str))
        write("names", np.array(query.names or [str(number + 1) for number in range(count)], dtype=str))
        write("query_points", query.points)
        write("points", np.array([one.points for one in done]).reshape(-1, count, 2))
        write("confidence", np.array([one.confidence for one in done]).reshape(-1, count))
        write("calibrated", np.array([one.calibration is not None for one in done], dtype=bool))
        write("sizes", np.array([one.image_size for one in done], dtype=np.int64).reshape(-1, 2))
        write("layer_names", np.array(done[0].layer_names if done else (), dtype=str))
    if stopped is not None:
        raise stopped
