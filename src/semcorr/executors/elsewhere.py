"""The ways of running outside this process, by what was asked for."""

from collections.abc import Iterator, Sequence

from semcorr.executors.base import Job, Result, Unit
from semcorr.executors.on_ray import on_ray
from semcorr.executors.processes import in_processes


def elsewhere(
    job: Job[Unit, Result], units: Sequence[Unit], *, workers: int, ray: str | None
) -> Iterator[Result] | None:
    """Do units in processes or on a Ray cluster; None if one worker of this machine is all that is asked for.

    Results come in whatever order. See :func:`semcorr.executors.processes.in_processes` and
    :func:`semcorr.executors.on_ray.on_ray`.

    Args:
        job: what to do.
        units: to be done.
        workers: processes; on a cluster, units that run at the same time, where 1 means as many as there is room for.
        ray: address of a cluster, or None.
    """
    if ray is not None:
        return on_ray(job, units, ray, workers=workers if workers > 1 else None)
    return in_processes(job, units, workers) if workers > 1 else None
