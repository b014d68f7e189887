"""Texts of the page as HTML: progress, results, links. Every word from outside is escaped."""

import html
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from semcorr.app.matchers import images_of, model_of
from semcorr.app.server.jobs import Status
from semcorr.app.workspace import Cell, Workspace
from semcorr.matchers.spec import MatcherSpec
from semcorr.progress import duration

_CHART = (220, 56)


def step(number: int, title: str, hint: str = "") -> str:
    """The heading of a step."""
    return f'<div class="sc-step"><b>{number}</b>{html.escape(title)}<small>{html.escape(hint)}</small></div>'


def bad(message: str) -> str:
    """An error message."""
    return f'<div class="sc-live"><span class="sc-bad" role="alert">{html.escape(message)}</span></div>'


def note(message: str) -> str:
    """A message."""
    return f'<div class="sc-live"><span>{html.escape(message)}</span></div>'


def find_step(spec: MatcherSpec) -> str:
    """The heading of the step *Find*: the model that it uses, and the kind of images that this is for."""
    return step(3, "Find", f"on {model_of(spec)}, a model for {images_of(spec)}")


def live(status: Status) -> str:
    """A job's progress: stage, bar, time left, and the curve of the loss."""
    if status.state == "waiting":
        others = "1 job is" if status.ahead == 1 else f"{status.ahead} jobs are"
        return note(f"Waiting: {others} before yours." if status.ahead else "Waiting for a moment …")
    if not status.total:
        return note("Loading the model …")
    text = f"{html.escape(status.stage)}, {status.done} of {status.total}"
    if status.seconds_left is not None:
        text += f" · about {duration(status.seconds_left)} left"
    if status.losses:
        text += f" · loss {status.losses[-1][1]:.3g}"
    share = min(status.done / status.total, 1)
    return (
        f'<div class="sc-live"><div class="sc-text"><div>{text}</div>'
        f'<div class="sc-progress" role="progressbar" aria-valuemax="{status.total}" aria-valuenow="{status.done}">'
        f'<div style="width: {share:.0%}"></div></div></div>{chart(status.losses)}</div>'
    )


def chart(losses: Sequence[tuple[int, float]]) -> str:
    """The loss as a curve, on a logarithmic scale, as SVG."""
    positive = [(step, loss) for step, loss in losses if loss > 0]
    if len(positive) < 2:
        return ""
    width, height = _CHART
    steps, logs = np.array([step for step, _ in positive], dtype=float), np.log([loss for _, loss in positive])
    horizontal = (steps - steps[0]) / max(steps[-1] - steps[0], 1)
    vertical = (logs.max() - logs) / max(logs.max() - logs.min(), 1e-9)
    stride = max(1, len(positive) // 200)
    vertices = " ".join(
        f"{4 + x * (width - 8):.1f},{14 + y * (height - 18):.1f}"
        for x, y in zip(horizontal[::stride], vertical[::stride], strict=True)
    )
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="loss while optimizing">'
        f'<text x="4" y="11" font-size="11" fill="currentColor" opacity="0.65">loss (log scale)</text>'
        f'<polyline points="{vertices}" fill="none" stroke="var(--primary-600)" stroke-width="2"/></svg>'
    )


def table(work: Workspace) -> str:
    """A table of the location and confidence of every point in every target."""
    if not work.matches and not work.decisions:
        return ""
    rows = []
    for target, image in zip(work.target_ids, work.targets, strict=True):
        for number, (point, name) in enumerate(zip(work.ids, work.labels, strict=True), start=1):
            cell = (target, point)
            location = work.location(cell)
            x, y = ("", "") if location is None else (f"{location[0]:.1f}", f"{location[1]:.1f}")
            rows.append((image.name, str(number), name, x, y, _state(work, cell)))
    return grid(("target", "point", "name", "x", "y", "confidence"), rows, numeric=(3, 4, 5))


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]], numeric: Collection[int]) -> str:
    """A table of texts; the columns ``numeric``, counted from 0, are aligned to the right."""
    start = ['<td class="sc-number">' if column in numeric else "<td>" for column in range(len(heads))]
    body = "".join(
        f"<tr>{''.join(f'{begin}{html.escape(text)}</td>' for begin, text in zip(start, row, strict=True))}</tr>"
        for row in rows
    )
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    return f'<table class="sc-table"><tr>{head}</tr>{body}</table>'


def _state(work: Workspace, cell: Cell) -> str:
    """A match's confidence, or a person's decision."""
    if cell in work.decisions:
        return "by hand" if work.decisions[cell].how == "corrected" else "accepted"
    if cell not in work.matches:
        return "not found yet"
    return f"{work.matches[cell].confidence:.2f}" + (" (point moved)" if work.outdated(cell) else "")


def summarize_warnings(warnings: Sequence[str]) -> str:
    """A sentence about a result's warnings; empty where there is none."""
    if len(warnings) < 2:
        return "".join(f"1 warning: {warning}." for warning in warnings)
    return f"{len(warnings)} warnings, the first: {warnings[0]}."


def links(files: Mapping[str, str]) -> str:
    """Links to files, from name and address."""
    items = "".join(
        f'<a href="{html.escape(address)}" download="{html.escape(name)}">{html.escape(name)}</a>'
        for name, address in files.items()
    )
    return f'<div class="sc-files">{items}</div>'
