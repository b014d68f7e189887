"""How time and memory grow with the number of points, under a fixed memory budget, and over a thousand images.

``python -m benchmarks.point_scaling [--model toy] [--preset fast] [--plot FILE]``

One description of 1 to 500 points, and one target with as many; then 30 points of one drawing in 1,000 others, in
blocks of 100: time should not grow from block to block, nor memory.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from cyclopts import Parameter
from rich.table import Table

from benchmarks.command import FAST, chosen_presets, main, new_app, save_figure, save_json, synchronise, use_threads
from benchmarks.inputs import load, query_points, sample_image
from benchmarks.meters import PeakMemory, give_back_memory, resident_bytes
from benchmarks.speed_figures import short
from semcorr.cli import console
from semcorr.cli.options import parse_settings
from semcorr.errors import SettingsError
from semcorr.matchers.prompt import PromptMatcher, override, preset
from semcorr.matchers.results import Matches, Query
from semcorr.models.diffusion.model import Device, DType
from semcorr.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500)

app = new_app("point_scaling", "Measure how time and memory grow with the number of points and of images.")


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One call each for a number of points: seconds, and the most bytes beyond what was in use."""

    points: int
    describe_seconds: float
    describe_bytes: int
    locate_seconds: float
    locate_bytes: int


@dataclass(frozen=True, kw_only=True)
class Block:
    """Images that were located one after the other: seconds each, and the process's memory after the last."""

    images: int
    seconds: float
    resident_bytes: int


@dataclass(kw_only=True)
class Results:
    """All that was measured."""

    title: str
    budget: int
    grown: list[Growth] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


@app.default
def scaling(
    *,
    model: str = "toy",
    preset_name: Annotated[str, Parameter(name="--preset")] = FAST,
    points: Annotated[tuple[int, ...], Parameter(negative="", consume_multiple=True)] = COUNTS,
    memory: float = 500.0,
    images: int = 1000,
    block: int = 100,
    image_points: int = 30,
    dtype: DType = "float32",
    device: Device = "auto",
    threads: int | None = None,
    changes: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    plot: Path | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Measure how time and memory grow with the number of points and of images.

    Stopped by Ctrl-C, it prints what is finished.

    Args:
        model: "toy", "full-size", a folder, file or hub id.
        preset_name: The settings.
        points: Numbers of points in one call.
        memory: Megabytes that a batch may take: the budget that memory is measured against.
        images: Images that a description is located in, one after the other; 0 leaves them out.
        block: Images whose time and memory are one row.
        image_points: Points that are located in each of them.
        dtype: Precision of the network.
        device: Where; auto takes a GPU if there is one.
        threads: Of the processor; all cores by default.
        changes: NAME=VALUE, repeated: changes one setting of the preset.
        plot: A figure of it.
        json_file: A file that everything measured is written to as well.
    """
    (name,) = chosen_presets((preset_name,))
    if not points or min((*points, block, image_points)) < 1 or images < 0:
        raise SettingsError("Expected numbers of points and of images from 1 on.")
    use_threads(threads)
    with console.TerminalProgress() as progress:
        progress.busy("load")
        network = load(model, dtype, device)
    settings = override(preset(name, network.family), **parse_settings(changes or ()))
    matcher = PromptMatcher(network, settings, memory_budget=int(memory * 1e6))
    results = Results(title=f"model {model}, preset {name}", budget=int(memory * 1e6))
    stopped = False
    try:
        with console.TerminalProgress() as progress:
            measure(matcher, sorted(set(points)), results, progress)
            over_images(matcher, images, block, image_points, results, progress)
    except KeyboardInterrupt:
        stopped = True
        console.note("Stopped.")
    tell(results)
    if plot is not None and results.grown:
        save_figure(draw(results), plot)
        console.note(f"Figure: {plot}")
    if json_file is not None:
        save_json(asdict(results), json_file)
    return 130 if stopped else 0


def measure(matcher: PromptMatcher, counts: Sequence[int], results: Results, progress: Progress | None = None) -> None:
    """One call of each kind for each number of points; what is finished is in ``results`` already."""
    source, target = sample_image(matcher.model, 0), sample_image(matcher.model, 1)
    warm = matcher.describe(source, query_points(1, source.size))  # the first call of anything is slower
    matcher.locate(warm, target)
    for count in counts:

        def describe(number: int = count) -> Query:
            return matcher.describe(source, query_points(number, source.size), progress=progress)

        query, describe_seconds, describe_bytes = _metered(matcher, describe)

        def locate(described: Query = query) -> Matches:
            return matcher.locate(described, target, progress=progress)

        _, locate_seconds, locate_bytes = _metered(matcher, locate)
        results.grown.append(
            Growth(
                points=count,
                describe_seconds=describe_seconds,
                describe_bytes=describe_bytes,
                locate_seconds=locate_seconds,
                locate_bytes=locate_bytes,
            )
        )


def over_images(
    matcher: PromptMatcher, images: int, block: int, points: int, results: Results, progress: Progress | None = None
) -> None:
    """Describe points of one image and locate them in many others; drawing those is not timed."""
    if not images:
        return
    source = sample_image(matcher.model, 0)
    query = matcher.describe(source, query_points(points, source.size), progress=progress)
    give_back_memory()
    for first in range(0, images, block):
        count, seconds = min(block, images - first), 0.0
        for number in range(first, first + count):
            target = sample_image(matcher.model, 1 + number)
            began = time.perf_counter()
            matcher.locate(query, target)
            synchronise(matcher.model.device)
            seconds += time.perf_counter() - began
            if progress is not None:
                progress("images", number + 1, images)
        results.blocks.append(Block(images=count, seconds=seconds / count, resident_bytes=resident_bytes()))


def slope(counts: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """What a call takes and what a point adds, by least squares of ``values`` = constant + slope * points.

    The squares are of relative errors: few points count as much as many.
    """
    x, y = np.asarray(counts, dtype=np.float64), np.asarray(values, dtype=np.float64)
    weight = 1 / np.maximum(y, 1e-9)
    table = np.stack([np.ones_like(x), x], axis=1)
    constant, each = np.linalg.lstsq(table * weight[:, None], y * weight, rcond=None)[0]
    return float(constant), float(each)


def tell(results: Results) -> None:
    """Print what there is."""
    for part in report(results):
        if isinstance(part, Table):
            console.show(part)
        else:
            console.say(part)


def report(results: Results) -> Iterator[Table | str]:
    """Tables, and what they come to."""
    if results.grown:
        yield _points_table(results)
    if len(results.grown) > 2:
        points = [one.points for one in results.grown]
        for name in ("describe", "locate"):
            constant, each = slope(points, [getattr(one, f"{name}_seconds") for one in results.grown])
            yield f"{name}: about {short(max(0.0, constant))} s a call and {short(each)} s a point"
    if results.blocks:
        yield _images_table(results)
    if len(results.blocks) > 1:
        first, last = results.blocks[0], results.blocks[-1]
        yield (
            f"The last block took {short(last.seconds / first.seconds)} times as long an image as the first; memory "
            f"grew by {(last.resident_bytes - first.resident_bytes) / 1e6:,.0f} MB in between."
        )


def _points_table(results: Results) -> Table:
    budget = f"batches of at most {results.budget / 1e6:,.0f} MB"
    table = Table(title=f"Points in one call, {results.title}, {budget}", title_justify="left")
    for heading in ("points", "describe, s", "a point, s", "most MB", "locate, s", "a point, s", "most MB"):
        table.add_column(heading, justify="right")
    for one in results.grown:
        table.add_row(
            str(one.points),
            short(one.describe_seconds),
            short(one.describe_seconds / one.points),
            f"{one.describe_bytes / 1e6:,.0f}",
            short(one.locate_seconds),
            short(one.locate_seconds / one.points),
            f"{one.locate_bytes / 1e6:,.0f}",
        )
    return table


def _images_table(results: Results) -> Table:
    table = Table(title=f"One description in many images, {results.title}", title_justify="left")
    for heading in ("images so far", "an image, s", "memory of the process, MB"):
        table.add_column(heading, justify="right")
    so_far = 0
    for one in results.blocks:
        so_far += one.images
        table.add_row(f"{so_far:,}", short(one.seconds), f"{one.resident_bytes / 1e6:,.0f}")
    return table


def draw(results: Results) -> "Figure":
    """Seconds and memory against the number of points, both axes logarithmic."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    points = [one.points for one in results.grown]
    styles: dict[str, dict[str, Any]] = {
        "describe": {"color": "#0072B2", "marker": "o"},
        "locate": {"color": "#D55E00", "marker": "s"},
    }
    for name, style in styles.items():
        left.plot(points, [getattr(one, f"{name}_seconds") for one in results.grown], label=name, **style)
        right.plot(points, [getattr(one, f"{name}_bytes") / 1e6 for one in results.grown], label=name, **style)
    right.axhline(results.budget / 1e6, color="#6e6e6e", linestyle="--", label="budget of a batch")
    left.set(xscale="log", yscale="log", xlabel="points in one call", ylabel="seconds")
    right.set(xscale="log", ylim=(0, None), xlabel="points in one call", ylabel="most memory, MB")
    for axes in (left, right):
        axes.grid(visible=True, color="#dddddd")
        axes.legend(frameon=False)
    figure.suptitle(f"One call, {results.title}", fontsize=11)
    return figure


def _metered(matcher: PromptMatcher, call: Any) -> tuple[Any, float, int]:
    """What a call returns, its seconds, and its most bytes."""
    with PeakMemory(matcher.model.device) as peak:
        began = time.perf_counter()
        result = call()
        synchronise(matcher.model.device)
        seconds = time.perf_counter() - began
    return result, seconds, peak.bytes


if __name__ == "__main__":
    sys.exit(main(app))
