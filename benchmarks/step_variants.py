"""What an optimization step takes in other ways of running the same network, against the default, interleaved.

``python -m benchmarks.step_variants [--model toy|full-size|FOLDER|HUB-ID] [--points 1] [--repeats 3] [--compile]``

Gradient checkpointing is an option of the package; channels-last memory and ``torch.compile`` are tried here alone.
None of them changes a result but by rounding, and the last column says by how much.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NoReturn

import torch
from cyclopts import Parameter
from jaxtyping import Float
from rich.table import Table
from torch import Tensor

from benchmarks.command import EXACT, main, new_app, save_json, synchronise, use_threads
from benchmarks.inputs import load, query_points, sample_image
from benchmarks.meters import OtherWork
from benchmarks.speed_figures import spread
from semcorr.cli import console
from semcorr.cli.options import parse_settings
from semcorr.errors import ModelError, SettingsError
from semcorr.imaging.geometry import scale_points, squash
from semcorr.matchers.prompt import PromptSettings, override, preset
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.optimize import Example, optimize
from semcorr.matchers.prompt.random_streams import SeededStreams
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.checkpoint import Checkpoint
from semcorr.models.diffusion.model import Device, DType

DEFAULT = "as it is"
COMPILED = "torch.compile"

_QUIET = 0.05
"""The part of the processor that other programs may take without a word."""

app = new_app("step_variants", "Time an optimization step in other ways of running the same network.")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way of running the network: what reads the maps, and what is done to the weights meanwhile."""

    name: str
    reader: AttentionReader
    around: Callable[[], AbstractContextManager[None]] = nullcontext

    def saved_bytes(self) -> int | None:
        """What autograd keeps for an embedding; None where torch does not say."""
        if self.name == COMPILED:
            return None
        reader = self.reader
        side = reader.resolution // reader.model.vae_factor
        return reader.model.saved_bytes_per_row(
            reader.layers, latent_size=(side, side), gradient_checkpointing=reader.gradient_checkpointing
        )


@dataclass(kw_only=True)
class Results:
    """All that was measured. ``seconds`` holds a step's for each repeat, ``others`` what other programs took."""

    model: str
    rows: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    saved_bytes: dict[str, int | None] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)
    others: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)


@app.default
def variants(
    *,
    model: str = "toy",
    points: int = 1,
    repeats: int = 3,
    steps: int = 3,
    compiled: Annotated[bool, Parameter(name="--compile", negative="")] = False,
    dtype: DType = "float32",
    device: Device = "auto",
    threads: int | None = None,
    changes: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Time an optimization step of the exact preset, all embeddings in one batch, in other ways of running the network.

    Stopped by Ctrl-C, it prints what its finished repeats gave.

    Args:
        model: "toy", "full-size" (Stable Diffusion 1.4's topology, random weights), a folder, file or hub id.
        points: How many are optimized at once.
        repeats: How often every way has its turn.
        steps: Timed in a turn; one more before them is not.
        compiled: Compile the network as well; that takes minutes and a C++ compiler.
        dtype: Precision of the network.
        device: Where; auto takes a GPU if there is one.
        threads: Of the processor; all cores by default.
        changes: NAME=VALUE, repeated: changes one setting of the preset; --set rounds=1 is one embedding a point.
        json_file: A file that everything measured is written to as well.
    """
    if min(points, repeats, steps) < 1:
        raise SettingsError("Expected numbers of points, repeats and steps from 1 on.")
    use_threads(threads)
    with console.TerminalProgress() as progress:
        progress.busy("load")
        network = load(model, dtype, device)
    # With one shared crop and its noise, nothing but steps is left after the first.
    once = {"optimize_crops": 1, "optimize_noise": "shared", "steps": steps + 1}
    settings = override(preset(EXACT, network.family), **(parse_settings(changes or ()) | once))
    results = Results(model=model, rows=points * settings.rounds)
    stopped = False
    try:
        measure(ways(network, settings, compiled=compiled), points, repeats, results)
    except KeyboardInterrupt:
        stopped = True
        console.note("Stopped.")
    for line in report(results):
        if isinstance(line, Table):
            console.show(line)
        else:
            console.say(line)
    if json_file is not None:
        save_json(asdict(results), json_file)
    return 130 if stopped else 0


def ways(model: DiffusionModel, settings: PromptSettings, *, compiled: bool = False) -> list[Variant]:
    """The default first, then the others."""
    reader = AttentionReader(model, settings)

    @contextmanager
    def channels_last() -> Iterator[None]:
        model.unet.to(memory_format=torch.channels_last)
        try:
            yield
        finally:
            model.unet.to(memory_format=torch.contiguous_format)

    variants = [
        Variant(name=DEFAULT, reader=reader),
        Variant(name="gradient checkpointing", reader=AttentionReader(model, settings, gradient_checkpointing=True)),
        Variant(name="channels-last memory", reader=reader, around=channels_last),
    ]
    if compiled:
        twin = _with_a_view_of_its_own(model)
        twin.trimmed(reader.layers).compile()
        variants.append(Variant(name=COMPILED, reader=AttentionReader(twin, settings)))
    return variants


def measure(variants: Sequence[Variant], points: int, repeats: int, results: Results) -> None:
    """Give every variant its turn, ``repeats`` times; whole repeats are in ``results`` already if one is stopped."""
    reader = variants[0].reader
    source = sample_image(reader.model, 0)
    latents = CropLatents(reader.model, squash(source.tensor(), reader.resolution))
    given = query_points(points, source.size)
    expected: Tensor | None = None
    for variant in variants:
        results.saved_bytes[variant.name] = variant.saved_bytes()
    for number in range(repeats):
        turn: dict[str, float] = {}
        for variant in variants:
            if variant.name in results.failed:
                continue
            console.note(f"repeat {number + 1} of {repeats}: {variant.name}")
            draws = SeededStreams(0, source.sha256, given)
            side = (reader.resolution, reader.resolution)
            placed = torch.from_numpy(scale_points(given, source.size, side))
            try:
                with variant.around(), OtherWork() as others:
                    seconds, embeddings = _steps(variant.reader, latents, placed, draws, results.rows)
            except RuntimeError as error:
                if variant.name != COMPILED:
                    raise
                results.failed[variant.name] = str(error).strip().splitlines()[0]
                continue
            expected = embeddings if expected is None else expected
            difference = float((embeddings - expected).abs().max())
            results.differences[variant.name] = max(results.differences.get(variant.name, 0.0), difference)
            results.others = max(results.others, others.share)
            turn[variant.name] = statistics.median(seconds)
        for name, value in turn.items():
            results.seconds.setdefault(name, []).append(value)


def _steps(
    reader: AttentionReader, latents: CropLatents, points: Float[Tensor, "points 2"], draws: SeededStreams, rows: int
) -> tuple[list[float], Float[Tensor, "points rounds tokens dim"]]:
    """Optimize; return the seconds of all steps but the first, which encodes and compiles, and the embeddings."""
    ends: list[float] = []

    def tell(*_: object, **__: object) -> None:
        synchronise(reader.model.device)
        ends.append(time.perf_counter())

    example = Example.of_points(reader, latents, points, draws)
    optimized = optimize(reader, [example], batch=rows, progress=tell)
    return [end - begin for begin, end in pairwise(ends)], optimized.embeddings


def report(results: Results) -> Iterator[Table | str]:
    """One table, and what is to be known about it."""
    if not results.seconds:
        return
    repeats = len(results.seconds[DEFAULT])
    times = "1 repeat" if repeats == 1 else f"{repeats} interleaved repeats: median (least to most)"
    together = "1 embedding" if results.rows == 1 else f"{results.rows} embeddings together"
    table = Table(title=f"A step of {EXACT}, {together}, model {results.model}, {times}", title_justify="left")
    table.add_column("")
    for heading in ("seconds", f"times {DEFAULT!r}", "MB kept an embedding", "embeddings differ by"):
        table.add_column(heading, justify="right")
    default = results.seconds[DEFAULT]
    for name, seconds in results.seconds.items():
        kept = results.saved_bytes[name]
        table.add_row(
            name,
            str(spread(seconds)),
            str(spread([own / plain for own, plain in zip(seconds, default, strict=True)])),
            "–" if kept is None else f"{kept / 1e6:,.0f}",
            f"{results.differences[name]:.0e}",
        )
    yield table
    if results.others > _QUIET:
        yield (
            f"Other programs took up to {100 * results.others:.0f} % of the processor while steps were timed: compare "
            "the ratios only, and measure again when the machine is quiet."
        )
    for name, reason in results.failed.items():
        yield f"{name} is not possible here: {reason}"


def _with_a_view_of_its_own(model: DiffusionModel) -> DiffusionModel:
    """The same networks in another object, whose cut U-Net can be compiled without touching the first one's."""
    checkpoint = Checkpoint(
        model_id=model.model_id,
        revision=model.revision,
        fingerprint=model.fingerprint,
        family=model.family,
        context_tokens=model.context_tokens,
        network=model.unet,
        vae=model.vae,
        scheduler=model.scheduler,
        fetch=_no_text_encoder,
    )
    return DiffusionModel(checkpoint, model.device)


def _no_text_encoder(parts: Sequence[str]) -> NoReturn:
    raise ModelError(f"Optimizing needs no {' or '.join(parts)}.")


if __name__ == "__main__":
    sys.exit(main(app))
