"""``semcorr plan``: what a run would take, before anyone spends it."""

from typing import TYPE_CHECKING

from rich.table import Table

from semcorr.cli import console
from semcorr.cli.evaluate import DataOptions, MethodOptions
from semcorr.cli.options import Json
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    from semcorr.evaluation.runs.plan import Plan, Workload
    from semcorr.matchers.spec import MatcherSpec

_DATA = DataOptions()
_METHOD = MethodOptions()


def plan(
    dataset: str | None = None,
    /,
    *,
    targets: int | None = None,
    points: int | None = None,
    support: int = 5,
    gpus: int = 1,
    gpu_rate: float | None = None,
    keep_queries: bool = False,
    json: Json = False,
    data: DataOptions = _DATA,
    method: MethodOptions = _METHOD,
) -> int:
    """Tell the hours, memory and disk that `semcorr eval DATASET`, or with --targets a transfer, would take.

    A few short calls of the method are timed here, and multiplied. With --gpu-rate their operations are counted
    instead, so that the hours are those of other machines. Nothing is run and nothing is written.

    Args:
        dataset: One of those that `semcorr data list` shows. Its points are counted in --data; without, what is
            published of it is taken.
        targets: In place of a data set: pictures that points are carried over to.
        points: Of a pair or a picture, where no data set tells. [default: 8]
        support: With --targets: annotated pictures.
        gpus: Devices that share the work.
        gpu_rate: TFLOP/s that one of them sustains; by default each is as fast as this machine's.
        keep_queries: As for semcorr eval.
        json: Print one JSON document.
        data: Which pairs.
        method: What would be run.
    """
    if (dataset is None) == (targets is None):
        raise SettingsError("Expected a data set's name or --targets, one of the two. For example: semcorr plan spair")
    if min(support, 1 if targets is None else targets, 1 if points is None else points) < 1:
        raise SettingsError("Expected --targets, --points and --support from 1 on.")
    if gpu_rate is not None and not gpu_rate > 0:
        raise SettingsError(f"Expected --gpu-rate above 0 TFLOP/s, got {gpu_rate}.")
    chosen = method.chosen(dataset or "")
    if dataset is None:
        from semcorr.evaluation.runs.plan import POINTS, of_targets

        assert targets is not None  # noqa: S101  # one of the two is there
        work = of_targets(targets, points or POINTS, support)
    else:
        work = _of_dataset(dataset, data, points)
    made = make(
        work,
        chosen,
        gpus=gpus,
        gpu_rate=gpu_rate,
        keep_queries=keep_queries,
        keep_latents=method.latents_cache is not None,
    )
    tell(made, json=json)
    return 0


def make(
    work: "Workload",
    method: "MatcherSpec",
    *,
    gpus: int = 1,
    gpu_rate: float | None = None,
    keep_queries: bool = False,
    keep_latents: bool = False,
) -> "Plan":
    """Load the method and measure it.

    Raises:
        SettingsError: a baseline, which takes no time worth telling.
    """
    from semcorr.evaluation.runs.plan import Plan
    from semcorr.evaluation.runs.runner import load_spec
    from semcorr.evaluation.runs.unit_costs import measure

    with console.TerminalProgress() as progress:
        progress.busy("load")
        matcher = load_spec(method)
        if matcher is None:
            raise SettingsError(f"{method.method!r} is a baseline: it takes no time worth planning.")
        progress.busy("time" if gpu_rate is None else "count")
        costs = measure(matcher, points=min(work.points_a_call, 64), size=work.size, count=gpu_rate is not None)
    rate = None if gpu_rate is None else gpu_rate * 1e12
    return Plan(work=work, costs=costs, devices=gpus, rate=rate, keep_queries=keep_queries, keep_latents=keep_latents)


def tell(made: "Plan", *, json: bool) -> None:
    """Print it."""
    if json:
        console.show_json(made.to_dict())
        return
    work, costs = made.work, made.costs
    unit, scale = ("TFLOP", 1e-12) if costs.counted else ("s", 1.0)
    table = Table(title=work.name, title_justify="left")
    for heading in ("", "calls", "points", f"{unit} a call", f"{unit} a point", "by the clock"):
        table.add_column(heading, justify="right" if heading else "left")
    rows = (
        ("describe", work.describes, work.describe_points, costs.describe_call, costs.describe_point, made.describe),
        ("locate", work.locates, work.locate_points, costs.locate_call, costs.locate_point, made.locate),
    )
    for name, calls, points, call, point, total in rows:
        time = _time(made.hours(total))
        table.add_row(name, f"{calls:,}", f"{points:,}", _short(call * scale), _short(point * scale), time)
    together = made.hours(made.describe + made.locate)
    table.add_row("together", "", "", "", "", _time(together))
    console.show(table)
    if made.devices > 1:
        console.say(f"By the clock on {made.devices} devices; one alone would take {_time(made.devices * together)}.")
    memory = "not told by this system" if costs.peak_bytes is None else f"{_bytes(costs.peak_bytes)} at most"
    console.say(
        f"Memory of a worker: {memory}, as measured here ({costs.device}); {_bytes(costs.weight_bytes)} of it are "
        "weights."
    )
    parts = ", ".join(f"{_bytes(size)} {what}" for what, size in made.disk())
    console.say(f"Disk: {parts}.")
    console.say("Assumed:")
    for line in made.assumptions():
        console.say(f"- {line}")


def _of_dataset(name: str, data: DataOptions, points: int | None) -> "Workload":
    from semcorr.datasets import registry
    from semcorr.evaluation.runs.plan import of_dataset, of_known

    if data.data is None and name != "toy":
        if data.category or data.flag or data.limit is not None:
            raise SettingsError("--category, --flag and --limit need the data set itself: name its folder with --data.")
        return of_known(registry.find(name), data.split, data.setting, points)
    if points is not None:
        raise SettingsError("--points is for what is not on this machine: these points are counted.")
    return of_dataset(data.read(name))


def _short(value: float) -> str:
    """Three significant digits; whole numbers from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _time(hours: float) -> str:
    for unit, each in (("h", 1.0), ("min", 60.0)):
        if hours * each >= 1:
            return f"{_short(hours * each)} {unit}"
    return f"{_short(hours * 3600)} s"


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
