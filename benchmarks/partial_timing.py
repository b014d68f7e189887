"""Follow one ``describe`` or ``locate`` by its own progress, stop it when enough is known, and work out the rest.

A description takes hours at full size on a processor, so it is neither waited for nor shortened by other settings: the
call runs as it is, tells its steps, and is stopped after a few of them, as any caller may by raising from the progress
callback. What lies before the first step (a bank of crops, say) is then in the figures once, as it should be.

Encodings are counted apart from the rest, because their number does not grow with the steps: a crop drawn before
is not encoded again.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from benchmarks.command import synchronise
from benchmarks.meters import Counts, OtherWork, PeakMemory, counting
from semcorr.evaluation.runs.unit_costs import flop_counter
from semcorr.matchers.prompt.crops import CORNERS
from semcorr.models.diffusion import DiffusionModel
from semcorr.progress import Progress

_OWN = 0.5
"""More encodings a unit than this: every row draws crops of its own (and few were drawn before, early on)."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All meters at one moment, since the call began. ``done`` are units: steps, or crops, of one embedding."""

    done: int = 0
    seconds: float = 0.0
    flops: int = 0
    passes: int = 0
    encodes: int = 0
    encode_seconds: float = 0.0
    encode_flops: int = 0


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How crops are drawn, to tell how many different ones there will be.

    ``positions`` is the number of positions that a crop can have, None where nothing is remembered. ``shared`` is how
    many units of every row have crops that all rows have (the corners, when locating), ``rows`` the number of rows.
    ``noise_shared`` says that a crop comes with its noise, and so with what the U-Net does before its first
    cross-attention.
    """

    positions: int | None
    rows: int
    shared: int = 0
    noise_shared: bool = False

    def different(self, units: int) -> float:
        """The number of different crops to expect in ``units`` draws of ``rows`` rows.

        Of P equally likely positions, n draws visit P (1 - (1 - 1/P)^n). Near an edge a point allows fewer positions
        than the frame has, and then there are fewer still.
        """
        if self.positions is None:
            return float(units)
        drawn = max(0, units - self.shared * self.rows)
        return min(units, self.shared) + self.positions * (1 - (1 - 1 / self.positions) ** drawn)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a call takes. ``timed`` of ``units`` units were run: all of them, or the rest is worked out."""

    seconds: float
    flops: float
    passes: float
    encodes: float
    units: int
    timed: int

    @property
    def whole(self) -> bool:
        """Whether nothing is worked out."""
        return self.timed >= self.units


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A call as far as it went: a reading after each of its steps, and one at the end where it got there.

    ``startless`` calls do nothing before their first step, so that one step tells all. ``others`` is the part of the
    processor's time that other programs took.
    """

    readings: tuple[Reading, ...]
    total: int
    finished: bool
    peak_bytes: int = 0
    others: float = 0.0
    startless: bool = False

    def cost(self, draws: Draws, units: int | None = None) -> Cost:
        """What the whole call takes, or one of another number of ``units`` with everything else equal.

        Beyond what was run, each unit takes what units took after the first reading, and each encoding what encodings
        took; whatever else happened up to the first reading happens once.
        """
        last = self.readings[-1]
        units = self.total if units is None else units
        if self.finished and (units == self.total or not last.done):
            return Cost(
                seconds=last.seconds,
                flops=last.flops,
                passes=last.passes,
                encodes=last.encodes,
                units=units,
                timed=units,
            )
        encodes = self._encodes(draws, units)
        each = max(1, last.encodes)
        return Cost(
            seconds=self._grown(lambda r: r.seconds - r.encode_seconds, units) + encodes * last.encode_seconds / each,
            flops=self._grown(lambda r: r.flops - r.encode_flops, units) + encodes * last.encode_flops / each,
            passes=self._grown(lambda r: r.passes, units),
            encodes=encodes,
            units=units,
            timed=last.done,
        )

    def _grown(self, meter: Callable[[Reading], float], units: int) -> float:
        first, last = self._ends()
        slope = (meter(last) - meter(first)) / (last.done - first.done)
        return meter(last) + max(0.0, slope) * (units - last.done)

    def _ends(self) -> tuple[Reading, Reading]:
        """The first reading after which only units follow, and the last."""
        first, last = self.readings[0], self.readings[-1]
        return (Reading(), last) if self.startless or first.done == last.done else (first, last)

    def _encodes(self, draws: Draws, units: int) -> float:
        readings = self.readings
        last, index = readings[-1], max(draws.shared, 1) - 1
        # What comes after the crops that all rows share, if the call got past them.
        first = Reading() if self.startless or index >= len(readings) - 1 else readings[index]
        rate = (last.encodes - first.encodes) / max(1, last.done - first.done)
        if rate > _OWN:
            return draws.different(units)
        # Nothing, or one encoding for all rows, so that their number does not matter. More than there are different
        # crops it cannot be: while few steps are known, all crops look new.
        grown = last.encodes * (max(1.0, self.total / last.done) if rate > 0 else 1.0)
        return grown if draws.positions is None else max(last.encodes, min(grown, draws.different(units)))


class _EnoughError(Exception):
    """Raised from the progress callback to stop a call."""


def follow(
    call: Callable[[Progress], Any],
    watched: str,
    model: DiffusionModel,
    *,
    longest: float,
    least: int,
    draws: Draws,
    count_flops: bool = False,
    startless: bool = False,
    progress: Progress | None = None,
) -> tuple[Trace, Any]:
    """Run a call and read the meters after each of its steps.

    Args:
        call: what is run, with the progress callback that it is to tell its steps to.
        watched: "optimize" or "locate": the steps' name.
        model: whose networks are watched.
        longest: seconds; a call that is going to take longer is stopped as soon as ``least`` readings are there.
        least: how many readings are needed to work out the rest.
        draws: how crops are drawn.
        count_flops: count operations, which takes time of its own where tensors are small.
        startless: as in :class:`Trace`.
        progress: Called with what the call reports.

    Returns:
        The trace, and what the call returned: None where it was stopped.
    """
    readings: list[Reading] = []
    seen = 0
    with ExitStack() as stack:
        flops = stack.enter_context(flop_counter()) if count_flops else None
        counts = stack.enter_context(counting(model, flops, prefix_remembered=draws.noise_shared))
        peak = stack.enter_context(PeakMemory(model.device))
        others = stack.enter_context(OtherWork())
        began = perf_counter()

        def read(done: int) -> None:
            synchronise(model.device)
            now = perf_counter() - began
            readings.append(_reading(done, now, flops.get_total_flops() if flops else 0, counts))

        def tell(stage: str, done: int, total: int, **info: object) -> None:
            nonlocal seen
            if progress is not None:
                progress(stage, done, total, **info)
            if stage != watched:
                return
            seen = total
            read(done)
            if len(readings) < least or done >= total:
                return
            so_far = Trace(readings=tuple(readings), total=total, finished=False, startless=startless)
            if so_far.cost(draws).seconds > longest:
                raise _EnoughError

        try:
            result = call(tell)
            read(seen)
        except _EnoughError:
            result = None
    trace = Trace(
        readings=tuple(readings),
        total=seen,
        finished=result is not None,
        peak_bytes=peak.bytes,
        others=others.share,
        startless=startless,
    )
    return trace, result


def corners(fraction: float) -> int:
    """How many of a row's first crops are the same for all rows: the corners, unless the whole image is one crop."""
    return len(CORNERS) if fraction < 1 else 1


def _reading(done: int, seconds: float, flops: int, counts: Counts) -> Reading:
    return Reading(
        done=done,
        seconds=seconds,
        flops=flops,
        passes=counts.passes,
        encodes=counts.encodes,
        encode_seconds=counts.encode_seconds,
        encode_flops=counts.encode_flops,
    )
