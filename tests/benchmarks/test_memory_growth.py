"""What is seen of a command that grows, and of one that does not."""

import sys
from pathlib import Path

import pytest

from benchmarks import memory_growth as soak
from benchmarks.command import main
from benchmarks.memory_growth import Lines, Sample, Soaked, watch


def _soaked(megabytes: float, *, files: int = 0, status: int = 0) -> Soaked:
    """A thousand targets, memory that grows by so much and wavers by 1 MB, and so many files more in the end."""
    samples = [
        Sample(
            seconds=float(done),
            targets=done,
            own_bytes=int(1e6 * (500 + megabytes * done / 1000 + (done // 10) % 2)),
            others_bytes=0,
            largest_bytes=500_000_000,
            files=4 + files * (done > 500) + done % 3,
            threads=2,
            processes=0,
        )
        for done in range(0, 1000, 10)
    ]
    return Soaked(title="made up", targets=1000, ceiling=10**9, samples=samples, status=status)


def test_the_slope_is_that_of_the_samples_after_the_warm_up() -> None:
    soaked = _soaked(30.0)
    soaked.samples[0] = Sample(**{**vars(soaked.samples[0]), "own_bytes": 0})
    slope, error = soaked.slope("own_bytes")
    assert slope == pytest.approx(30, abs=error)
    assert error < 1


@pytest.mark.parametrize(
    ("soaked", "messages"),
    [
        (_soaked(0.0), []),
        (_soaked(1.0), []),
        (_soaked(9.0), ["memory of its own process grows by 9"]),
        (_soaked(0.0, files=3), ["files: at most 6 in the first quarter, at least 7 in the last"]),
        (_soaked(0.0, status=2), ["the command ended with status 2"]),
    ],
)
def test_growth_is_reported(soaked: Soaked, messages: list[str]) -> None:
    problems = list(soaked.problems(allowed=2.0))
    assert len(problems) == len(messages)
    assert all(one.startswith(start) for one, start in zip(problems, messages, strict=True))


GROWS = """
import pathlib, subprocess, sys, time
folder, kept = pathlib.Path(sys.argv[1]), []
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"], start_new_session=True)
for number in range(30):
    kept += [bytearray(1_000_000), open(folder / f"{number}.txt", "w")]
    with open(folder / "records.jsonl", "a") as lines:
        lines.write("a line\\n")
    time.sleep(0.1)
"""


@pytest.mark.slow
def test_a_command_that_grows_and_leaves_a_process_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "SECONDS_TO_END", 0.5)
    soaked = Soaked(title="grows", targets=30, ceiling=10**9)
    watch([sys.executable, "-c", GROWS, str(tmp_path)], Lines(tmp_path), soaked, every=0.1)
    problems = list(soaked.problems(allowed=2.0))
    assert soaked.status == 0
    assert [line.split(" ")[0].rstrip(":") for line in problems] == ["memory", "files", "left"]


def test_a_command_above_the_ceiling_is_ended(tmp_path: Path) -> None:
    soaked = Soaked(title="grows", targets=30, ceiling=4_000_000)
    watch([sys.executable, "-c", "import time; time.sleep(60)"], Lines(tmp_path), soaked, every=0.1)
    assert soaked.stopped_at > 4_000_000
    assert "4 are allowed" in next(soaked.problems(allowed=2.0))
    assert soaked.status != 0


@pytest.mark.slow
def test_a_short_transfer_does_not_grow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--targets",
        "300",
        "--method",
        "dift",
        "--set",
        "samples=1",
        "--allowed",
        "200",
        "-o",
        str(tmp_path / "soak"),
    ]
    assert main(soak.app, [*words, "--plot", str(tmp_path / "plot.png"), "--json", str(tmp_path / "soak.json")]) == 0
    printed = capsys.readouterr().out
    assert "Left after the end: nothing." in printed
    assert "It does not grow." in printed
    assert (tmp_path / "plot.png").stat().st_size > 10_000
