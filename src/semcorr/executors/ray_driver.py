"""The process that is connected to Ray: it passes units to workers, each an actor, and their results to its parent."""

import contextlib
import os
import pickle
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from semcorr.errors import RunError, SettingsError
from semcorr.executors.base import Job, end_with_parent
from semcorr.progress import Progress

LOCAL = "local"
_SECONDS_TO_ANSWER = 10.0
_SECONDS_WITHOUT_ROOM = 600.0
"""How long a cluster may have no room for any worker, as while its nodes start or come back."""
_SECONDS_BETWEEN_CHECKS = 1.0
"""How often it is checked how many workers there is room for."""
_TRIES = 5
"""How many workers a unit may lose before it is taken to kill them; the same for starting, of all workers together."""


def drive(job: Job[Any, Any], units: Sequence[Any], address: str, workers: int | None, sender: Connection) -> None:
    """Run units on a cluster (:func:`semcorr.executors.on_ray.on_ray`); send the results of each, and None at the end.

    An error is sent, too, and ends the process.
    """
    end_with_parent()
    try:
        ray = _ray(address)
        _silence()
        _connect(ray, address)
        for results in _Pool(ray, job, units, workers).results():
            sender.send(results)
        sender.send(None)
    except Exception as error:  # whatever it is, the parent raises it
        sender.send(_picklable(error))


class Worker:
    """An actor, which does one unit after the other.

    Args:
        threads: What PyTorch may use.
        folder: Where the command runs: paths may be relative to it.
    """

    def __init__(self, threads: int, folder: str) -> None:
        self._threads, self._folder = threads, folder
        self._do: Callable[[Any, Progress | None], Iterator[Any]] | None = None

    def start(self, job: Job[Any, Any]) -> None:
        """Start the job."""
        torch.set_num_threads(self._threads)
        with contextlib.suppress(OSError):  # Not on this machine: only whole paths can be meant.
            os.chdir(self._folder)
        self._do = job.start()

    def do(self, unit: Any) -> list[Any]:
        """Do a unit, and return all its results."""
        if self._do is None:
            raise RunError("Expected a worker that has started, got one that has not.")
        return list(self._do(unit, None))


class _Pool:
    """The workers on a cluster, as many as there is room for, and what each of them does."""

    def __init__(self, ray: Any, job: Job[Any, Any], units: Sequence[Any], workers: int | None) -> None:
        self._ray, self._job, self._units = ray, ray.put(job), units
        self._left, self._lost = deque(range(len(units))), Counter[int]()
        self._most = workers
        self._gpus = ray.cluster_resources().get("GPU", 0) >= 1
        self._cpus = 1 if self._gpus or workers is None else share([node_cpus(node) for node in _alive(ray)], workers)
        self._starting: dict[Any, Any] = {}
        self._running: dict[Any, tuple[Any, int]] = {}
        self._idle: list[Any] = []
        self._failed_starts = self._widest = 0
        self._had_room = self._checked = time.monotonic() - _SECONDS_BETWEEN_CHECKS

    def results(self) -> Iterator[list[Any]]:
        """Yield the results of each unit as it is finished."""
        while self._left or self._running:
            self._start_workers()
            while self._idle and self._left:
                worker, number = self._idle.pop(), self._left.popleft()
                self._running[worker.do.remote(self._units[number])] = worker, number
            ready, _ = self._ray.wait([*self._running, *self._starting], num_returns=1, timeout=1.0)
            for reference in ready:
                if reference in self._starting:
                    self._started(reference)
                elif (results := self._finished(reference)) is not None:
                    yield results

    def _start_workers(self) -> None:
        """Ask Ray for as many workers as there is room for now: lost ones are replaced, new nodes are used."""
        now = time.monotonic()
        if now - self._checked < _SECONDS_BETWEEN_CHECKS:
            return
        self._checked = now
        here = len(self._idle) + len(self._running) + len(self._starting)
        room = self._slots()
        self._widest = max(self._widest, room)
        if room or self._running:
            self._had_room = now
        elif now - self._had_room > _SECONDS_WITHOUT_ROOM:
            raise RunError(
                f"For {_SECONDS_WITHOUT_ROOM:.0f} s no node of the Ray cluster had room for a worker. What is finished "
                "is kept; when there are nodes again, the same command continues."
            )
        for _ in range(min(room, len(self._left) + len(self._running)) - here):
            # Over all nodes: their disks and memory are shared by what runs there.
            options = {"num_cpus": self._cpus, "num_gpus": int(self._gpus), "scheduling_strategy": "SPREAD"}
            # Else the head node keeps an event of each unit for its dashboard, and grows by them.
            options["enable_task_events"] = False
            worker = self._ray.remote(**options)(Worker).remote(self._cpus, str(Path.cwd()))
            self._starting[worker.start.remote(self._job)] = worker

    def _slots(self) -> int:
        if self._most is not None:
            return self._most
        resources = self._ray.cluster_resources()
        return int(resources.get("GPU" if self._gpus else "CPU", 0))

    def _started(self, reference: Any) -> None:
        worker = self._starting.pop(reference)
        try:
            self._get(reference)
        except _LostError as error:
            self._failed_starts += 1
            if self._failed_starts >= _TRIES * self._widest:
                raise _lost("start", error) from error
        else:
            self._failed_starts = 0
            self._idle.append(worker)

    def _finished(self, reference: Any) -> list[Any] | None:
        """A unit's results; None if its worker is lost, and another will do it."""
        worker, number = self._running.pop(reference)
        try:
            results = self._get(reference)
        except _LostError as error:
            self._left.appendleft(number)
            self._lost[number] += 1
            if self._lost[number] >= _TRIES:
                raise _lost("do a unit", error) from error
            return None
        self._idle.append(worker)
        return results

    def _get(self, reference: Any) -> Any:
        """What a worker returned; what it raised is raised here."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except errors.RayError as error:
            raise _LostError(str(error)) from error


class _LostError(Exception):
    """A worker, its node, or its result is lost."""


def _lost(doing: str, error: _LostError) -> RunError:
    return RunError(
        f"{_TRIES} workers of the Ray cluster were lost one after the other as they were to {doing}: their memory may "
        f"have run out ({str(error).strip().splitlines()[0]}). What is finished is kept; the same command continues, "
        "perhaps with fewer --workers."
    )


def share(cpus: Sequence[int], workers: int) -> int:
    """The CPUs of each of ``workers``, such that all fit onto nodes of ``cpus`` and each fits onto any of them."""
    least = min((count for count in cpus if count), default=1)
    return next((each for each in range(least, 1, -1) if sum(count // each for count in cpus) >= workers), 1)


def node_cpus(node: dict[str, Any]) -> int:
    """The CPUs of a node, an entry of ``ray.nodes()``."""
    return int(node["Resources"].get("CPU", 0))


def _alive(ray: Any) -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        host, colon, port = address.rpartition(":")
        if colon and port.isdecimal():
            # Ray itself would try for minutes.
            socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:  # Ray raises a bare Exception where its own processes start too slowly.
        raise RunError(
            f"Expected a Ray cluster at {address!r}, got none: {error}. Start one with `ray start --head` and name its "
            "HOST:PORT, or use --ray local. A cluster with a token needs the same one here, as ~/.ray/auth_token."
        ) from error


def _ray(address: str) -> Any:
    # Before Ray is imported: it reports usage to its makers, and hides GPUs from workers without one, by default.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address != LOCAL and _has_token():
        # `ray start` requires a token where there is one; a client has to say that it has one.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise SettingsError('Working on a cluster needs Ray: pip install "semcorr[ray]"') from error
    return ray


def _has_token() -> bool:
    """Whether there is a token where Ray reads that of its clusters."""
    named = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return named or (Path.home() / ".ray" / "auth_token").is_file()


def _silence() -> None:
    """Discard Ray's messages, some of them on standard output, where results belong. Its log files have them too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # what was just made
    except Exception:  # whatever is wrong with it
        return RunError(f"{type(error).__name__}: {error}")
    return error
