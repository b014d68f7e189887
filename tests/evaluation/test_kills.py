"""Killed runs and full disks: nothing is lost, nothing is done twice. Real processes, real signals."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deadline import DEADLINE
from evaluation.handmade import pair_record
from semcorr.datasets.base import Dataset
from semcorr.errors import RunError
from semcorr.evaluation.runs.folder import append, read_run
from semcorr.evaluation.runs.runner import run
from semcorr.matchers.spec import MatcherSpec
from semcorr.toy.spair_layout import write_spair

# A worker has one thread. More in the whole run's process would add numbers up in another order.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
QUICK = ("--model", "toy", "--set", "steps=2", "--set", "rounds=1", "--set", "locate_crops=4")


def command(data: Path, output: Path, *more: str, method: str = "prompt") -> list[str]:
    named = ["eval", "spair", "--data", str(data), "-o", str(output), "--method", method]
    return [sys.executable, "-m", "semcorr", *named, *QUICK, *more]


def report(folder: Path) -> str:
    by = ("overall", "category", "difficulty", "point", "layer", "crops")
    options = [word for name in by for word in ("--by", name)]
    return subprocess.run(
        [sys.executable, "-m", "semcorr", "report", folder, "--format", "markdown", *options],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def lines(folder: Path) -> int:
    """Whole lines in all record files."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("records/*.jsonl"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_change_nothing(tmp_path: Path) -> None:
    """The tables are those of an uninterrupted run in one process, byte for byte, also where two processes were killed.

    They are so as long as a source's points (here some 20 of 12 MB) fit into the free memory together: batches of
    another size would round otherwise.
    """
    data = tmp_path / "data"
    assert write_spair(data, images=5, size=64)["test"] == 80
    pairs = 24
    some = ("--limit", str(pairs))
    subprocess.run(command(data, tmp_path / "whole" / "run", *some), check=True, capture_output=True, env=ONE_THREAD)
    folder, chance = tmp_path / "killed" / "run", random.Random(1)  # noqa: S311  # moments, not secrets
    for workers in (1, 1, 2):
        before = lines(folder)
        process = subprocess.Popen(
            command(data, folder, *some, "--workers", str(workers)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ONE_THREAD,
        )
        expected = before + chance.randrange(6)
        while lines(folder) < expected:
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(chance.random() * (8 if expected == before else 0.1))
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Nobody kills worker processes: they end by themselves.
        _, left = psutil.wait_procs(children, timeout=DEADLINE)
        assert not left
    assert 0 < lines(folder) < pairs
    last = command(data, folder, *some)
    subprocess.run(last, check=True, capture_output=True, env=ONE_THREAD)
    assert lines(folder) == pairs
    assert report(folder) == report(tmp_path / "whole" / "run")


@pytest.mark.slow
def test_a_killed_worker_is_reported(birds: Dataset, tmp_path: Path) -> None:
    """As the kernel does when memory runs out. 3 sources for 2 workers: one at least is not begun by then."""

    def kill(stage: str, done: int, total: int, **info: object) -> None:
        for process in psutil.Process().children():
            # A worker that was killed at an earlier pair may still be there, without a command line.
            with contextlib.suppress(psutil.NoSuchProcess):
                if "--multiprocessing-fork" in process.cmdline():
                    process.kill()

    options = {"steps": 30, "rounds": 1, "locate_crops": 5, "device": "cpu"}
    method = MatcherSpec(method="prompt", model="toy", options=options)
    with pytest.raises(RunError, match=r"worker process was killed.*the same command continues"):
        run(birds, method, tmp_path / "run", workers=2, progress=kill)
    assert 0 < len(read_run(tmp_path / "run").records) < 6
    assert len(run(birds, method, tmp_path / "run").done) == 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_reported() -> None:
    with pytest.raises(RunError, match=r"No space left.*the same command continues"):
        append(Path("/dev/full"), pair_record(0, [[1, 1]]))


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """Works for root as well, whom permissions do not stop."""
    (tmp_path / "file").write_text("")
    data = tmp_path / "data"
    write_spair(data, images=2, size=64)
    done = subprocess.run(command(data, tmp_path / "file" / "run"), check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    """The kernel refuses to let any file grow beyond a few records, as a full disk would."""
    data, folder = tmp_path / "data", tmp_path / "run"
    pairs = write_spair(data, images=3, size=64)["test"]
    words, few = (command(data, output, method="same-position") for output in (folder, tmp_path / "few"))
    subprocess.run([*few, "--limit", "4"], check=True, capture_output=True)
    four = sum(path.stat().st_size for path in (tmp_path / "few" / "records").iterdir())
    stopped = subprocess.run(
        words,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (four + 100, resource.RLIM_INFINITY)),
    )
    assert stopped.returncode == 2, stopped.stderr
    assert "cannot be written" in stopped.stderr
    assert "the same command continues" in stopped.stderr
    assert len(read_run(folder).records) == 4 < pairs
    subprocess.run(words, check=True, capture_output=True)
    assert len(read_run(folder).records) == pairs
