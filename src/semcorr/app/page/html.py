"""What the page says, as HTML whose every word from outside is escaped: progress, results, links."""

import html
from collections.abc import Mapping, Sequence

import numpy as np

from semcorr.app.server.jobs import Status
from semcorr.app.workspace import Cell, Workspace
from semcorr.progress import duration

_CHART = (220, 56)


def step(number: int, title: str, hint: str = "") -> str:
    """A heading that says what to do next."""
    return f'<div class="sc-step"><b>{number}</b>{html.escape(title)}<small>{html.escape(hint)}</small></div>'


def bad(message: str) -> str:
    """Something that did not work."""
    return f'<div class="sc-live"><span class="sc-bad" role="alert">{html.escape(message)}</span></div>'


def note(message: str) -> str:
    """Something worth knowing."""
    return f'<div class="sc-live"><span>{html.escape(message)}</span></div>'


def live(status: Status) -> str:
    """How far a job is: stage, bar, time left, and the curve of the loss."""
    if status.state == "waiting":
        others = "1 job is" if status.ahead == 1 else f"{status.ahead} jobs are"
        return note(f"Waiting: {others} before yours." if status.ahead else "Waiting for a moment …")
    if not status.total:
        return note("Loading the model …")
    words = f"{html.escape(status.stage)}, {status.done} of {status.total}"
    if status.seconds_left is not None:
        words += f" · about {duration(status.seconds_left)} left"
    if status.losses:
        words += f" · loss {status.losses[-1][1]:.3g}"
    share = min(status.done / status.total, 1)
    return (
        f'<div class="sc-live"><div class="sc-words"><div>{words}</div>'
        f'<div class="sc-progress" role="progressbar" aria-valuemax="{status.total}" aria-valuenow="{status.done}">'
        f'<div style="width: {share:.0%}"></div></div></div>{chart(status.losses)}</div>'
    )


def chart(losses: Sequence[tuple[int, float]]) -> str:
    """The loss as a curve, on a logarithmic scale, as SVG."""
    known = [(step, loss) for step, loss in losses if loss > 0]
    if len(known) < 2:
        return ""
    width, height = _CHART
    steps, logs = np.array([one for one, _ in known], dtype=float), np.log([loss for _, loss in known])
    across = (steps - steps[0]) / max(steps[-1] - steps[0], 1)
    down = (logs.max() - logs) / max(logs.max() - logs.min(), 1e-9)
    every = max(1, len(known) // 200)
    places = " ".join(
        f"{4 + x * (width - 8):.1f},{14 + y * (height - 18):.1f}"
        for x, y in zip(across[::every], down[::every], strict=True)
    )
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="loss while learning">'
        f'<text x="4" y="11" font-size="11" fill="currentColor" opacity="0.65">loss (log scale)</text>'
        f'<polyline points="{places}" fill="none" stroke="var(--primary-600)" stroke-width="2"/></svg>'
    )


def table(work: Workspace) -> str:
    """Every point of every target in numbers."""
    if not work.matches and not work.decisions:
        return ""
    rows = []
    for target, image in zip(work.target_ids, work.targets, strict=True):
        for number, (point, name) in enumerate(zip(work.ids, work.labels, strict=True), start=1):
            cell = (target, point)
            location = work.location(cell)
            x, y = ("", "") if location is None else (f"{location[0]:.1f}", f"{location[1]:.1f}")
            words = "".join(f"<td>{html.escape(word)}</td>" for word in (image.name, str(number), name))
            numbers = "".join(f'<td class="sc-number">{word}</td>' for word in (x, y, _state(work, cell)))
            rows.append(f"<tr>{words}{numbers}</tr>")
    heads = "".join(f"<th>{head}</th>" for head in ("target", "point", "name", "x", "y", "confidence"))
    return f'<table class="sc-table"><tr>{heads}</tr>{"".join(rows)}</table>'


def _state(work: Workspace, cell: Cell) -> str:
    """A match's confidence, or what a person decided."""
    if cell in work.decisions:
        return "by hand" if work.decisions[cell].how == "corrected" else "accepted"
    if cell not in work.matches:
        return "not found yet"
    return f"{work.matches[cell].confidence:.2f}" + (" (point moved)" if work.outdated(cell) else "")


def remarks(told: Sequence[str]) -> str:
    """What is to be known about how a result was made, in a sentence; none where there is nothing."""
    return f"{len(told)} of its parts: {told[0]}." if told else ""


def links(files: Mapping[str, str]) -> str:
    """Files to save, by name and address."""
    shown = "".join(
        f'<a href="{html.escape(address)}" download="{html.escape(name)}">{html.escape(name)}</a>'
        for name, address in files.items()
    )
    return f'<div class="sc-files">{shown}</div>'
