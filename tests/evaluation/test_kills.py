"""Killed runs and full disks: nothing is lost, nothing is done twice. Real processes, real signals."""

import json
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semcorr.errors import RunError
from semcorr.evaluation.records import PairRecord
from semcorr.evaluation.run_folder import append, read_run
from semcorr.toy.spair import write_spair

QUICK = ("--model", "toy", "--set", "steps=2", "--set", "rounds=1", "--set", "locate_crops=4")


def command(data: Path, output: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "semcorr", "eval", "spair", "--data", str(data), "-o", str(output), *QUICK, *more]


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
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("workers", "kills"), [(1, 10), (2, 3)])
def test_kills_change_nothing(tmp_path: Path, workers: int, kills: int) -> None:
    data = tmp_path / "data"
    pairs = write_spair(data, images=5, size=64)["test"]
    assert pairs >= 60
    subprocess.run(command(data, tmp_path / "whole" / "run"), check=True, capture_output=True)
    folder, chance = tmp_path / "killed" / "run", random.Random(workers)  # noqa: S311  # moments, not secrets
    for _ in range(kills):
        before = lines(folder)
        process = subprocess.Popen(
            command(data, folder, "--workers", str(workers)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wanted = before + chance.randrange(6)
        while lines(folder) < wanted:
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(chance.random() * (8 if wanted == before else 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Worker processes notice by themselves; a second start in the meantime must not meet them.
        quiet = -1
        while quiet != lines(folder):
            quiet = lines(folder)
            time.sleep(0.5 * (workers - 1))
    assert 0 < lines(folder) < pairs
    subprocess.run(command(data, folder, "--workers", str(workers)), check=True, capture_output=True)
    assert lines(folder) == pairs
    if workers == 1:  # two processes have memory for batches of other sizes, which changes rounding
        assert report(folder) == report(tmp_path / "whole" / "run")


RECORD = PairRecord.from_json(
    json.dumps(
        {
            "index": 0, "pair": "a", "category": "c", "names": ["p"], "flags": {}, "source": "s", "target": "t",
            "source_size": [9, 9], "target_size": [9, 9], "source_box": None, "target_box": None,
            "source_points": [[1, 1]], "truth": [[1, 1]], "predicted": [[1, 1]], "confidence": [0.5],
            "layers": {}, "rounds": {}, "crops": {},
        }
    )
)  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told() -> None:
    with pytest.raises(RunError, match=r"No space left.*the same command goes on"):
        append(Path("/dev/full"), RECORD)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Works for root as well, whom permissions do not stop."""
    (tmp_path / "file").write_text("")
    data = tmp_path / "data"
    write_spair(data, images=2, size=64)
    done = subprocess.run(command(data, tmp_path / "file" / "run"), check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_fills_up_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    """The kernel refuses to let any file grow beyond a few records, as a full disk would."""
    data, folder = tmp_path / "data", tmp_path / "run"
    pairs = write_spair(data, images=3, size=64)["test"]
    words, few = (command(data, place, "--method", "same-position") for place in (folder, tmp_path / "few"))
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
    assert "the same command goes on" in stopped.stderr
    assert len(read_run(folder).records) == 4 < pairs
    subprocess.run(words, check=True, capture_output=True)
    assert len(read_run(folder).records) == pairs
