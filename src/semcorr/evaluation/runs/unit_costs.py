"""The cost of one call of a method, from a few short calls: seconds by the clock, or counted operations."""

import copy
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.prompt.crops import CORNERS
from semcorr.matchers.results import Matches, Query
from semcorr.models.memory import stored_bytes
from semcorr.settings import override

Result = TypeVar("Result")
Meter = Callable[[Callable[[], Any]], tuple[Any, float]]
"""Does some work; returns its result and its cost."""

_REPEATED_BELOW = 1.0
"""Seconds: a shorter call is timed three times, and the median counts."""

_LIVE_POINTS = 4
"""Points per call where every step asks for a pass of the network."""


@dataclass(frozen=True, kw_only=True)
class UnitCosts:
    """The cost of describing an image and of locating points in one: a part per call, and a part per point.

    Attributes:
        counted: Whether the four costs are floating-point operations; seconds otherwise.
        describe_call, describe_point, locate_call, locate_point: The costs.
        points: The number of points per call that the costs of a point are from.
        device: The device that they were measured on.
        weight_bytes: Size of the network's parameters, as they are stored, wherever they are.
        peak_bytes: The most memory in use, weights included: on a GPU PyTorch's own, elsewhere this process's resident
            memory, libraries included; None if the system does not report it.
        query_point_bytes: Size of a described point.
        columns: The number of alternative predictions per point in a run's record: by layer, round and crop.
    """

    counted: bool
    describe_call: float
    describe_point: float
    locate_call: float
    locate_point: float
    points: int
    device: str
    weight_bytes: int
    peak_bytes: int | None
    query_point_bytes: int
    columns: int


def measure(
    matcher: Matcher,
    *,
    points: int,
    size: tuple[int, int] = (500, 375),
    count: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> UnitCosts:
    """Time or count short calls of any method.

    Neither depends on the content of an image, so noise is used. Where every step or crop asks for a pass of the
    network, a few of them are done and multiplied; otherwise whole calls with one and with ``points`` points.

    Args:
        matcher: The method, with its settings.
        points: The number of points of a usual call, at least 2.
        size: (width, height) of the image.
        count: Whether to count operations instead of timing: these are the same on every machine.
        clock: Returns the seconds.

    Raises:
        SemcorrError: As the method's two calls.
    """
    inner = _without_cache(matcher.unwrapped)
    image = Image(pixels=np.random.default_rng(0).integers(256, size=(size[1], size[0], 3), dtype=np.uint8))
    chosen = np.random.default_rng(1).uniform(0.3, 0.7, size=(points, 2)) * size
    # A cut network shares its parameters with the whole one.
    weights = {id(weight): weight for network in _networks(inner) for weight in network.parameters()}.values()
    # Of what is offloaded there are tensors without data, and the weights are kept apart.
    here = [weight for weight in weights if weight.device.type != "meta"]
    away = getattr(getattr(inner, "model", None), "offloaded", None)
    device = next((weight.device for weight in here), torch.device("cpu"))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    live = inner.capabilities.optimizes and inner.settings.queries == "live"
    costs = (_live if live else _whole)(inner, image, chosen, _count if count else _clock(device, clock), count)
    mirrored = 2 if matcher.identity().get("align_pose") else 1
    return UnitCosts(
        counted=count,
        describe_call=costs.describe[0],
        describe_point=costs.describe[1],
        locate_call=mirrored * costs.locate[0],
        locate_point=mirrored * costs.locate[1],
        points=min(points, _LIVE_POINTS) if live else points,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        weight_bytes=sum(map(stored_bytes, here)) + (away.nbytes if away is not None else 0),
        peak_bytes=_peak(device),
        query_point_bytes=costs.query_point_bytes,
        columns=costs.columns,
    )


@dataclass(frozen=True)
class _Costs:
    """Costs of a call and of a point, for both halves, and sizes per point."""

    describe: tuple[float, float]
    locate: tuple[float, float]
    query_point_bytes: int
    columns: int


def _whole(matcher: Matcher, image: Image, points: np.ndarray, meter: Meter, counted: bool) -> _Costs:
    if not counted:
        matcher.locate(matcher.describe(image, points[:1]), image)  # the first call of anything is slower
    one, describe_one = meter(lambda: matcher.describe(image, points[:1]))
    query, describe_many = meter(lambda: matcher.describe(image, points))
    _, locate_one = meter(lambda: matcher.locate(one, image, trace=True))
    matches, locate_many = meter(lambda: matcher.locate(query, image, trace=True))
    return _Costs(
        describe=_line(1, describe_one, len(points), describe_many),
        locate=_line(1, locate_one, len(points), locate_many),
        query_point_bytes=_size(query) // len(points),
        columns=_columns(matches),
    )


def _live(matcher: Matcher, image: Image, points: np.ndarray, meter: Meter, counted: bool) -> _Costs:
    """From a few steps of describing, and from locating in the corners, which all rows share.

    Every further crop in locating is a row's own, so that it is encoded for it alone.
    """
    settings, model = matcher.settings, matcher.model
    # Operations are the same for every row; seconds are less where several run together.
    count, rounds = (2, 1) if counted else (min(len(points), _LIVE_POINTS), settings.rounds)
    corners = 1 if settings.locate_crop == 1 else len(CORNERS)
    # With one shared crop nothing is encoded after the first step; fresh ones are encoded with their steps.
    shared = None if settings.optimize_crops is None else 1

    def quick(steps: int) -> Matcher:
        few = override(settings, steps=steps, locate_crops=corners, optimize_crops=shared, rounds=rounds)
        return matcher.with_settings(few)

    one = quick(1).describe(image, points[:1])
    if not counted:
        quick(1).locate(one, image)  # the first call of anything is slower
    query, short = meter(lambda: quick(1).describe(image, points[:count]))
    _, long = meter(lambda: quick(3).describe(image, points[:count]))
    matches, locate_one = meter(lambda: quick(1).locate(one, image, trace=True))
    _, locate_many = meter(lambda: quick(1).locate(query, image, trace=True))
    side = settings.resolution or model.resolution
    _, encode = meter(lambda: model.encode(torch.zeros(1, 3, side, side)))
    step = max(0.0, long - short) / 2
    call, read = _line(1, locate_one, count, locate_many)
    more = settings.rounds / rounds
    return _Costs(
        describe=(
            max(0.0, short - step) + encode * max(0, (settings.optimize_crops or 0) - 1),
            step * settings.steps * more / count,
        ),
        locate=(
            call,
            read * settings.locate_crops / corners * more
            + encode * (settings.locate_crops - corners) * settings.rounds,
        ),
        query_point_bytes=int(more * _size(query)) // count,
        columns=len(matches.layer_names) + settings.rounds + settings.locate_crops,
    )


def _line(few: int, short: float, many: int, long: float) -> tuple[float, float]:
    """The cost of a call without any point, and of each point: neither is below 0."""
    point = max(0.0, long - short) / (many - few)
    return max(0.0, short - few * point), point


def _size(query: Query) -> int:
    return sum(value.nbytes for value in query.tensors.values())


def _columns(matches: Matches) -> int:
    """The number of alternative predictions per point."""
    if (own := matches.diagnostics) is None:
        return 0
    traces = (own.layer_points, own.after_rounds, own.after_crops)
    return sum(trace.shape[1] for trace in traces if trace is not None)


def _without_cache(matcher: Matcher) -> Any:
    """The method as it is on images that it meets for the first time."""
    if getattr(matcher, "latents_cache", None) is None:
        return matcher
    bare: Any = copy.copy(matcher)
    bare.latents_cache = None
    return bare


# --- meters -----------------------------------------------------------------------------------------------------------


def _clock(device: torch.device, clock: Callable[[], float]) -> Meter:
    def once(work: Callable[[], Result]) -> tuple[Result, float]:
        began = clock()
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result, clock() - began

    def timed(work: Callable[[], Result]) -> tuple[Result, float]:
        result, seconds = once(work)
        if seconds < _REPEATED_BELOW:
            seconds = statistics.median([seconds, once(work)[1], once(work)[1]])
        return result, seconds

    return timed


def _count(work: Callable[[], Result]) -> tuple[Result, float]:
    with flop_counter() as counter:
        result = work()
    return result, float(counter.get_total_flops())


def flop_counter() -> FlopCounterMode:
    """Torch's counter of floating-point operations, with formulas for the CPU's fused attention, which it lacks."""
    return FlopCounterMode(
        display=False,
        custom_mapping={
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _fused_attention,
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _fused_attention_backward,
        },
    )


_Shape = Sequence[int]


def _fused_attention(query: _Shape, key: _Shape, value: _Shape, *_: object, **__: object) -> int:
    return sdpa_flop_count(query, key, value)


def _fused_attention_backward(
    gradient: _Shape, query: _Shape, key: _Shape, value: _Shape, *_: object, **__: object
) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _networks(holder: object, seen: set[int] | None = None) -> Iterator[nn.Module]:
    """Every network that an object holds, once."""
    seen = set() if seen is None else seen
    if id(holder) in seen:
        return
    seen.add(id(holder))
    if isinstance(holder, nn.Module):
        yield holder
    elif type(holder).__module__.split(".")[0] not in ("builtins", "torch", "numpy") and hasattr(holder, "__dict__"):
        for value in vars(holder).values():
            yield from _networks(value, seen)
