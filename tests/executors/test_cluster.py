"""A real Ray cluster: every unit once, errors raised; workers, nodes, the driver and the head node are killed.

Nothing is lost, nothing is other. Tests share a cluster; the last of those that do ends it.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import PIL.Image
import psutil
import pytest

from deadline import DEADLINE, RUN
from executors.conftest import PAIRS, Nodes, evaluation, lines, ray_workers, results
from executors.jobs import Deadly, Squares, Unloadable
from semcorr.errors import RunError
from semcorr.evaluation.runs.folder import read_run
from semcorr.executors import run_units
from semcorr.toy.coco import ToyWorld, write_coco
from semcorr.toy.parts import part_map
from semcorr.toy.render import render_scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KILLED = ["worker", "node"]


def driver(words: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + RUN
    while not true():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < end, "it does not get on"
        time.sleep(0.02)


@contextmanager
def killing(cluster: Nodes, folder: Path, at: Sequence[int], frozen: bool = False) -> Iterator[list[str]]:
    """Kill a worker, then a node with all that is on it, at moments that a seed chooses.

    Each after so many lines of ``at`` are in the folder. With ``frozen`` the node is not killed: its raylet does not
    answer any more, as if its network were gone.
    """
    chance, stop, done = random.Random(3), threading.Event(), list[str]()  # noqa: S311  # moments, not secrets

    def kill() -> None:
        for number, what in zip(at, KILLED, strict=True):
            while lines(folder) < number and not stop.is_set():
                time.sleep(0.01)
            stop.wait(chance.random() / 2)
            while not (workers := ray_workers()) and not stop.is_set():
                time.sleep(0.01)
            if stop.is_set():
                return
            if what == "worker":
                chance.choice(workers).kill()
            elif frozen:
                cluster.raylet(cluster.nodes[0]).suspend()
            else:
                cluster.kill(chance.choice(cluster.nodes))
            done.append(what)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield done
    finally:
        stop.set()
        killer.join()


def test_every_unit_once_and_every_worker_starts_once(cluster: Nodes, tmp_path: Path) -> None:
    squares = list(run_units(Squares(tmp_path, 0.1), range(30), ray=cluster.address))
    assert sorted(squares) == sorted([n**2 for n in range(30)] + [-(n**2) for n in range(30)])
    assert 1 <= len(list(tmp_path.glob("started-*"))) <= 2


def test_errors_come_back_as_they_are(cluster: Nodes, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^-5 is bad\.$"):
        list(run_units(Squares(tmp_path), [1, 2, -5], ray=cluster.address))
    with pytest.raises(RunError, match=r"^There is no such model\.$"):
        list(run_units(Unloadable(), [1], ray=cluster.address))


def test_a_unit_that_kills_its_workers_ends_the_work(cluster: Nodes) -> None:
    with pytest.raises(RunError, match=r"^5 workers of the Ray cluster were lost .* as they were to do a unit"):
        list(run_units(Deadly(), range(4), ray=cluster.address))


def test_evaluation_that_loses_its_driver_a_worker_and_a_node(
    cluster: Nodes, data: Path, serial: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    words = evaluation(data, folder, "--ray", cluster.address)
    first = driver(words)
    wait_until(lambda: lines(folder) >= 2, first)
    family = psutil.Process(first.pid).children(recursive=True)
    workers = ray_workers()
    assert workers
    first.kill()
    first.communicate()
    # Nobody kills what it started, here or on the cluster: it ends by itself.
    _, left = psutil.wait_procs([*family, *workers], timeout=DEADLINE)
    assert not left
    before = lines(folder)
    assert 2 <= before < PAIRS

    with killing(cluster, folder, (before + 1, before + 7)) as killed:
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=RUN)
    assert done.returncode == 0, done.stderr
    assert killed == KILLED
    assert results(folder) == results(serial)
    # A query outlives the process that described it. One that is killed between the query and the first record after it
    # takes the seconds along: the first driver's two workers, and each that was killed later, may have done so.
    text = "".join(path.read_text() for path in folder.glob("records/*.jsonl"))
    described = text.count('"describe_seconds":') - text.count('"describe_seconds":0.0,')
    sources = len({record.source for record in read_run(folder).records})
    assert sources - 2 - len(killed) <= described <= sources + 2 + len(killed)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ToyWorld:
    return write_coco(tmp_path_factory.mktemp("toy") / "coco", categories=("face",), support=2, targets=40, size=64)


def transfer(world: ToyWorld, output: Path, *more: str) -> list[str]:
    dift = ("--method", "dift", "--model", "toy", "--set", "samples=1", "--device", "cpu")
    words = [sys.executable, "-m", "semcorr", "transfer", str(world.annotations), "--images", str(world.images)]
    return [*words, "-o", str(output), *dift, *more]


def test_transfer_that_loses_a_worker_and_a_silent_node(cluster: Nodes, faces: ToyWorld, tmp_path: Path) -> None:
    serial, output = tmp_path / "serial.json", tmp_path / "ray.json"
    subprocess.run(transfer(faces, serial), check=True, capture_output=True)
    try:
        with killing(cluster, tmp_path / "ray.json.work", (5, 15), frozen=True) as killed:
            done = subprocess.run(
                transfer(faces, output, "--ray", cluster.address),
                check=False,
                capture_output=True,
                text=True,
                timeout=RUN,
            )
    finally:
        cluster.kill(cluster.nodes[0])
    assert done.returncode == 0, done.stderr
    assert killed == KILLED
    assert "raylet" not in done.stdout + done.stderr  # Ray's own words are no result
    assert output.read_bytes() == serial.read_bytes()


def test_regions_of_targets_whose_worker_and_node_are_killed(cluster: Nodes, tmp_path: Path) -> None:
    scene = render_scene(0, 64, split="val", category="face")
    (tmp_path / "images").mkdir()
    for number in range(31):
        PIL.Image.fromarray(scene.image).rotate(12 * number).save(tmp_path / "images" / f"{number}.png")
    part_map(scene).save(tmp_path / "mask.png")
    words = [sys.executable, "-m", "semcorr", "segment", "images/0.png", "mask.png", "images", "--model", "toy"]
    words += ["--method", "dift", "--set", "samples=1", "--device", "cpu"]
    for name, more in (("serial", ()), ("ray", ("--ray", cluster.address))):
        with killing(cluster, tmp_path / "ray.work", (5, 12)) if more else nullcontext() as killed:
            done = subprocess.run(
                [*words, "-o", name, *more], check=False, capture_output=True, text=True, timeout=RUN, cwd=tmp_path
            )
        assert done.returncode == 0, done.stderr
    assert killed == KILLED
    # A writer that is killed leaves its unfinished file under a hidden name, and never half a result.
    serial, ray = (
        {path.name: path.read_bytes() for path in (tmp_path / one).rglob("[!.]*.*")} for one in ("serial", "ray")
    )
    assert len(serial) == 30 + 3  # label maps and overlays have the same names
    assert serial == ray


def test_a_lost_head_node_is_an_error_and_the_rest_is_done_without(
    cluster: Nodes, data: Path, serial: Path, tmp_path: Path
) -> None:
    """Ray's own patience is a minute; here it is five seconds."""
    folder = tmp_path / "run"
    address = cluster.address
    process = driver(evaluation(data, folder, "--ray", address))
    wait_until(lambda: lines(folder) >= 2, process)
    cluster.kill_head()
    _, output = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    (last,) = [line for line in output.decode().splitlines() if "lost" in line]
    assert last.startswith(f"The Ray cluster {address!r} is lost")
    assert "the same command continues" in last
    assert "Traceback" not in output.decode()
    assert 2 <= lines(folder) < PAIRS
    subprocess.run(evaluation(data, folder), check=True, capture_output=True)
    assert results(folder) == results(serial)


@pytest.mark.parametrize(("where", "times"), [(("--workers", "2"), 1), (("--ray", "local"), 2)], ids=["once", "twice"])
def test_ctrl_c(ray: object, data: Path, tmp_path: Path, where: tuple[str, str], times: int) -> None:
    """As from a terminal, where all processes hear it. Once it ends in order; twice at once; nobody is left over."""
    folder = tmp_path / "run"
    words = evaluation(data, folder, *where)
    process = driver([sys.executable, "-c", LISTENING, *words[3:]])
    wait_until(lambda: lines(folder) >= 2, process)
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    if times == 2:
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
    _, output = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert "Traceback" not in output.decode()
    assert output.decode().splitlines()[-1].startswith("Stopped.") or times == 2
    _, left = psutil.wait_procs(family, timeout=DEADLINE)  # Ray ends its agents after a while
    assert not left
    assert 2 <= len(read_run(folder).records) < PAIRS
    with (folder / "records" / "1-of-1.0.jsonl").open() as file:
        assert all(line.endswith("}\n") for line in file)


# As `python -m semcorr`, but listening to Ctrl-C: a test run in the background inherits that it is ignored.
LISTENING = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('semcorr', run_name='__main__', alter_sys=True)"
)
