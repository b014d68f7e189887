"""What ``semcorr plan`` tells beside what the run then takes, on toy drawings, for several methods.

``python -m benchmarks.plan_accuracy [--limit 26] [--method prompt/fast ...]``

Both are seconds of the processor in one thread: by the clock, a busy machine takes any time for either. The run's hold
reading images and writing records, which a plan leaves out.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from benchmarks.command import main, new_app, use_threads
from benchmarks.speed_figures import short
from semcorr.cli import console
from semcorr.datasets import registry
from semcorr.datasets.base import Dataset
from semcorr.evaluation.runs.plan import Plan, of_dataset
from semcorr.evaluation.runs.runner import run
from semcorr.evaluation.runs.unit_costs import measure
from semcorr.matchers.spec import MatcherSpec

METHODS = ("prompt/fast", "attention-dift/fast", "dift/published", "nbb/published", "prompt/paper", "prompt/reference")

app = new_app("plan_accuracy", "What a plan tells beside what the run takes.")


@app.default
def planned(
    *,
    limit: int = 26,
    method: Annotated[tuple[str, ...], Parameter(negative="")] = METHODS,
) -> int:
    """Plan the first toy pairs and run them.

    Args:
        limit: How many pairs.
        method: METHOD/PRESET; repeat for more.
    """
    use_threads(1)
    table = Table(title=f"{limit} toy pairs, seconds of the processor", title_justify="left")
    for heading in ("", "planned", "run", "ratio", "records planned, kB", "written, kB", "ratio"):
        table.add_column(heading, justify="right" if heading else "left")
    with tempfile.TemporaryDirectory() as folder:
        pairs = registry.load("toy", Path(folder) / "toy", limit=limit)
        for name in method:
            console.note(name)
            table.add_row(name, *map(short, compare(pairs, name, Path(folder) / name.replace("/", "-"))))
    console.show(table)
    return 0


def compare(pairs: Dataset, name: str, folder: Path) -> tuple[float, ...]:
    """Seconds planned, taken, and their ratio; kilobytes of records planned, written, and their ratio."""
    chosen, _, preset = name.partition("/")
    method = MatcherSpec(method=chosen, model="toy", preset=preset or None)
    work, matcher = of_dataset(pairs), method.load()
    plan = Plan(work=work, costs=measure(matcher, points=work.points_per_call, size=work.size, clock=time.process_time))
    began = time.process_time()
    run(pairs, method, folder)
    took, planned_seconds = time.process_time() - began, plan.describe + plan.locate
    size = plan.disk()["records"] / 1e3
    written = sum(path.stat().st_size for path in (folder / "records").glob("*.jsonl")) / 1e3
    return planned_seconds, took, planned_seconds / took, size, written, size / written


if __name__ == "__main__":
    sys.exit(main(app))
