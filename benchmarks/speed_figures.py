"""From costs to the figures that are printed: seconds and work, times faster than plain, and what was aimed at."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.method_cost import PLAIN, Measured, Stage

Costs = Mapping[tuple[str, Stage, int], Measured]
"""What was measured in one round of all methods, by method, stage and number of points."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The least, the median and the most of what the repeats gave."""

    low: float
    middle: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return short(self.middle)
        return f"{short(self.middle)} ({short(self.low)} to {short(self.high)})"

    def to_dict(self) -> dict[str, float]:
        """The three, for JSON."""
        return {"min": self.low, "median": self.middle, "max": self.high}


def spread(values: Sequence[float]) -> Spread:
    """The spread of one or more values."""
    return Spread(low=min(values), middle=statistics.median(values), high=max(values))


def short(value: float) -> str:
    """Three significant digits, never as a power of ten; whole numbers from 100 on."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2
    while abs(value) < 10 ** (1 - digits + 1) and digits < 9:
        digits += 1
    text = f"{value:.{digits}f}"
    return text if abs(value) < 10 else f"{value:.1f}"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One figure of a round: what it is called, and how it follows from the costs; None where it cannot."""

    key: str
    label: str
    of: Callable[[Costs, str], float | None]
    compared: bool = True


def per_step(points: int, steps: Mapping[str, int]) -> Quantity:
    """Seconds of one optimisation step of one embedding, all that describing takes included."""

    def of(costs: Costs, method: str) -> float | None:
        measured = costs.get((method, "describe", points))
        return measured.cost.seconds / (points * steps[method]) if measured else None

    return Quantity(key=f"step@{points}", label=f"a step, {_points(points)} described", of=of)


def per_point(points: int) -> Quantity:
    """Seconds of describing one of so many points."""

    def of(costs: Costs, method: str) -> float | None:
        measured = costs.get((method, "describe", points))
        return measured.cost.seconds / points if measured else None

    return Quantity(key=f"point@{points}", label=f"a described point, {_points(points)} at once", of=of)


def per_target(points: int) -> Quantity:
    """Seconds of locating so many points in one target."""

    def of(costs: Costs, method: str) -> float | None:
        measured = costs.get((method, "locate", points))
        return measured.cost.seconds if measured else None

    return Quantity(key=f"target@{points}", label=f"a target, {_points(points)} located", of=of)


def seconds(quantity: Quantity, rounds: Sequence[Costs], method: str) -> Spread | None:
    """A quantity over all repeats."""
    values = [value for costs in rounds if (value := quantity.of(costs, method)) is not None]
    return spread(values) if values else None


def times_faster(quantity: Quantity, rounds: Sequence[Costs], method: str) -> Spread | None:
    """How many times less than plain a method takes, each repeat compared with itself."""
    pairs = [(quantity.of(costs, PLAIN), quantity.of(costs, method)) for costs in rounds]
    ratios = [plain / own for plain, own in pairs if plain is not None and own]
    return spread(ratios) if ratios else None


def extra_point(counted: Costs, method: str, meter: str) -> float | None:
    """What a further point takes on the same target, in ``meter`` ("flops", "passes")."""
    costs = {points: m.cost for (name, stage, points), m in counted.items() if name == method and stage == "locate"}
    if len(costs) < 2:
        return None
    few, many = min(costs), max(costs)
    return (getattr(costs[many], meter) - getattr(costs[few], meter)) / (many - few)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A figure beside what is aimed at at full size: ``aim`` is a lower bound, or an upper one if ``at_most``."""

    text: str
    figure: Spread
    aim: float
    at_most: bool = False

    @property
    def reached(self) -> bool:
        """Whether the median is within the aim."""
        return self.figure.middle <= self.aim if self.at_most else self.figure.middle >= self.aim

    def __str__(self) -> str:
        aim = f"{'at most' if self.at_most else 'at least'} {self.aim:g}"
        return f"{self.text}: {self.figure}; aim at full size: {aim}, {'reached' if self.reached else 'not reached'}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "text": self.text,
            **self.figure.to_dict(),
            "aim": self.aim,
            "at_most": self.at_most,
            "reached": self.reached,
        }


def verdicts(
    counted: Costs,
    rounds: Sequence[Costs],
    *,
    exact: str,
    fast: str,
    steps: Mapping[str, int],
    rates: Mapping[str, float],
    gpu: bool,
) -> list[Verdict]:
    """What is aimed at with the exact preset and the recommended fast one, as far as they were measured.

    Args:
        counted: costs with operations.
        rounds: costs with seconds, a repeat each.
        exact: the preset with the plain procedure's settings.
        fast: the recommended one.
        steps: optimisation steps of one point, by method.
        rates: measured matrix products a second, by method.
        gpu: whether the aims are a GPU's.
    """
    verdicts_: list[Verdict] = []
    counts = sorted({points for _, _, points in counted})
    for points in counts:
        own, plain = (counted.get((name, "describe", points)) for name in (exact, PLAIN))
        if own and plain and plain.cost.flops:
            ratio = (own.cost.flops / steps[exact]) / (plain.cost.flops / steps[PLAIN])
            text = f"Operations a step, {exact} / plain, {_points(points)}"
            verdicts_.append(Verdict(text=text, figure=spread([ratio]), aim=0.40, at_most=True))
    aims = [(per_step(n, steps), exact, 20.0 if gpu else 4.0) for n in counts]
    aims += [(per_point(n), fast, 500.0 if gpu else 100.0) for n in counts]
    aims += [(per_target(n), fast, 20.0) for n in counts[-1:]]
    for quantity, method, aim in aims:
        ratio_spread = times_faster(quantity, rounds, method)
        if ratio_spread is not None:
            verdicts_.append(Verdict(text=f"{method}, times faster, {quantity.label}", figure=ratio_spread, aim=aim))
    if gpu and (share := share_of_rate(counted, rounds, exact, "describe", counts[-1], rates)) is not None:
        verdicts_.append(Verdict(text=f"{exact}, % of the matrix rate while describing", figure=share, aim=45.0))
    passes = extra_point(counted, fast, "passes")
    if passes is not None:
        text = f"{fast}, U-Net passes for a further point on the same target"
        verdicts_.append(Verdict(text=text, figure=spread([passes]), aim=0, at_most=True))
    return verdicts_


def share_of_rate(
    counted: Costs, rounds: Sequence[Costs], method: str, stage: Stage, points: int, rates: Mapping[str, float]
) -> Spread | None:
    """Operations a second as a percentage of the machine's own rate of matrix products."""
    work = counted.get((method, stage, points))
    times = [costs[method, stage, points].cost.seconds for costs in rounds if (method, stage, points) in costs]
    if work is None or not times:
        return None
    return spread([100 * work.cost.flops / (time * rates[method]) for time in times])


def _points(count: int) -> str:
    return "1 point" if count == 1 else f"{count} points"
