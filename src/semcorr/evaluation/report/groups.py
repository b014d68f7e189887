"""Runs as a report compares them: grouped by data set, with unique names, scored under one protocol, with baselines."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from semcorr.errors import RunError, SettingsError
from semcorr.evaluation.metrics.protocol import Protocol, named
from semcorr.evaluation.metrics.scores import Scores, score
from semcorr.evaluation.runs.baselines import BASELINES, guessed
from semcorr.evaluation.runs.records import Run


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report shows.

    Attributes:
        by: Any of "overall", "geo" (the geometry-aware key-points alone), "pck-dagger" (PCK†, by which a point that is
            nearer to another key-point is wrong), "category", "difficulty" (every flag), "point", "sets" (of
            ``point_sets``), "layer", "rounds", "crops", or the name of one flag.
        alphas: Fractions of the threshold's size within which a point is correct.
        threshold: The rule for that size; None for each data set's own.
        frame: The frame that distances are measured in; None for the rule's own.
        baseline: The run that leads are over; None for no leads.
        point_sets: Named sets of key-point names.
        highest: The largest alpha of the area under the PCK curve.
        times: Whether to show seconds, which differ from run to run.
        quote: Whether to show published figures.
        details: Whether to show errors, confidence and leads beside the overall PCK.

    Raises:
        SettingsError: An alpha is not positive and finite, or there is none.
    """

    by: tuple[str, ...] = ("overall",)
    alphas: tuple[float, ...] = (0.05, 0.1)
    threshold: str | None = None
    frame: str | None = None
    baseline: str | None = None
    point_sets: Mapping[str, Collection[str]] = field(default_factory=dict)
    highest: float = 0.2
    times: bool = False
    quote: bool = True
    details: bool = True

    def __post_init__(self) -> None:
        if not self.alphas or not all(0 < alpha < np.inf for alpha in (*self.alphas, self.highest)):
            raise SettingsError(f"Expected one or more positive alphas, got {self.alphas} and {self.highest}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """One run under its group's protocol, with a name that no other run of the report has."""

    name: str
    run: Run
    scores: Scores

    @property
    def is_baseline(self) -> bool:
        """Whether the run is a guess that needs no model."""
        return _method_name(self.run) in BASELINES


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """The runs of one data set, split and setting. ``dataset`` names all three, ``name`` the data set alone."""

    dataset: str
    name: str
    setting: str
    protocol: Protocol
    members: tuple[Member, ...]

    @cached_property
    def title(self) -> str:
        """The data set, with the number of pairs and points if all runs agree on them."""
        sizes = {(len(one.run.records), len(one.scores.errors)) for one in self.members}
        (pairs, points), *more = sizes
        return self.dataset if more else f"{self.dataset}, {pairs:,} pairs, {points:,} points"


def group_runs(runs: Sequence[Run], options: ReportOptions) -> list[Group]:
    """Group runs by data set and score them, in the order given.

    Raises:
        SettingsError, RunError: As :func:`semcorr.evaluation.report.build.build_report`.
    """
    if not runs:
        raise SettingsError("Expected at least one run, got none.")
    groups: dict[tuple[str, ...], list[Member]] = {}
    protocols: dict[tuple[str, ...], Protocol] = {}
    taken: set[str] = set()
    for run in runs:
        name, count = run.name, 1
        while name in taken:
            count += 1
            name = f"{run.name} ({count})"
        taken.add(name)
        key = _dataset_key(run)
        own = str(run.settings.get("dataset", {}).get("threshold") or "target-box")
        protocol = protocols.setdefault(key, named(options.threshold or own, options.frame))
        groups.setdefault(key, []).append(Member(name=name, run=run, scores=score(run.records, protocol)))
    return [
        Group(
            dataset=" ".join(filter(None, key)),
            name=key[0],
            setting=key[2],
            protocol=protocols[key],
            members=tuple(members),
        )
        for key, members in groups.items()
    ]


def with_baselines(runs: Sequence[Run]) -> list[Run]:
    """The runs, and for each data set those baselines that can be computed from its first run's records."""
    compared = list(runs)
    for run in {_dataset_key(run): run for run in reversed(runs)}.values():
        present = {_method_name(other) for other in runs if _dataset_key(other) == _dataset_key(run)}
        for name, guess in BASELINES.items():
            if name in present:
                continue
            try:
                records = [guessed(record, guess) for record in run.records]
            except RunError:  # This data set has no boxes.
                continue
            settings = {**run.settings, "method": {"name": name}}
            compared.append(replace(run, name=name, settings=settings, records=records, expected=len(records)))
    return compared


def _dataset_key(run: Run) -> tuple[str, ...]:
    dataset = run.settings.get("dataset", {})
    return tuple(str(dataset.get(part) or "") for part in ("name", "split", "setting"))


def _method_name(run: Run) -> str:
    return str(run.settings.get("method", {}).get("name"))
