import json
from pathlib import Path

import pytest

from benchmarks import spair_hours as hours
from benchmarks.command import main
from semcorr.errors import SemcorrError


def _write(file: Path, *repeats: dict[tuple[str, int], float]) -> Path:
    calls = [
        [
            {"method": "fast", "stage": stage, "points": points, "cost": {"seconds": seconds}}
            for (stage, points), seconds in repeat.items()
        ]
        for repeat in repeats
    ]
    file.write_text(json.dumps({"repeats": calls}))
    return file


def _repeat(factor: float) -> dict[tuple[str, int], float]:
    """A call takes 90 s and 10 s a point to describe, 35 s and 1 s a point to locate."""
    return {
        ("describe", 1): 100 * factor,
        ("describe", 10): 190 * factor,
        ("locate", 1): 36 * factor,
        ("locate", 10): 45 * factor,
    }


def test_hours_are_what_the_middle_repeat_took(tmp_path: Path):
    file = _write(tmp_path / "speed.json", _repeat(1), _repeat(0.5), _repeat(7))
    expected = list(hours.expected(hours.read(file), {"cat": 600, "dog": 300}, points=4))
    # 25 and 18 sources at 130 s, 900 targets at 39 s.
    assert expected == [("fast", pytest.approx(43 * 130 / 3600), pytest.approx(900 * 39 / 3600))]


def test_the_command_prints_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = _write(tmp_path / "speed.json", _repeat(1))
    assert main(hours.app, [str(file), "--points", "10"]) == 0
    printed = capsys.readouterr().out
    assert "12,234 pairs of 480 sources, 10 points each" in printed
    assert [cell.strip() for cell in printed.splitlines()[-2].strip("│ ").split("│")] == [
        "fast",
        "25.3",
        "152.9",
        "7.4",
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"repeats": []}', '{"repeats": [[{"method": "fast"}]]}', '{"repeats": 3}']
)
def test_another_file_is_refused(tmp_path: Path, text: str):
    file = tmp_path / "speed.json"
    file.write_text(text)
    with pytest.raises(SemcorrError, match=r"expected what python -m benchmarks\.speed"):
        hours.read(file)


def test_one_number_of_points_does_not_tell_the_rest(tmp_path: Path):
    file = _write(tmp_path / "speed.json", {("describe", 1): 1.0, ("locate", 1): 1.0})
    with pytest.raises(SemcorrError, match="two numbers of points"):
        hours.read(file)
