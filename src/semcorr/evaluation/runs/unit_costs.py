"""What one call of a method takes, from a few short calls: by the clock, or counted in operations."""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from semcorr.imaging.image import Image
from semcorr.matchers.attention_dift import AttentionDiftMatcher
from semcorr.matchers.base import Matcher
from semcorr.matchers.prompt import PromptMatcher, PromptSettings
from semcorr.matchers.prompt.crops import CORNERS
from semcorr.settings import override

Result = TypeVar("Result")

_AGAIN_BELOW = 1.0
"""Seconds: a shorter call is timed three times, and the median counts."""

_LIVE_POINTS = 4
"""Points at once where every step asks for a pass of the network."""


@dataclass(frozen=True, kw_only=True)
class UnitCosts:
    """What describing a picture and locating points in one take: so much a call, and so much more a point.

    Attributes:
        counted: whether the four costs are floating-point operations; seconds otherwise.
        describe_call, describe_point, locate_call, locate_point: the costs.
        points: so many points at once the costs of a point are from.
        device: where it was measured.
        weight_bytes: of the network's parameters.
        peak_bytes: the most memory in use, weights included: on a GPU what PyTorch had there, elsewhere this process's
            resident memory, libraries included; None where the system does not tell.
        query_point_bytes: what a described point takes.
        columns: places that a run's record keeps of a point, beside the point itself: by layer, round and crop.
        latent_bytes: of an encoded crop; 0 for methods without crops.
        optimize_crops, locate_crops: crops of a picture that all its points share, or of each of its embeddings apart.
        crops_shared: which of the two.
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
    latent_bytes: int = 0
    optimize_crops: int = 0
    locate_crops: int = 0
    crops_shared: bool = True


@runtime_checkable
class _Meter(Protocol):
    def __call__(self, work: Callable[[], Any], /) -> tuple[Any, float]:
        """What the work gives, and what it took."""


def measure(
    matcher: Matcher,
    *,
    points: int,
    size: tuple[int, int] = (500, 375),
    count: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> UnitCosts:
    """Time or count short calls of any method.

    Neither depends on what is in a picture, so noise is used. Where every step or crop asks for a pass of the network,
    a few of them are done and multiplied; otherwise whole calls with one and with ``points`` points.

    Args:
        matcher: the method, with its settings.
        points: how many a call usually has, from 2 on.
        size: (width, height) of the picture.
        count: count operations and do not time: the same on every machine.
        clock: what seconds are read from.

    Raises:
        SemcorrError: as the method's two calls.
    """
    inner = _without_cache(matcher.unwrapped)
    picture = Image(pixels=np.random.default_rng(0).integers(256, size=(size[1], size[0], 3), dtype=np.uint8))
    places = np.random.default_rng(1).uniform(0.3, 0.7, size=(points, 2)) * size
    # A cut network shares its parameters with the whole one.
    weights = {id(weight): weight for network in _networks(inner) for weight in network.parameters()}.values()
    device = next((weight.device for weight in weights), torch.device("cpu"))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    meter: _Meter = _count if count else _clock(device, clock)
    settings = getattr(inner, "settings", None)
    live = isinstance(settings, PromptSettings) and settings.queries == "live"
    found = (_live if live else _whole)(inner, picture, places, meter)
    mirrored = 2 if matcher.identity().get("align_pose") else 1
    return UnitCosts(
        counted=count,
        describe_call=found.describe[0],
        describe_point=found.describe[1],
        locate_call=mirrored * found.locate[0],
        locate_point=mirrored * found.locate[1],
        points=min(points, _LIVE_POINTS) if live else points,
        device=_name(device),
        weight_bytes=sum(weight.nbytes for weight in weights),
        peak_bytes=_peak(device),
        query_point_bytes=found.query_point_bytes,
        columns=found.columns,
        **_crops(inner),
    )


@dataclass(frozen=True)
class _Found:
    """Costs of a call and of a point, for both halves, and what is kept of a point."""

    describe: tuple[float, float]
    locate: tuple[float, float]
    query_point_bytes: int
    columns: int


def _whole(matcher: Matcher, picture: Image, places: np.ndarray, meter: _Meter) -> _Found:
    count = len(places)
    if meter is not _count:
        matcher.locate(matcher.describe(picture, places[:1]), picture)  # the first call of anything is slower
    one, describe_one = meter(lambda: matcher.describe(picture, places[:1]))
    many, describe_many = meter(lambda: matcher.describe(picture, places))
    _, locate_one = meter(lambda: matcher.locate(one, picture, trace=True))
    found, locate_many = meter(lambda: matcher.locate(many, picture, trace=True))
    return _Found(
        describe=_line(1, describe_one, count, describe_many),
        locate=_line(1, locate_one, count, locate_many),
        query_point_bytes=sum(value.nbytes for value in many.tensors.values()) // count,
        columns=found.layer_points.shape[1] + found.after_rounds.shape[1] + found.after_crops.shape[1],
    )


def _live(matcher: PromptMatcher | AttentionDiftMatcher, picture: Image, places: np.ndarray, meter: _Meter) -> _Found:
    """From a few steps of describing, and from locating in the corners, which all rows share.

    Every further crop that locating reads is a row's own, so that it is encoded for it alone.
    """
    settings, model = matcher.settings, matcher.model
    # Operations are the same for every row; seconds are less where several run together.
    count, rounds = (2, 1) if meter is _count else (min(len(places), _LIVE_POINTS), settings.rounds)
    corners = 1 if settings.locate_crop == 1 else len(CORNERS)
    # With one shared crop nothing is encoded after the first step; fresh ones are encoded with their steps.
    shared = None if settings.optimize_crops is None else 1

    def quick(steps: int) -> Any:
        few = override(settings, steps=steps, locate_crops=corners, optimize_crops=shared, rounds=rounds)
        return _with(matcher, few)

    one = quick(1).describe(picture, places[:1])
    if meter is not _count:
        quick(1).locate(one, picture)  # the first call of anything is slower
    query, short = meter(lambda: quick(1).describe(picture, places[:count]))
    _, long = meter(lambda: quick(3).describe(picture, places[:count]))
    found, locate_one = meter(lambda: quick(1).locate(one, picture, trace=True))
    _, locate_many = meter(lambda: quick(1).locate(query, picture, trace=True))
    side = settings.resolution or model.resolution
    _, encode = meter(lambda: model.encode(torch.zeros(1, 3, side, side)))
    step = max(0.0, long - short) / 2
    call, read = _line(1, locate_one, count, locate_many)
    more = settings.rounds / rounds
    return _Found(
        describe=(
            max(0.0, short - step) + encode * max(0, (settings.optimize_crops or 0) - 1),
            step * settings.steps * more / count,
        ),
        locate=(
            call,
            read * settings.locate_crops / corners * more
            + encode * (settings.locate_crops - corners) * settings.rounds,
        ),
        query_point_bytes=int(more * sum(value.nbytes for value in query.tensors.values())) // count,
        columns=found.layer_points.shape[1] + settings.rounds + settings.locate_crops,
    )


def _line(few: int, short: float, many: int, long: float) -> tuple[float, float]:
    """What a call takes without any point, and what a point adds: neither is less than nothing."""
    point = max(0.0, long - short) / (many - few)
    return max(0.0, short - few * point), point


def _without_cache(matcher: Any) -> Any:
    """Times and operations are those of pictures that are met for the first time."""
    return _with(matcher, matcher.settings) if isinstance(matcher, PromptMatcher) else matcher


def _with(matcher: PromptMatcher | AttentionDiftMatcher, settings: Any) -> Any:
    if isinstance(matcher, PromptMatcher):
        return PromptMatcher(
            matcher.model,
            settings,
            memory_budget=matcher.memory_budget,
            gradient_checkpointing=matcher.gradient_checkpointing,
        )
    return AttentionDiftMatcher(matcher.model, settings)


def _crops(matcher: object) -> dict[str, Any]:
    settings = getattr(matcher, "settings", None)
    if not isinstance(settings, PromptSettings) or not isinstance(matcher, PromptMatcher | AttentionDiftMatcher):
        return {}
    model = matcher.model
    side = (settings.resolution or model.resolution) // model.vae_factor
    latent = next(iter(model.unet.parameters())).element_size() * model.unet.config.in_channels * side**2
    frozen = settings.queries == "frozen"
    return {
        "latent_bytes": latent,
        "optimize_crops": settings.optimize_crops or settings.steps * settings.rounds,
        "locate_crops": settings.locate_crops * (1 if frozen else settings.rounds),
        "crops_shared": frozen,
    }


# --- meters -----------------------------------------------------------------------------------------------------------


def _clock(device: torch.device, clock: Callable[[], float]) -> _Meter:
    def once(work: Callable[[], Result]) -> tuple[Result, float]:
        began = clock()
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result, clock() - began

    def timed(work: Callable[[], Result]) -> tuple[Result, float]:
        result, seconds = once(work)
        if seconds < _AGAIN_BELOW:
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


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _networks(thing: object, seen: set[int] | None = None) -> Iterator[nn.Module]:
    """Every network that a method holds, once."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, nn.Module):
        yield thing
    elif type(thing).__module__.split(".")[0] not in ("builtins", "torch", "numpy") and hasattr(thing, "__dict__"):
        for value in vars(thing).values():
            yield from _networks(value, seen)
