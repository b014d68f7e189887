"""The paper's ablation (section 4): the method, and each of its design choices switched off."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.datasets.base import Dataset
from semcorr.errors import SettingsError
from semcorr.evaluation.runs.records import PairRecord, Run
from semcorr.evaluation.runs.runner import Method, run
from semcorr.progress import Progress

WHOLE_AT_LEARNING: Mapping[str, Any] = {"optimize_crop": 1.0}
WHOLE_AT_LOCATING: Mapping[str, Any] = {"locate_crop": 1.0, "locate_crops": 1}
"""The whole picture instead of crops."""

PLAIN_TWIN = {"toy": "toy-plain"}
"""A bundled model trained with part masks, and the one trained without: its row belongs beside the other's."""


def ablate(
    dataset: Dataset,
    method: Method,
    folder: Path,
    *,
    crops_apart: bool = False,
    workers: int = 1,
    ray: str | None = None,
    progress: Progress | None = None,
) -> Iterator[Run]:
    """Run the method and its variants, each in a folder of its own below ``folder``, and yield them as rows.

    Two rows need no run of their own. *One embedding*: embeddings are learned and read independently of each other, so
    it is what the whole method had found after the first. *One layer*: the same embeddings, read in the last layer
    alone; to learn with it too, set ``layers``. ``crops_apart`` also switches crops off at learning alone and at
    locating alone.

    Raises:
        SettingsError: a method other than the paper's.
        RunError, ModelError: as :func:`semcorr.evaluation.runs.runner.run`.
    """
    if method.name != "prompt":
        raise SettingsError(f"Only the paper's method ('prompt') has this ablation, not {method.name!r}.")

    def done(name: str, variant: Method, place: str) -> Run:
        told = progress and _Named(progress, name)
        return replace(run(dataset, variant, folder / place, workers=workers, ray=ray, progress=told), name=name)

    def changed(**options: Any) -> Method:
        return replace(method, options={**method.options, **options})

    whole = done("the method", method, "method")
    yield whole
    yield one_embedding(whole)
    yield one_layer(whole)
    yield done("no crops", changed(**WHOLE_AT_LEARNING, **WHOLE_AT_LOCATING), "no-crops")
    if crops_apart:
        yield done("no crops at learning", changed(**WHOLE_AT_LEARNING), "no-crops-learning")
        yield done("no crops at locating", changed(**WHOLE_AT_LOCATING), "no-crops-locating")
    if method.model in PLAIN_TWIN:
        plain = PLAIN_TWIN[method.model]
        yield done(f"the method on {plain}", replace(method, model=plain), plain)


def one_embedding(whole: Run) -> Run:
    """What the run would have been with one embedding a point."""
    return _derived(whole, "one embedding", {"rounds": 1}, lambda record: record.rounds.get("1"))


def one_layer(whole: Run) -> Run:
    """What the run would have found in the last of its layers alone."""
    last = next((list(record.layers)[-1] for record in whole.records if record.layers), "")
    return _derived(whole, f"one layer ({last})", {"located in": last}, lambda record: record.layers.get(last))


def _derived(whole: Run, name: str, change: Mapping[str, Any], find: Callable[[PairRecord], np.ndarray | None]) -> Run:
    """The run with other predictions of the same records; a pair that failed stays failed."""
    bare = [replace(record, layers={}, rounds={}, crops={}) for record in whole.records]
    others = [find(record) for record in whole.records]
    records = [one if other is None else replace(one, predicted=other) for one, other in zip(bare, others, strict=True)]
    settings = {**whole.settings, "method": {**whole.settings["method"], **change}}
    return replace(whole, name=name, settings=settings, records=records)


class _Named:
    """Tells the progress of a run under the variant's name."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name

    def __call__(self, stage: str, done: int, total: int, **info: object) -> None:
        self._progress(self._name if stage == "pairs" else stage, done, total, **info)
