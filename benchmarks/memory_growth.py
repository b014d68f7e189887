"""Whether a long transfer grows: memory, open files, threads and processes, observed from outside as it runs.

``python -m benchmarks.memory_growth [--targets 5000] [--workers 2 | --ray local] [--ceiling 1500] [--plot FILE]``

``semcorr transfer`` runs as it is, in a process of its own, over toy drawings. Every second its process and all that it
started are sampled; its journal says how many targets are done. A process above the ceiling ends the run.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import psutil
from cyclopts import Parameter
from rich.table import Table

from benchmarks.command import main, new_app, save_figure, save_json
from benchmarks.transfer_accuracy import drawn_world
from semcorr.cli import console
from semcorr.cli.options import Output
from semcorr.errors import SemcorrError, SettingsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WARM_UP = 0.1
"""The part of the targets that is left out: allocators and caches fill, and workers load their models."""

SECONDS_TO_END = 15.0
"""How long processes may take to be gone after the command is."""

app = new_app("memory_growth", "Whether a long transfer grows: memory, open files, threads, processes.")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The command's processes at one moment.

    ``own_bytes`` is resident memory of the command's own process, ``others_bytes`` that of all it started, together,
    and ``largest_bytes`` that of the largest of all. ``files`` and ``threads`` are those of its own process;
    ``processes`` counts the others.
    """

    seconds: float
    targets: int
    own_bytes: int
    others_bytes: int
    largest_bytes: int
    files: int
    threads: int
    processes: int


@dataclass(kw_only=True)
class Soaked:
    """All that was seen. ``left`` are processes that were still there some time after the command had ended."""

    title: str
    targets: int
    ceiling: int
    samples: list[Sample] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    stopped_at: int = 0
    status: int | None = None

    @property
    def steady(self) -> list[Sample]:
        """Samples after the warm-up and before the last target, when results are written."""
        return [one for one in self.samples if WARM_UP * self.targets <= one.targets < self.targets]

    def slope(self, of: str) -> tuple[float, float]:
        """Megabytes (10^6 bytes) that ``of`` ("own_bytes", "others_bytes") grows by in 1,000 targets, and its error.

        Least squares, and twice the standard error: memory goes up and down as images come and go.
        """
        steady = self.steady
        done = np.array([one.targets for one in steady], dtype=np.float64)
        if len(set(done.tolist())) < 4:
            raise SemcorrError(
                f"Expected samples of several different targets, got {len(steady)}. Take more --targets."
            )
        fitted, covariance = np.polyfit(done / 1000, [getattr(one, of) / 1e6 for one in steady], 1, cov=True)
        return float(fitted[0]), 2 * float(covariance[0, 0]) ** 0.5

    def problems(self, allowed: float) -> Iterator[str]:
        """What is not as it should be; ``allowed`` megabytes may be grown by in 1,000 targets."""
        if self.stopped_at:
            yield f"a process took {self.stopped_at / 1e6:,.0f} MB, {self.ceiling / 1e6:,.0f} are allowed"
            return
        if self.status:
            yield f"the command ended with status {self.status}"
            return
        for of, whose in (("own_bytes", "its own process"), ("others_bytes", "those that it started")):
            slope, error = self.slope(of)
            if slope - error > allowed:
                yield f"memory of {whose} grows by {slope:.2f} MB in 1,000 targets, {allowed:.2f} are allowed"
        steady = self.steady
        quarter = max(1, len(steady) // 4)
        for of in ("files", "threads", "processes"):
            # An image is open at one moment and not at the next: only what never falls back is more.
            first, last = (
                most(getattr(one, of) for one in part)
                for most, part in ((max, steady[:quarter]), (min, steady[-quarter:]))
            )
            if last > first:
                yield f"{of}: at most {first} in the first quarter, at least {last} in the last"
        if self.left:
            yield f"left after the end: {', '.join(self.left)}"


@app.default
def soak(
    *,
    targets: int = 5000,
    method: str = "attention-dift",
    preset: str | None = None,
    workers: int = 1,
    ray: str | None = None,
    ceiling: float = 1500.0,
    allowed: float = 2.0,
    changes: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    output: Output = Path("runs/soak"),
    plot: Path | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Run a long transfer and see whether it grows.

    The exit status is 1 if it does.

    Args:
        targets: Drawings that points are carried over to.
        method: What matches, with the bundled model.
        preset: Its settings by name.
        workers: As for semcorr transfer.
        ray: As for semcorr transfer.
        ceiling: Megabytes of resident memory that no process may exceed: the run is ended then.
        allowed: Megabytes that memory may grow by in 1,000 targets.
        changes: NAME=VALUE, repeated: changes one setting of the preset.
        output: Folder for drawings and results.
        plot: A figure of memory over targets.
        json_file: A file that everything seen is written to as well.
    """
    if targets < 10:
        raise SettingsError(f"Expected at least 10 --targets, got {targets}.")
    world = drawn_world(output, "face", 2, targets, "test")
    predicted = output / f"predicted-{method}-{workers}-{ray or 'here'}.json"
    words = ["transfer", str(world.annotations), "--images", str(world.images), "-o", str(predicted), "--replace"]
    words += ["--method", method, "--model", "toy", "--workers", str(workers)]
    words += ["--preset", preset] if preset else []
    words += ["--ray", ray] if ray else []
    words += [word for change in changes or () for word in ("--set", change)]
    where = f"--ray {ray}" if ray else f"--workers {workers}"
    soaked = Soaked(title=f"{method}, {where}", targets=targets, ceiling=int(ceiling * 1e6))
    with console.TerminalProgress() as progress:
        watch(
            [sys.executable, "-m", "semcorr", *words],
            Lines(predicted.with_name(f"{predicted.name}.work") / "records"),
            soaked,
            progress=lambda done: progress("transfer", done, targets),
        )
    if json_file is not None:
        save_json(asdict(soaked), json_file)
    return tell(soaked, allowed, plot)


class Lines:
    """How many whole lines the files of a folder hold, read on from where they were read to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self._lines = 0

    def __call__(self) -> int:
        """The count, which never falls: also when the folder is gone again."""
        for path in self._folder.glob("*.jsonl"):
            try:
                with path.open("rb") as file:
                    file.seek(self._read.get(path, 0))
                    new = file.read()
            except FileNotFoundError:
                continue
            self._read[path] = self._read.get(path, 0) + len(new)
            self._lines += new.count(b"\n")
        return self._lines


def watch(
    command: Sequence[str],
    done: Callable[[], int],
    soaked: Soaked,
    *,
    every: float = 1.0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Run a command and look at it every now and then; whatever ends this, ends the command.

    Args:
        command: Words.
        done: Counts the targets that are done.
        soaked: Gets what is seen.
        every: Seconds between samples.
        progress: Called with the targets that are done.
    """
    began = time.perf_counter()
    seen: set[psutil.Process] = set()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as started:  # noqa: S603  # semcorr
        own = psutil.Process(started.pid)
        try:
            while started.poll() is None:
                sample = _sample(own, seen, done(), time.perf_counter() - began)
                if sample is not None:
                    soaked.samples.append(sample)
                    if sample.largest_bytes > soaked.ceiling:
                        soaked.stopped_at = sample.largest_bytes
                        break
                if progress is not None:
                    progress(done())
                time.sleep(every)
        finally:
            if started.poll() is None:
                started.terminate()
            soaked.status = started.wait()
    _, alive = psutil.wait_procs(seen - {own}, timeout=SECONDS_TO_END)
    soaked.left = sorted(process.name() for process in alive if process.is_running())


def _sample(own: psutil.Process, seen: set[psutil.Process], targets: int, seconds: float) -> Sample | None:
    """None when the process ends at this moment."""
    try:
        others = own.children(recursive=True)
        bytes_of = [_resident(process) for process in others]
        with own.oneshot():
            own_bytes, files, threads = own.memory_info().rss, own.num_fds(), own.num_threads()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return None
    seen |= set(others)
    return Sample(
        seconds=seconds,
        targets=targets,
        own_bytes=own_bytes,
        others_bytes=sum(bytes_of),
        largest_bytes=max([own_bytes, *bytes_of]),
        files=files,
        threads=threads,
        processes=len(others),
    )


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0


def tell(soaked: Soaked, allowed: float, plot: Path | None) -> int:
    """Print what was seen and the verdict; return the exit status."""
    if soaked.stopped_at or soaked.status:
        console.say(f"Ended: {', '.join(soaked.problems(allowed))}.")
        return 1
    if plot is not None and soaked.steady:
        save_figure(draw(soaked), plot)
        console.note(f"Figure: {plot}")
    steady = soaked.steady
    console.show(table(soaked))
    rate = (steady[-1].targets - steady[0].targets) / (steady[-1].seconds - steady[0].seconds) * 60 if steady else 0.0
    slopes = [soaked.slope(of) for of in ("own_bytes", "others_bytes")]
    own, others = (f"{slope:.2f} ± {error:.2f} MB" for slope, error in slopes)
    console.say(
        f"After the first {100 * WARM_UP:.0f} % of the targets, {rate:,.0f} a minute: in 1,000 targets memory of its "
        f"own process grows by {own}, of those that it started by {others}. Left after the end: "
        f"{', '.join(soaked.left) or 'nothing'}."
    )
    problems = list(soaked.problems(allowed))
    console.say(f"It grows: {'; '.join(problems)}." if problems else "It does not grow.")
    return 1 if problems else 0


def table(soaked: Soaked) -> Table:
    """Moments: after the warm-up, each further tenth of the targets or so, the last before results are written."""
    shown = Table(title=f"{soaked.title}, {soaked.targets:,} targets", title_justify="left")
    for heading in ("targets", "minutes", "own MB", "others MB", "largest MB", "files", "threads", "processes"):
        shown.add_column(heading, justify="right")
    steady = soaked.steady
    for index in dict.fromkeys(np.linspace(0, len(steady) - 1, min(10, len(steady))).round().astype(int).tolist()):
        one = steady[index]
        sizes = (one.own_bytes, one.others_bytes, one.largest_bytes)
        shown.add_row(
            f"{one.targets:,}",
            f"{one.seconds / 60:.1f}",
            *(f"{size / 1e6:,.0f}" for size in sizes),
            *map(str, (one.files, one.threads, one.processes)),
        )
    return shown


def draw(soaked: Soaked) -> "Figure":
    """Memory against targets, from the start; the warm-up is grey."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    done = [one.targets for one in soaked.samples]
    lines: dict[str, tuple[str, str]] = {"own_bytes": ("the command's process", "#0072B2")}
    if any(one.processes for one in soaked.samples):
        lines["others_bytes"] = ("processes that it started, together", "#D55E00")
    for of, (label, colour) in lines.items():
        axes.plot(done, [getattr(one, of) / 1e6 for one in soaked.samples], label=label, color=colour)
    axes.axhline(soaked.ceiling / 1e6, color="#6e6e6e", linestyle="--", label="ceiling of a process")
    axes.axvspan(0, WARM_UP * soaked.targets, color="#eeeeee", label="warm-up")
    limits: dict[str, Any] = {"ylim": (0, None), "xlim": (0, soaked.targets)}
    axes.set(xlabel="targets done", ylabel="resident memory, MB", **limits)
    axes.grid(visible=True, color="#dddddd")
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(soaked.title, fontsize=11)
    return figure


if __name__ == "__main__":
    sys.exit(main(app))
