"""The paper's ablation (section 4): the method, and each of its design choices switched off."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.datasets.base import Dataset
from semcorr.errors import SettingsError
from semcorr.evaluation.runs.records import PairRecord, Run
from semcorr.evaluation.runs.runner import run
from semcorr.matchers.spec import MatcherSpec
from semcorr.progress import Progress

OPTIMIZE_WHOLE: Mapping[str, Any] = {"optimize_crop": 1.0}
LOCATE_WHOLE: Mapping[str, Any] = {"locate_crop": 1.0, "locate_crops": 1}
"""The whole image instead of crops."""

TAPS = "semcorr.matchers.features.tap_comparison:TapComparison"
"""The method that locates points by each of several taps, all of which are read together."""

PLAIN_TWIN = {"toy": "toy-plain"}
"""A bundled model trained with part masks, and the one trained without: its row belongs beside the other's."""


def ablate(
    dataset: Dataset,
    method: MatcherSpec,
    folder: Path,
    *,
    crops_apart: bool = False,
    workers: int = 1,
    ray: str | None = None,
    progress: Progress | None = None,
) -> Iterator[Run]:
    """Run the method and its variants, each in a folder of its own below ``folder``, and yield them as rows.

    Two rows need no run of their own. *One embedding*: embeddings are optimized and located independently of each
    other, so it is the method's prediction after the first. *One layer*: the same embeddings, located in the last layer
    alone; to optimize in it too, set ``layers``.

    Args:
        dataset: The pairs.
        method: The paper's method, with any settings.
        folder: The folder of the runs.
        crops_apart: Whether to switch crops off in optimization alone and in location alone as well.
        workers: As for :func:`semcorr.evaluation.runs.runner.run`.
        ray: As for :func:`semcorr.evaluation.runs.runner.run`.
        progress: Called with the row's name in place of ``"pairs"``.

    Raises:
        SettingsError: A method other than the paper's.
        RunError, ModelError: As :func:`semcorr.evaluation.runs.runner.run`.
    """
    if method.method != "prompt":
        raise SettingsError(f"Only the paper's method ('prompt') has this ablation, not {method.method!r}.")

    def row(name: str, variant: MatcherSpec, subfolder: str) -> Run:
        watch = progress and _named(progress, name)
        done = run(dataset, variant, folder / subfolder, workers=workers, ray=ray, progress=watch)
        return replace(done, name=name)

    def changed(**options: Any) -> MatcherSpec:
        return replace(method, options={**method.options, **options})

    whole = row("the method", method, "method")
    yield whole
    yield one_embedding(whole)
    yield one_layer(whole)
    yield row("no crops", changed(**OPTIMIZE_WHOLE, **LOCATE_WHOLE), "no-crops")
    if crops_apart:
        # Version 0.1 named these folders; a run that it began is continued.
        yield row("no crops in optimization", changed(**OPTIMIZE_WHOLE), "no-crops-learning")
        yield row("no crops in location", changed(**LOCATE_WHOLE), "no-crops-locating")
    if method.model in PLAIN_TWIN:
        plain = PLAIN_TWIN[method.model]
        yield row(f"the method on {plain}", replace(method, model=plain), plain)


def compare_taps(
    dataset: Dataset,
    method: MatcherSpec,
    folder: Path,
    *,
    patterns: Sequence[str] = ("*",),
    workers: int = 1,
    ray: str | None = None,
    progress: Progress | None = None,
) -> list[Run]:
    """Locate by each tap of a diffusion network alone; return the run of DIFT's settings, and then one for each tap.

    All taps are read in the same runs of the network, so that there is one folder. The taps' runs are named by them.

    Args:
        dataset: The pairs.
        method: DIFT, with any settings.
        folder: The run's folder.
        patterns: Names of taps, or patterns such as "up/2*".
        workers: As for :func:`semcorr.evaluation.runs.runner.run`.
        ray: As for :func:`semcorr.evaluation.runs.runner.run`.
        progress: As for :func:`semcorr.evaluation.runs.runner.run`.

    Raises:
        SettingsError: A method other than DIFT, or no tap fits a pattern.
        RunError, ModelError: As :func:`semcorr.evaluation.runs.runner.run`.
    """
    if method.method != "dift":
        raise SettingsError(f"Taps are compared by DIFT ('dift'), not by {method.method!r}.")
    options = {**method.options, "compared": tuple(patterns)}
    spec = MatcherSpec(method=TAPS, model=method.model, preset=method.preset, options=options)
    whole = run(dataset, spec, folder, workers=workers, ray=ray, progress=progress)
    names = dict.fromkeys(name for record in whole.records for name in record.layers)
    return [replace(whole, name=_own_tap(whole)), *(one_tap(whole, name) for name in names)]


def _own_tap(whole: Run) -> str:
    settings = whole.settings["method"]["settings"]
    return f"dift, {settings['tap']}" if settings.get("tap") else f"dift, block {settings['block']}"


def one_tap(whole: Run, name: str) -> Run:
    """The run with the predictions of one of its taps alone."""
    return _derived(whole, name, {"located in": name}, lambda record: record.layers.get(name))


def one_embedding(whole: Run) -> Run:
    """The run as it would have been with one embedding per point."""
    return _derived(whole, "one embedding", {"rounds": 1}, lambda record: record.rounds.get("1"))


def one_layer(whole: Run) -> Run:
    """The run with the predictions of the last of its layers alone."""
    last = next((list(record.layers)[-1] for record in whole.records if record.layers), "")
    return _derived(whole, f"one layer ({last})", {"located in": last}, lambda record: record.layers.get(last))


def _derived(
    whole: Run, name: str, change: Mapping[str, Any], prediction: Callable[[PairRecord], np.ndarray | None]
) -> Run:
    """The run with other predictions of the same records; a pair that failed stays failed."""
    bare = [replace(record, layers={}, rounds={}, crops={}) for record in whole.records]
    others = [prediction(record) for record in whole.records]
    records = [one if other is None else replace(one, predicted=other) for one, other in zip(bare, others, strict=True)]
    settings = {**whole.settings, "method": {**whole.settings["method"], **change}}
    return replace(whole, name=name, settings=settings, records=records)


def _named(progress: Progress, name: str) -> Progress:
    """The progress of a run under the variant's name."""

    def watch(stage: str, done: int, total: int, **info: object) -> None:
        progress(name if stage == "pairs" else stage, done, total, **info)

    return watch
