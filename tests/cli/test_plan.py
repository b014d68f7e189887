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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("spair", "--model", "toy", "--method", "dift"), "--memory stands alone"),
        (("--method", "hypercolumn"), "'hypercolumn' on lite0 runs none"),
        (("--model", "toy", "--method", "dift", "--gpu-memory", "-1"), "above 0 GB, got -1"),
    ],
)
def test_memory_of_what_has_none_is_refused(semcorr: Semcorr, options: tuple[str, ...], message: str) -> None:
    ran = semcorr("plan", "--memory", *options)
    assert ran.status == 2
    assert message in " ".join(ran.err.split())


def pixart(folder: Path, **sizes: int) -> Path:
    """A folder with the configuration of a transformer, and no weights."""
    sizes = {"sample_size": 16, "patch_size": 2, "num_layers": 4, **sizes}
    for part, config in {
        "transformer": {"_class_name": "PixArtTransformer2DModel", **sizes},
        "vae": {"_class_name": "AutoencoderKL", "block_out_channels": [32]},
    }.items():
        (folder / part).mkdir()
        (folder / part / "config.json").write_text(json.dumps(config))
    return folder


def test_memory_in_each_precision_from_the_configuration(semcorr: Semcorr, tmp_path: Path) -> None:
    small = pixart(tmp_path, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16)
    asked = ("plan", "--memory", "--model", small, "--method", "dift", "--gpu-memory")
    ran = semcorr(*asked, "0.0008", "--json")
    assert ran.status == 0, ran.err
    ways = {way["options"]: way for way in json.loads(ran.out)["ways"]}
    assert ways["--dtype float32"]["network"] == 2 * ways["--dtype bfloat16"]["network"]
    for way in ways.values():  # a tenth is left for libraries
        assert way["forward_fits"] == (way["forward"] < 0.9 * 0.8e6)
    assert {way["forward_fits"] for way in ways.values()} == {False, True}
    printed = " ".join(semcorr(*asked, "0.0001").out.split())
    assert "Into the 0.1 MB of a GPU, a pass fits in none of these ways." in printed
    assert "(too much)" in printed
    assert "one image of 16 pixels, a context of 300 tokens" in printed


def test_weights_that_no_machine_holds_are_not_loaded(semcorr: Semcorr, tmp_path: Path) -> None:
    large = pixart(tmp_path, num_attention_heads=512, attention_head_dim=128, cross_attention_dim=65536, num_layers=8)
    ran = semcorr("plan", "spair", "--model", large, "--method", "dift", "--device", "cpu")
    assert ran.status == 2
    assert "GB as they would be loaded, and the cpu here has" in " ".join(ran.err.split())
    assert "semcorr plan --memory --model" in ran.err
