"""Whether the figures of a table can be compared: warnings and notes for its reader."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from semcorr.evaluation.metrics.protocol import Protocol, named
from semcorr.evaluation.metrics.scores import Scores
from semcorr.evaluation.report.published import FULL_SIZES, Published
from semcorr.evaluation.runs.records import UNUSED, Run
from semcorr.matchers.wrappers.calibration import OWN_DATA, Calibration, bundled, key_of

_NOT_COMPARED = ("root", "pairs", "content")
"""Settings of a data set that depend on the machine, or are compared pair by pair."""


def warnings_of(names: Sequence[str], runs: Sequence[Run], scores: Sequence[Scores]) -> list[str]:
    """Unfinished runs, failed pairs and pairs with warnings, other pairs and other settings of runs of one data set."""
    warnings = []
    for name, run, scored in zip(names, runs, scores, strict=True):
        if len(run.records) < run.expected:
            warnings.append(f"{name} is not finished: {len(run.records):,} of {run.expected:,} pairs.")
        if not len(scored.errors):
            warnings.append(f"{name}: its pairs have no common visible points, so there is nothing to measure.")
        if failed := int(scored.failed.sum()):
            warnings.append(f"{name}: {_count(failed, 'pair')} failed, all of their points count as wrong.")
        if messages := [message for record in run.records for message in record.warnings]:
            pairs = sum(bool(record.warnings) for record in run.records)
            warnings.append(f"{name}: {_count(pairs, 'pair')} with warnings, the first: {messages[0]}.")
    first = _signatures(runs[0])
    for name, run in zip(names[1:], runs[1:], strict=True):
        other = _signatures(run)
        if first != other:
            common = len(first.items() & other.items())
            warnings.append(
                f"{names[0]} ({_count(len(first), 'pair')}) and {name} ({_count(len(other), 'pair')}) are not of the "
                f"same pairs ({common:,} in common): their figures are not comparable."
            )
        if differences := _different(runs[0].settings.get("dataset", {}), run.settings.get("dataset", {})):
            warnings.append(f"{names[0]} and {name} have other settings of the data set ({differences}).")
    return warnings


def is_calibrated(run: Run) -> bool:
    """Whether a run's confidence went through a calibration of its own data set.

    A run of an earlier version may have used the package's own calibration on any data set.
    """
    method = run.settings.get("method", {})
    if "calibration" not in method:
        return False
    own, name = _own_calibration(method), str(run.settings.get("dataset", {}).get("name"))
    return own is None or name == OWN_DATA or own.holds_for(name)


def _own_calibration(method: Mapping[str, Any]) -> Calibration | None:
    """The package's own calibration, if it is the one of these settings."""
    own = bundled(str(method.get("name")), key_of(str(method.get("name")), method))
    return own if own is not None and own.fingerprint == method.get("calibration") else None


def notes_of(names: Sequence[str], runs: Sequence[Run], protocol: Protocol) -> list[str]:
    """Uncalibrated runs, a rule that is not the data set's own, and settings in which runs of one method differ."""
    notes = []
    for name, run in zip(names, runs, strict=True):
        method, dataset = run.settings.get("method", {}), run.settings.get("dataset", {}).get("name")
        if UNUSED in method:
            notes.append(f"{name} is uncalibrated: its calibration was fitted to {method[UNUSED]}, not to {dataset}.")
        elif "calibration" in method and not is_calibrated(run):
            notes.append(
                f"{name} is uncalibrated: its confidence went through a calibration of {_own_calibration(method)}, "
                f"which does not hold for {dataset}."
            )
    own = runs[0].settings.get("dataset", {}).get("threshold")
    if own and named(str(own)) != protocol:
        notes.append(f"The data set's own rule is {named(str(own))}; these figures are under {protocol}.")
    methods: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for name, run in zip(names, runs, strict=True):
        method = run.settings.get("method", {})
        methods.setdefault(str(method.get("name", "")), []).append((name, flat(method)))
    for method_name, members in methods.items():
        keys = sorted({key for _, settings in members for key in settings})
        for key in keys:
            values = [_short(settings.get(key)) for _, settings in members]
            if len(set(values)) > 1:
                listed = ", ".join(f"{name} {value}" for (name, _), value in zip(members, values, strict=True))
                notes.append(f"Runs of {method_name or 'the method'} differ in {key}: {listed}.")
    return notes


def warnings_of_quoted(figures: Sequence[Published], protocol: Protocol, pairs: int, dataset: str) -> list[str]:
    """Quoted rows that are under another protocol than the table's own rows, or under an unknown one."""
    warnings, rules = [], {figure.threshold for figure in figures}
    for rule in sorted(rule for rule in rules if rule is not None):
        if named(rule) != protocol:
            methods = _methods([figure for figure in figures if figure.threshold == rule])
            warnings.append(f"Quoted under another protocol ({named(rule)}; here {protocol}): {methods}.")
    if unknown := [figure for figure in figures if figure.threshold is None]:
        warnings.append(f"Quoted without a known threshold rule (here {protocol}): {_methods(unknown)}.")
    if unstated := [figure for figure in figures if not figure.averaging_stated]:
        warnings.append(
            f"Quoted as their source has them, it does not say which average they are: {_methods(unstated)}."
        )
    for note in dict.fromkeys(figure.note for figure in figures if figure.note):
        methods = _methods([figure for figure in figures if figure.note == note])
        warnings.append(f"Quoted figures of another kind ({note}): {methods}.")
    whole = FULL_SIZES.get(figures[0].dataset) if figures else None
    if whole is not None and pairs != whole:
        warnings.append(f"Quoted figures are of all {whole:,} pairs of {dataset}, the runs here of {pairs:,}.")
    return warnings


def notes_of_quoted(figures: Sequence[Published]) -> list[str]:
    """The sources of quoted rows."""
    if not figures:
        return []
    sources: dict[str, list[Published]] = {}
    for figure in figures:
        sources.setdefault(figure.source, []).append(figure)
    listed = "; ".join(f"{source}: {_methods(of_source)}" for source, of_source in sources.items())
    return [f"Rows marked quoted were not measured here. Of {listed}."]


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, their names joined by dots."""
    items: dict[str, Any] = {}
    for key, value in settings.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return items


def _signatures(run: Run) -> dict[str, str]:
    """For every pair a hash of the truth that it was measured against."""
    hashes = {}
    for record in run.records:
        rest = repr((record.source_box, record.target_box, record.names)).encode()
        truth = b"".join((record.source_points.tobytes(), record.truth.tobytes(), rest))
        hashes[record.pair] = hashlib.sha256(truth).hexdigest()
    return hashes


def _different(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    pairs = {key: (first.get(key), second.get(key)) for key in sorted({*first, *second}) if key not in _NOT_COMPARED}
    return ", ".join(f"{key}: {_short(a)} and {_short(b)}" for key, (a, b) in pairs.items() if a != b)


def _methods(figures: Sequence[Published]) -> str:
    names = (f.name if f.by == "overall" else f"{f.name} ({f.by})" for f in figures)
    return "; ".join(dict.fromkeys(names))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
