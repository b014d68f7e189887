"""A benchmark as large as SPair-71k: it is checked and started in a few times what reading its files takes."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from semcorr.datasets import registry
from semcorr.evaluation.runs.folder import read_run

pytestmark = pytest.mark.slow

PAIRS = 12_234
IMAGES_PER_CLASS = 100

# What a process starts with counts as its own peak, and the tests' process is large; this one is small.
LAUNCHER = """
import resource, subprocess, sys
status = subprocess.run([sys.executable, *sys.argv[1:]]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss / 1024, used.ru_utime + used.ru_stime, file=sys.stderr)
sys.exit(status)
"""


@dataclass(frozen=True)
class Measured:
    """A finished command: what it printed, its peak memory, and its seconds of a processor: all of them, and those
    until something was there. Other work on the machine lengthens them less than seconds of a clock.
    """

    out: str
    megabytes: float
    seconds: float
    first: float


# What cannot be left out: importing PyTorch, and reading the file of every pair.
PLAIN = """
import json, pathlib, sys
import torch
for file in pathlib.Path(sys.argv[1]).glob("PairAnnotation/test/*.json"):
    json.loads(file.read_text(encoding="utf-8"))
"""


def measured(*words: object, there: Callable[[], bool] = lambda: False) -> Measured:
    first = 0.0
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not first:
        if there():
            spent = [one.cpu_times() for one in psutil.Process(process.pid).children(recursive=True)]
            first = sum(one.user + one.system for one in spent)
        time.sleep(0.01)
    out, err = process.communicate()
    assert process.returncode == 0, err
    megabytes, seconds = map(float, err.split()[-2:])
    return Measured(out, megabytes, seconds, first)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real number of pairs and images of every class, as many pairs an image as there really are, 8 points each.

    The images are one small file under 1,800 names.
    """
    counts = registry.BENCHMARKS["spair"].known["test", ""].by_category
    assert sum(counts.values()) == PAIRS
    root = tmp_path_factory.mktemp("data") / "SPair-71k"
    pairs, layout = root / "PairAnnotation" / "test", root / "Layout" / "large"
    for folder in (pairs, layout):
        folder.mkdir(parents=True)
    points = [[10 * number, 5 * number] for number in range(8)]
    names = []
    for category, count in counts.items():
        images = root / "JPEGImages" / category
        images.mkdir(parents=True)
        for number in range(IMAGES_PER_CLASS):
            (images / f"2008_{number:06d}.jpg").write_bytes(b"no command here opens it")
        tested = next(n for n in itertools.count(2) if n * (n - 1) >= count)
        for source, target in itertools.islice(itertools.permutations(range(tested), 2), count):
            names.append(f"{len(names) + 1:06d}-2008_{source:06d}-2008_{target:06d}:{category}")
            record: dict[str, Any] = {"category": category, "kps_ids": [str(number) for number in range(8)]}
            for side, number in (("src", source), ("trg", target)):
                record |= {f"{side}_imname": f"2008_{number:06d}.jpg", f"{side}_imsize": [100, 80, 3]}
                record |= {f"{side}_bndbox": [0, 0, 90, 60], f"{side}_kps": points}
            (pairs / f"{names[-1]}.json").write_text(json.dumps(record), encoding="utf-8")
    (layout / "test.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def plain(whole: Path) -> float:
    """Seconds that :data:`PLAIN` takes on this machine."""
    return min(measured("-c", PLAIN, whole).seconds for _ in range(2))


def test_it_is_listed_and_checked_in_a_few_times_what_reading_takes(whole: Path, plain: float) -> None:
    for words in (("list",), ("check", "spair", whole)):
        ran = measured("-m", "semcorr", "data", *words)
        assert ran.seconds < 3 * plain
        assert ran.megabytes < 1000
    assert "nothing is missing" in ran.out


def test_a_run_starts_in_a_few_times_what_reading_takes(whole: Path, plain: float, tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def first_record() -> bool:
        return any(b"\n" in path.read_bytes() for path in folder.glob("records/*.jsonl"))

    words = ("-m", "semcorr", "eval", "spair", "--data", whole, "--method", "same-position", "-o", folder)
    ran = measured(*words, there=first_record)
    assert 0 < ran.first < 5 * plain
    assert ran.seconds < 15 * plain
    assert ran.megabytes < 1000
    assert len(read_run(folder).done) == PAIRS
    # All is done: the same command only reads and prints.
    again = measured(*words)
    assert again.out == ran.out
    assert again.seconds < 10 * plain
    assert len(list(folder.glob("records/*.jsonl"))) == 1
