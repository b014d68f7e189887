"""The card of a run: everything that its figures depend on and the figures, for others to cite and to check.

A card is made from the run's folder alone, and the same folder gives the same card.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pydantic
from pydantic import ConfigDict, TypeAdapter

from semcorr.datasets.benchmark import Benchmark
from semcorr.datasets.registry import BENCHMARKS
from semcorr.errors import RunError
from semcorr.evaluation.report.build import build_report
from semcorr.evaluation.report.comparability import flat
from semcorr.evaluation.report.groups import ReportOptions, group_runs
from semcorr.evaluation.report.tables import Report
from semcorr.evaluation.runs.folder import ROOT
from semcorr.evaluation.runs.records import Run
from semcorr.storage.record_store import settings_hash

ALPHAS = (0.01, 0.05, 0.1, 0.15)
"""Those that published figures are at."""
_FORMAT = 1


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Card:
    """One run.

    Attributes:
        format: Of the card.
        name: Of the run's folder.
        method: What ``run.json`` says of the method: its name, preset, precision and all settings, layers and seed
            among them, its model with revision and fingerprint, and its calibration.
        dataset: What it says of the data set: name, split, setting, threshold, number of pairs, and the hash of all
            their numbers.
        check: The pairs that are done, in all and by category; how many the run has when it is finished, and how many
            are published; and whether those are all there, by category too (None where it is not known).
        protocol: The rule, the frame and the side of the measurement.
        cost: Seconds of describing and of locating, in all processes together.
        environments: The versions and the hardware of each process that worked on the run, each once; empty for runs of
            earlier versions, which did not record them.
        settings_sha256: The hash of method and data set.
        records_sha256: The hash of all records in the data set's order.
        report: The tables with their figures, 95 % intervals, failed pairs and seconds for each point and pair, and
            warnings and notes, as ``semcorr report --times --json`` prints them; of the geometry-aware points too,
            where the data set has them, and of PCK†. Alphas are those of published figures.
    """

    format: int = _FORMAT
    name: str
    method: dict[str, Any]
    dataset: dict[str, Any]
    check: dict[str, Any]
    protocol: dict[str, Any]
    cost: dict[str, float]
    environments: list[dict[str, Any]]
    settings_sha256: str
    records_sha256: str
    report: dict[str, Any]

    def json(self) -> str:
        """The card as JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Read a card that :meth:`json` wrote.

        Raises:
            RunError: It is something else.
        """
        try:
            card = _CARD.validate_json(text)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise RunError(
                f"Expected the card of a run ({where}: {first['msg']}). Make one: semcorr report RUN --card --json."
            ) from error
        if card.format != _FORMAT:
            raise RunError(f"The card has format {card.format}, expected {_FORMAT}: use the version that wrote it.")
        return card

    def markdown(self) -> str:
        """The card for people, with the same figures."""
        own = asdict(self)
        facts = {key: own[key] for key in own if key not in ("format", "name", "environments", "report")}
        parts = [f"# {self.name}", _facts(facts)]
        for environment in self.environments:
            parts += ["## Environment", _facts(environment)]
        return "\n\n".join([*parts, "## Figures", Report.from_document(self.report).markdown()])


_CARD = TypeAdapter(Card)


def make_card(run: Run, *, threshold: str | None = None, frame: str | None = None) -> Card:
    """Make the card of a run, finished or not.

    Args:
        run: The run.
        threshold: The rule of the measurement; the data set's own if None.
        frame: The frame of distances; the rule's own if None.

    Raises:
        SettingsError, RunError: As :func:`semcorr.evaluation.report.build.build_report`.
    """
    own = run.settings.get("dataset", {})
    benchmark = BENCHMARKS.get(str(own.get("name")))
    geo = ("geo",) if benchmark is not None and benchmark.similar_points else ()
    by = ("overall", *geo, "pck-dagger")
    options = ReportOptions(by=by, alphas=ALPHAS, threshold=threshold, frame=frame, quote=False, times=True)
    dataset = {key: value for key, value in own.items() if key != ROOT}
    method = dict(run.settings.get("method", {}))
    digest = hashlib.sha256("".join(f"{record.to_json()}\n" for record in run.records).encode())
    return Card(
        name=run.name,
        method=method,
        dataset=dataset,
        check=_check(run, benchmark),
        protocol=asdict(group_runs([run], options)[0].protocol),
        cost={
            "describe_seconds": sum(record.describe_seconds for record in run.records),
            "locate_seconds": sum(record.locate_seconds for record in run.records),
        },
        environments=list(run.environments),
        settings_sha256=settings_hash({"dataset": dataset, "method": method}),
        records_sha256=digest.hexdigest(),
        report=build_report([run], options).document(),
    )


def _check(run: Run, benchmark: Benchmark | None) -> dict[str, Any]:
    """The pairs of a run, those that the whole data set is known to have, and whether they are as many."""
    dataset = run.settings.get("dataset", {})
    pairs = Counter(record.category for record in run.records)
    known = benchmark.known.get((str(dataset.get("split")), str(dataset.get("setting")))) if benchmark else None
    expected = known.pairs if known else None
    by_category = dict(known.by_category) if known else {}
    whole = None if expected is None else pairs.total() == expected and by_category in ({}, dict(pairs))
    return {
        "pairs": pairs.total(),
        "pairs_of_the_run": run.expected,
        "pairs_published": expected,
        "pairs_by_category": dict(sorted(pairs.items())),
        "whole": whole,
    }


def _facts(facts: Mapping[str, Any]) -> str:
    rows = [f"| {key} | {_cell(value)} |" for key, value in flat(facts).items()]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else "–" if value is None else str(value)
    return text.replace("|", "\\|")
