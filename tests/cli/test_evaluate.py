"""``semcorr eval``, ``ablate`` and ``merge``: a benchmark in, a run and its figures out."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from cli.conftest import Ran
from semcorr.evaluation.runs import ablation, runner
from semcorr.toy.spair_layout import write_spair

Semcorr = Callable[..., Ran]
GUESS = ("--method", "same-position")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "SPair-71k"
    write_spair(folder, images=2, size=64)
    return folder


def annotations(data: Path) -> list[Path]:
    """The test pairs' files."""
    lines = (data / "Layout" / "large" / "test.txt").read_text().split()
    return [data / "PairAnnotation" / "test" / f"{line}.json" for line in lines]


def test_a_run_prints_its_figures_beside_the_baselines(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    ran = semcorr("eval", "spair", "--data", data, "-o", tmp_path / "mine", *GUESS, "--json")
    assert ran.status == 0, ran.err
    table = json.loads(ran.out)["tables"][0]
    assert [row["name"] for row in table["rows"] if not row["quoted"]] == [
        "mine",
        "same-box-position",
        "random",
        "oracle-grid",
    ]
    assert (tmp_path / "mine" / "run.json").exists()


def test_one_table_is_printed_and_more_on_request(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    words = ("eval", "spair", "--data", data, "-o", tmp_path / "mine", "--method", "random", "--format", "markdown")
    plain = semcorr(*words).out
    assert plain.count("\n| --- |") == 1
    assert "| same-box-position |" in plain
    assert "quoted" in plain
    bare = semcorr(*words, "--no-baselines", "--no-quote", "--details").out
    assert "quoted" not in bare
    assert "same-box-position" not in bare
    assert bare.count("\n| --- |") == 2  # a guess has no confidence to tabulate
    assert semcorr(*words, "--details").out.count("\n| --- |") == 3  # and the lead over a baseline
    tables = json.loads(semcorr(*words, "--json").out)["tables"]
    assert len(tables) == 3


def test_a_baseline_takes_no_harm_from_resources_that_it_has_no_use_for(
    semcorr: Semcorr, data: Path, tmp_path: Path
) -> None:
    resources = ("--gradient-checkpointing", "--latents-cache", tmp_path / "cache")
    ran = semcorr("eval", "spair", "--data", data, "-o", tmp_path / "mine", *GUESS, *resources, "--json")
    assert ran.status == 0, ran.err
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_an_evaluation_hands_resources_on_and_is_the_same_run_without(
    semcorr: Semcorr, data: Path, tmp_path: Path, quick: list[str]
) -> None:
    words = ("eval", "spair", "--data", data, "-o", tmp_path / "mine", "--limit", 1, *quick)
    ran = semcorr(*words, "--gradient-checkpointing", "--latents-cache", tmp_path / "cache")
    assert ran.status == 0, ran.err
    assert list((tmp_path / "cache").rglob("*.safetensors"))
    assert semcorr(*words).status == 0


def test_pairs_of_one_difficulty(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    files = annotations(data)
    same = sum(json.loads(file.read_text())["viewpoint_variation"] == 0 for file in files)
    assert 0 < same < len(files)
    words = ("eval", "spair", "--data", data, "--flag", "viewpoint=0", "-o", tmp_path / "run", *GUESS, "--json")
    tables = json.loads(semcorr(*words).out)["tables"]
    assert tables[-1]["rows"][0]["values"]["pairs"] == same


def test_a_run_of_other_settings_is_refused(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    words = ("eval", "spair", "--data", data, "-o", tmp_path / "run")
    assert semcorr(*words, *GUESS).status == 0
    ran = semcorr(*words, "--method", "random")
    assert ran.status == 2
    assert "holds a run with other settings (method.name: 'same-position' there, 'random' here)" in ran.err


@pytest.mark.parametrize("command", ["eval", "ablate"])
def test_a_misspelt_grouping_is_refused_before_the_run(
    semcorr: Semcorr, data: Path, tmp_path: Path, command: str
) -> None:
    ran = semcorr(command, "spair", "--data", data, "-o", tmp_path / "run", "--by", "viewpont")
    assert ran.status == 2
    assert "Unknown grouping 'viewpont'. Did you mean 'viewpoint'" in ran.err
    assert not (tmp_path / "run").exists()


def test_shards_merge(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    words = ("eval", "spair", "--data", data, *GUESS, "--format", "csv")
    whole = semcorr(*words, "-o", tmp_path / "one" / "run")
    for part in (1, 2):
        semcorr(*words, "-o", tmp_path / f"part-{part}", "--shard", f"{part}/2")
    merged = semcorr("merge", tmp_path / "two" / "run", tmp_path / "part-1", tmp_path / "part-2")
    assert merged.status == 0, merged.err
    again = semcorr("report", tmp_path / "two" / "run", "--format", "csv", "--baseline", "same-box-position")
    assert again.out == whole.out


def test_failed_pairs_are_reported_and_the_status_is_1(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "SPair-71k"
    write_spair(folder, images=2, size=64)
    for image in (folder / "JPEGImages" / "car").iterdir():
        image.unlink()
    settings = [word for name in ("steps=1", "rounds=1", "locate_crops=4") for word in ("--set", name)]
    words = ("eval", "spair", "--data", folder, "-o", tmp_path / "run", "--model", "toy", "--method", "prompt")
    words = (*words, *settings)
    ran = semcorr(*words, "--category", "car")
    assert ran.status == 1
    assert "2 pairs failed" in ran.err
    assert "The same command tries them again." in ran.err


def test_photographs_are_matched_and_drawn(semcorr: Semcorr, photographs: Path, tmp_path: Path, tiny_sd: Path) -> None:
    """Two pairs of PF-WILLOW, with and without the heat maps over their targets."""
    words = ("eval", "pf-willow", "--data", photographs, "--limit", 2, "-o", tmp_path / "run")
    settings = [word for name in ("samples=1", "resolution=64", "prompt=null") for word in ("--set", name)]
    method = ("--method", "dift", "--model", tiny_sd, "--device", "cpu", *settings)
    ran = semcorr(*words, *method, "--plots", tmp_path / "plots", "--heatmaps")
    assert ran.status == 0, ran.err
    assert "pf-willow test, 2 pairs, 20 points" in ran.out
    assert [f"Figure: {tmp_path / 'plots' / name}" in ran.err for name in ("curves.png", "pairs-run.png")] == [True] * 2
    assert semcorr(*words, *method, "--plots", tmp_path / "plain").status == 0
    heated, plain = (np.asarray(PIL.Image.open(tmp_path / name / "pairs-run.png")) for name in ("plots", "plain"))
    assert heated.shape == plain.shape
    assert (heated != plain).any()


def test_heat_maps_need_a_folder(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    ran = semcorr("eval", "spair", "--data", data, "-o", tmp_path / "run", *GUESS, "--heatmaps")
    assert ran.status == 2
    assert "Expected --plots and a folder" in ran.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_ablation_is_one_commands_output(semcorr: Semcorr, data: Path, tmp_path: Path, quick: list[str]) -> None:
    """Every choice switched off, and of the method's own run each layer, each number of embeddings and of crops."""
    words = ("ablate", "spair", "--data", data, "--category", "car", "--limit", 1, "-o", tmp_path / "runs", *quick)
    words = tuple("rounds=2" if word == "rounds=1" else word for word in words)
    ran = semcorr(*words, "--alpha", 0.1, "--crops-apart", "--json")
    assert ran.status == 0, ran.err
    tables = {table["by"]: table for table in reversed(json.loads(ran.out)["tables"])}
    names = {by: [row["name"] for row in table["rows"]] for by, table in tables.items()}
    assert list(reversed(names)) == ["overall", "layer", "rounds", "crops"]
    guesses = ["same-position", "same-box-position", "random", "oracle-grid"]
    without = ["no crops", "no crops in optimization", "no crops in location"]
    ours = [name for name in names["overall"] if not name.startswith(("quoted", "one layer"))]
    assert ours == ["the method", "one embedding", *without, *guesses]
    *layers, together = names["layer"]
    assert len(layers) == 4
    assert together == "the run's own"
    assert names["rounds"] == ["1", "2", "the run's own"]
    assert names["crops"] == ["1", "2", "3", "4", "the run's own"]
    runs = [column["heading"] for column in tables["layer"]["columns"]]
    assert runs == ["points", "the method", *guesses]


def test_taps_are_ranked_by_one_command(semcorr: Semcorr, data: Path, tmp_path: Path) -> None:
    words = ("ablate", "spair", "--data", data, "--category", "car", "--limit", 1, "-o", tmp_path / "runs")
    settings = ("--model", "toy", "--device", "cpu", "--set", "samples=1", "--set", "prompt=null")
    ran = semcorr(*words, *settings, "--tap", "up/2:0.q*", "--tap", "block:2", "--no-baselines", "--json")
    assert ran.status == 0, ran.err
    pck, lead = json.loads(ran.out)["tables"]
    names = ["dift, block 1", "up/2:0.query", "block:2"]
    assert sorted(row["name"] for row in pck["rows"]) == sorted(names)
    assert "lead over dift, block 1" in lead["title"]
    ran = semcorr(*words, *settings, "--tap", "up/2:0.qery")
    assert ran.status == 2
    assert "Did you mean 'up/2:0.query'?" in ran.err


@pytest.mark.parametrize("command", ["eval", "ablate"])
def test_stopping_says_where_what_is_done_lies(
    semcorr: Semcorr, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner if command == "eval" else ablation, "run", stop)
    ran = semcorr(command, "spair", "--data", data, "-o", tmp_path / "run", "--model", "toy")
    assert ran.status == 130
    method = {"eval": "attention-dift (preset fast)", "ablate": "prompt (preset paper)"}[command]
    assert ran.err.splitlines() == [
        f"Matching with {method} on toy.",
        f"Stopped. What is done is in {tmp_path / 'run'}; the same command continues.",
    ]


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
        (("eval", "spair", "--data", ".", "--flag", "viewpoint"), "Expected --flag NAME=VALUE"),
        (("eval", "toy", "--method", "same-positon"), "Unknown method 'same-positon'. Did you mean 'same-position'?"),
        (("merge", "new"), "Expected the folders of runs"),
        (("merge", "new", "nowhere"), "There is no run in nowhere"),
        (("report",), "Expected at least one run"),
    ],
)
def test_bad_requests_are_refused(
    semcorr: Semcorr, words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = semcorr(*words)
    assert ran.status == 2
    assert message in ran.err
