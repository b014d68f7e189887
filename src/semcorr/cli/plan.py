"""``semcorr plan``: the hours, memory and disk that a run would take."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from semcorr.cli import console
from semcorr.cli.evaluate import DataOptions, MethodOptions
from semcorr.cli.options import DType, Json
from semcorr.cli.plan_memory import check_weights, plan_memory
from semcorr.cli.targets import chosen
from semcorr.errors import SettingsError
from semcorr.matchers.registry import AUTO
from semcorr.matchers.spec import MatcherSpec

if TYPE_CHECKING:
    from semcorr.evaluation.runs.plan import Plan, Workload


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanOptions(MethodOptions):
    """The method to plan with.

    Attributes:
        method: "auto": what the planned command would take: semcorr eval its default, semcorr transfer the one that
            fits model and machine. Others: as for these.
        dtype: Precision of the network; auto: what the planned command would take.
    """

    method: str = AUTO
    dtype: DType = "auto"

    def planned(self, dataset: str | None) -> MatcherSpec:
        """Return what `semcorr eval` would match with on a data set, or without one `semcorr transfer`.

        Raises:
            SettingsError: There is no method or baseline of that name.
        """
        if dataset is None:
            return chosen(self)
        method = MethodOptions.method if self.method == AUTO else self.method
        dtype = MethodOptions.dtype if self.dtype == "auto" else self.dtype
        return dataclasses.replace(self, method=method, dtype=dtype).chosen(dataset)


_DATA = DataOptions()
_METHOD = PlanOptions()
_MOST_POINTS = 64
"""Points per call that are timed at most."""


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
    memory: Annotated[bool, Parameter(negative="")] = False,
    gpu_memory: float | None = None,
    json: Json = False,
    data: DataOptions = _DATA,
    method: PlanOptions = _METHOD,
) -> int:
    """Estimate the hours, memory and disk of `semcorr eval DATASET`, or with --targets of a transfer.

    A few short calls of the method are timed here, and multiplied. With --gpu-rate their operations are counted
    instead, so that the hours are those of other machines. Nothing is run and nothing is written.

    Args:
        dataset: One of those that `semcorr data list` shows. Its points are counted in --data; without, its published
            size is used.
        targets: In place of a data set: the number of images that points are transferred to.
        points: Of a pair or an image, if no data set says. [default: 8]
        support: With --targets: the number of annotated images.
        gpus: Number of devices that share the work.
        gpu_rate: TFLOP/s that one of them sustains. [default: each is as fast as this machine's]
        keep_queries: As for semcorr eval.
        memory: In place of a data set: print what a diffusion network takes in each precision, quantised and offloaded,
            from its configuration alone, of which a hub id's is downloaded.
        gpu_memory: With --memory: GB of the device. [default: this machine's]
        json: Print one JSON document.
        data: The pairs to evaluate on.
        method: The method.
    """
    from semcorr.evaluation.runs.plan import Plan
    from semcorr.evaluation.runs.runner import load_spec
    from semcorr.evaluation.runs.unit_costs import measure

    if memory:
        if dataset is not None or targets is not None:
            raise SettingsError("--memory stands alone: leave the data set and --targets out.")
        return plan_memory(method.planned(None), gpu_memory, json=json)
    if (dataset is None) == (targets is None):
        raise SettingsError("Expected a data set's name or --targets, one of the two. For example: semcorr plan spair")
    if min(support, 1 if targets is None else targets, 1 if points is None else points) < 1:
        raise SettingsError("Expected --targets, --points and --support from 1 on.")
    if gpu_rate is not None and not gpu_rate > 0:
        raise SettingsError(f"Expected --gpu-rate above 0 TFLOP/s, got {gpu_rate}.")
    spec = method.planned(dataset)
    work = _workload(dataset, data, targets, points, support)
    check_weights(spec)
    with console.TerminalProgress() as progress:
        progress.busy("load")
        matcher = load_spec(spec)
        if matcher is None:
            raise SettingsError(f"{spec.method!r} is a baseline: it takes no time worth planning.")
        progress.busy("time" if gpu_rate is None else "count")
        most = min(work.points_per_call, _MOST_POINTS)
        costs = measure(matcher, points=most, size=work.size, count=gpu_rate is not None)
    rate = None if gpu_rate is None else gpu_rate * 1e12
    made = Plan(work=work, costs=costs, devices=gpus, rate=rate, keep_queries=keep_queries)
    if json:
        console.show_json(made.to_dict())
    else:
        _show(made)
    return 0


def _workload(
    dataset: str | None, data: DataOptions, targets: int | None, points: int | None, support: int
) -> "Workload":
    from semcorr.datasets import registry
    from semcorr.evaluation.runs.plan import POINTS, of_dataset, of_known, of_targets

    if dataset is None:
        return of_targets(targets or 0, points or POINTS, support)
    if data.data is None and dataset != "toy":
        if data.category or data.flag or data.limit is not None:
            raise SettingsError("--category, --flag and --limit need the data set itself: name its folder with --data.")
        return of_known(registry.find(dataset), data.split, data.setting, points)
    if points is not None:
        raise SettingsError("--points is for a data set that is not on this machine: these points are counted.")
    return of_dataset(data.read(dataset))


def _show(plan: "Plan") -> None:
    work, costs = plan.work, plan.costs
    unit, scale = ("TFLOP", 1e-12) if costs.counted else ("s", 1.0)
    table = Table(title=work.name, title_justify="left")
    for heading in ("", "calls", "points", f"{unit} a call", f"{unit} a point", "by the clock"):
        table.add_column(heading, justify="right" if heading else "left")
    rows = (
        ("describe", work.describes, work.describe_points, costs.describe_call, costs.describe_point, plan.describe),
        ("locate", work.locates, work.locate_points, costs.locate_call, costs.locate_point, plan.locate),
    )
    for name, calls, points, call, point, total in rows:
        time = _time(plan.hours(total))
        table.add_row(name, f"{calls:,}", f"{points:,}", _short(call * scale), _short(point * scale), time)
    together = plan.hours(plan.describe + plan.locate)
    table.add_row("together", "", "", "", "", _time(together))
    console.show(table)
    if plan.devices > 1:
        console.say(f"By the clock on {plan.devices} devices; one alone would take {_time(plan.devices * together)}.")
    memory = "not reported by this system" if costs.peak_bytes is None else f"{_bytes(costs.peak_bytes)} at most"
    console.say(
        f"Memory of a worker: {memory}, as measured here ({costs.device}); {_bytes(costs.weight_bytes)} of it are "
        "weights."
    )
    console.say(f"Disk: {', '.join(f'{_bytes(size)} {name}' for name, size in plan.disk().items())}.")
    console.say("Assumed:")
    for line in plan.assumptions():
        console.say(f"- {line}")


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
