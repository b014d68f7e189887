"""``semcorr eval``, ``ablate`` and ``merge``: a benchmark in, a run and its figures out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Ran
from semcorr.toy.spair import write_spair

Semcorr = Callable[..., Ran]
GUESS = ("--method", "same-position")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "SPair-71k"
    write_spair(folder, images=2, size=64)
    return folder


def test_a_run_prints_its_figures_beside_the_baselines(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    ran = semcorr("eval", "spair", "--data", data, "-o", tmp_path / "mine", *GUESS, "--format", "json")
    assert ran.status == 0, ran.err
    sheet = json.loads(ran.out)["sheets"][0]
    assert [row["name"] for row in sheet["rows"] if not row["quoted"]] == [
        "mine",
        "same-box-position",
        "random",
        "oracle-grid",
    ]
    assert (tmp_path / "mine" / "run.json").exists()


def test_a_run_of_other_settings_is_refused(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    words = ("eval", "spair", "--data", data, "-o", tmp_path / "run")
    assert semcorr(*words, *GUESS).status == 0
    ran = semcorr(*words, "--method", "random")
    assert ran.status == 2
    assert "holds a run with other settings (method.name: 'same-position' there, 'random' here)" in ran.err


def test_shards_merge(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    words = ("eval", "spair", "--data", data, *GUESS, "--format", "csv")
    whole = semcorr(*words, "-o", tmp_path / "one" / "run")
    for part in (1, 2):
        semcorr(*words, "-o", tmp_path / f"part-{part}", "--shard", f"{part}/2")
    merged = semcorr("merge", tmp_path / "two" / "run", tmp_path / "part-1", tmp_path / "part-2")
    assert merged.status == 0, merged.err
    again = semcorr("report", tmp_path / "two" / "run", "--format", "csv", "--baseline", "same-box-position")
    assert again.out == whole.out


def test_failed_pairs_are_told_and_the_status_is_1(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "SPair-71k"
    write_spair(folder, images=2, size=64)
    for picture in (folder / "JPEGImages" / "car").iterdir():
        picture.unlink()
    settings = [word for name in ("steps=1", "rounds=1", "locate_crops=4") for word in ("--set", name)]
    words = ("eval", "spair", "--data", folder, "-o", tmp_path / "run", "--model", "toy", *settings)
    ran = semcorr(*words, "--category", "car")
    assert ran.status == 1
    assert "2 pairs failed" in ran.err
    assert "The same command tries them again." in ran.err


def test_only_the_papers_method_is_ablated(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    ran = semcorr("ablate", "spair", "--data", data, "-o", tmp_path / "run", "--method", "random")
    assert ran.status == 2
    assert "has this ablation" in ran.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("eval", "spiar"), "Unknown data set 'spiar'. Did you mean 'spair'?"),
        (("eval", "spair"), "Expected --data and the folder of spair"),
        (("eval", "spair", "--data", "nowhere"), "nowhere"),
        (("eval", "toy", "--shard", "half"), "Expected --shard i/n"),
        (("eval", "toy", "--method", "same-positon"), "Unknown method 'same-positon'. Did you mean 'same-position'?"),
        (("merge", "new"), "Expected the folders of runs"),
        (("merge", "new", "nowhere"), "There is no run in nowhere"),
        (("report",), "Expected at least one run"),
    ],
)
def test_bad_requests_are_told(
    semcorr: Semcorr, words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = semcorr(*words)
    assert ran.status == 2
    assert message in ran.err


def test_an_estimate_runs_nothing(
    semcorr: Semcorr, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pair's points are located; each picture is the source of one pair here, so as many are described."""
    monkeypatch.chdir(tmp_path)
    lines = (data / "Layout" / "large" / "test.txt").read_text().split()
    files = [data / "PairAnnotation" / "test" / f"{line}.json" for line in lines]
    points = sum(len(json.loads(file.read_text())["src_kps"]) for file in files)
    ran = semcorr("eval", "spair", "--data", data, "--model", "toy", "--estimate")
    assert ran.status == 0, ran.err
    assert f"{points} points to describe, 90 steps each" in ran.out
    assert f"{points} points to locate, 18 crops each" in ran.out
    assert not list(tmp_path.iterdir())
