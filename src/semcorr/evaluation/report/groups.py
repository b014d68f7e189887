"""Runs as a report takes them: grouped by data set, named apart, scored under one protocol, beside the baselines."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from semcorr.errors import RunError, SettingsError
from semcorr.evaluation.baselines import BASELINES, guessed
from semcorr.evaluation.metrics.protocol import Protocol, named
from semcorr.evaluation.metrics.scores import Scores, score
from semcorr.evaluation.runs.records import Run


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a report shows.

    ``by`` is any of "overall", "category", "difficulty" (every flag), "point", "sets" (of ``point_sets``), "layer",
    "rounds", "crops", or the name of one flag. ``threshold`` None takes each data set's own rule, ``frame`` None the
    rule's own. ``baseline`` is the run that leads are over. ``highest`` is the largest alpha of the area under the
    PCK curve. ``times`` adds seconds, which no two runs share. ``quote`` shows published figures.
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

    def __post_init__(self) -> None:
        if not self.alphas or not all(0 < alpha < np.inf for alpha in (*self.alphas, self.highest)):
            raise SettingsError(f"Expected one or more positive alphas, got {self.alphas} and {self.highest}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """One run under its group's protocol; its name is its own among all runs."""

    name: str
    run: Run
    scores: Scores


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """The runs of one data set, split and setting. ``dataset`` names all three."""

    dataset: str
    name: str
    setting: str
    protocol: Protocol
    members: tuple[Member, ...]

    @cached_property
    def title(self) -> str:
        """The data set, and how many pairs and points where all runs agree."""
        sizes = {(len(one.run.records), len(one.scores.errors)) for one in self.members}
        (pairs, points), *more = sizes
        return self.dataset if more else f"{self.dataset}, {pairs:,} pairs, {points:,} points"


def measure(runs: Sequence[Run], wanted: Wanted) -> list[Group]:
    """Group runs by data set and score them, in the order given.

    Raises:
        SettingsError, RunError: as :func:`build_report`.
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
        key = _key(run)
        own = str(run.settings.get("dataset", {}).get("threshold") or "target-box")
        protocol = protocols.setdefault(key, named(wanted.threshold or own, wanted.frame))
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


def _key(run: Run) -> tuple[str, ...]:
    dataset = run.settings.get("dataset", {})
    return tuple(str(dataset.get(part) or "") for part in ("name", "split", "setting"))


def with_baselines(runs: Sequence[Run]) -> list[Run]:
    """The runs, and for each data set those baselines that can be computed from its first run's records."""
    found = list(runs)
    for run in {_key(run): run for run in reversed(runs)}.values():
        there = {str(r.settings.get("method", {}).get("name")) for r in runs if _key(r) == _key(run)}
        for name, guess in BASELINES.items():
            if name in there:
                continue
            try:
                records = [guessed(record, guess) for record in run.records]
            except RunError:  # No boxes in this data set.
                continue
            settings = {**run.settings, "method": {"name": name}}
            found.append(replace(run, name=name, settings=settings, records=records, expected=len(records)))
    return found
