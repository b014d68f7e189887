"""``semcorr plan``: requests, estimates and refusals."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Ran
from semcorr.toy.spair_layout import write_spair

Semcorr = Callable[..., Ran]


@pytest.fixture
def cheap(tiny_sd: Path) -> list[str]:
    """A tiny model and a method that takes a second."""
    settings = ("samples=1", "resolution=64", "prompt=null")
    return [
        *("--model", str(tiny_sd), "--method", "dift", "--device", "cpu"),
        *(word for setting in settings for word in ("--set", setting)),
    ]


def test_a_benchmark_that_is_not_here_at_a_rate(semcorr: Semcorr, cheap: list[str]) -> None:
    ran = semcorr("plan", "spair", *cheap, "--gpus", "8", "--gpu-rate", "60", "--points", "7", "--json")
    assert ran.status == 0, ran.err
    plan = json.loads(ran.out)
    assert plan["work"]["locate_points"] == 7 * 12_234
    costs = plan["costs"]
    total = 12_234 * costs["locate_call"] + 7 * 12_234 * costs["locate_point"]
    assert plan["locate_hours"] == pytest.approx(total / 60e12 / 8 / 3600)
    assert plan["device_hours"] == pytest.approx(8 * (plan["describe_hours"] + plan["locate_hours"]))


def test_points_of_what_is_here_are_counted_and_nothing_is_written(
    semcorr: Semcorr, cheap: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pair's points are located; each image is the source of one pair here, so as many are described."""
    data, empty = tmp_path / "SPair-71k", tmp_path / "empty"
    write_spair(data, images=2, size=64)
    empty.mkdir()
    monkeypatch.chdir(empty)
    lines = (data / "Layout" / "large" / "test.txt").read_text().split()
    files = [data / "PairAnnotation" / "test" / f"{line}.json" for line in lines]
    points = sum(len(json.loads(file.read_text())["src_kps"]) for file in files)
    ran = semcorr("plan", "spair", "--data", data, *cheap, "--json")
    assert ran.status == 0, ran.err
    plan = json.loads(ran.out)
    assert (plan["work"]["describe_points"], plan["work"]["locate_points"]) == (points, points)
    assert (plan["work"]["describes"], plan["work"]["locates"]) == (len(files), len(files))
    assert plan["rate"] is None
    assert plan["locate_hours"] > 0
    assert not list(empty.iterdir())


def test_a_transfer_in_words(semcorr: Semcorr, cheap: list[str]) -> None:
    ran = semcorr("plan", "--targets", "1000000", "--points", "10", *cheap)
    assert ran.status == 0, ran.err
    assert "transfer: 1,000,000 targets, 10 points from 5 annotated images" in ran.out
    assert "50,000,000" in ran.out
    assert "every device is as fast as this one (cpu) is now" in ran.out
    assert "Disk:" in ran.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "a data set's name or --targets"),
        (("spair", "--targets", "3"), "a data set's name or --targets"),
        (("spair", "--gpu-rate", "0"), "--gpu-rate above 0"),
        (("--targets", "0"), "from 1 on"),
        (("spair-u",), "name its folder with --data"),
        (("spair", "--limit", "3"), "need the data set itself"),
        (("spair", "--method", "random"), "is a baseline"),
        (("spare",), "Unknown data set"),
    ],
)
def test_what_cannot_be_planned_is_refused(semcorr: Semcorr, words: tuple[str, ...], message: str) -> None:
    ran = semcorr("plan", *words)
    assert ran.status == 2
    assert message in ran.err
