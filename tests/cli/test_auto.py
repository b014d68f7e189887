"""``--method auto`` and ``--dtype auto``: what the commands choose, say and record."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Ran
from semcorr.cli.options import MatcherOptions
from semcorr.matchers.choice import choose, situation_of
from semcorr.matchers.results import Query
from semcorr.models.device import device_traits, fastest_dtype
from semcorr.toy.coco import write_coco

Semcorr = Callable[..., Ran]

CPU = ("--device", "cpu")
DIFT = ("--set", "dift_samples=1", "--set", "dift_prompt=null")
QUICK = (*CPU, "--set", 'layers=["14@320"]')
LITE0 = (
    "Matching with hypercolumn (preset photographs) on lite0: on the processor, as requested; for the paper's method: "
    "--method prompt --model CHECKPOINT."
)


def test_photographs_are_matched_offline_and_without_a_checkpoint(
    semcorr_process: Callable[..., Any], images: list[Path], tmp_path: Path
) -> None:
    """As on a new machine: an empty cache, and a hub that cannot be reached."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment = {**kept, "HF_HOME": str(tmp_path / "empty"), "HF_ENDPOINT": "http://127.0.0.1:9"}
    process = semcorr_process(
        *("match", *images[:2], "-p", 10, 20, "--json", "-o", tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err.decode()
    document = json.loads(out)
    assert (document["method"], document["model"]) == ("hypercolumn", "lite0")
    choice = choose(situation_of(None))  # the reason depends on this machine
    assert err.decode().splitlines() == [f"Matching with hypercolumn (preset photographs) on lite0: {choice}."]
    assert not (tmp_path / "empty").exists()


def test_a_query_holds_the_chosen_method(semcorr: Semcorr, images: list[Path], tmp_path: Path) -> None:
    query = tmp_path / "query.safetensors"
    ran = semcorr("describe", images[0], "-p", 10, 20, *QUICK, "-o", query)
    assert (ran.status, ran.err.splitlines()[0]) == (0, LITE0)
    assert (Query.load(query).method, Query.load(query).model_id) == ("hypercolumn", "lite0")
    located = semcorr("locate", query, images[1], *CPU, "--json")
    assert json.loads(located.out)["method"] == "hypercolumn"


@pytest.mark.parametrize("command", ["dense", "mutual"])
def test_a_grid_is_compared_by_features(semcorr: Semcorr, images: list[Path], tmp_path: Path, command: str) -> None:
    out = ("-o", tmp_path / "out", "--json")
    ran = semcorr(command, images[0], images[1], *out, *QUICK)
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)["method"] == "hypercolumn"
    ran = semcorr(command, images[0], images[1], *out, *CPU, "--model", "toy", "--set", "samples=1")
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)["method"] == "dift"
    assert "Matching with dift (preset published) on toy: recommended for diffusion models" in ran.err


def test_the_layers_of_a_method_without_layers_are_refused(
    semcorr: Semcorr, images: list[Path], tmp_path: Path
) -> None:
    ran = semcorr("match", *images[:2], "-p", 1, 1, "--layers", *CPU, "-o", tmp_path / "out")
    assert ran.status == 2
    assert "which 'hypercolumn' does not read. Use --method prompt or attention-dift" in ran.err


def test_a_folder_of_an_unknown_kind_is_refused(semcorr: Semcorr, images: list[Path], tmp_path: Path) -> None:
    ran = semcorr("match", *images[:2], "-p", 1, 1, "--model", tmp_path, "-o", tmp_path / "out")
    assert ran.status == 2
    assert "Name the method: --method" in ran.err


def test_a_transfer_keeps_its_method_and_precision(semcorr: Semcorr, tiny_sd: Path, tmp_path: Path) -> None:
    """One that was begun where "auto" is another method or precision is refused, not continued."""
    world = write_coco(tmp_path / "coco", categories=("car",), support=1, targets=2, size=96)
    command = ("transfer", world.annotations, "--images", world.images, "-o", tmp_path / "out.json")
    ran = semcorr(*command, *QUICK, "--shard", "1/2")
    assert ran.status == 0, ran.err
    folder = tmp_path / "out.json.work"
    identity = json.loads((folder / "transfer.json").read_text())["identity"]["matcher"]
    assert (identity["model_id"], identity["dtype"]) == ("lite0", "float32")

    small = ("--set", "samples=1", "--set", "prompt=null", "--set", "resolution=64", *CPU)
    other = semcorr(*command, "--shard", "2/2", "--method", "dift", "--model", tiny_sd, *small)
    assert other.status == 2
    assert "matcher.model_id: 'lite0' there" in other.err
    assert "name --method, --model and --dtype" in other.err
    half = semcorr(*command, "--shard", "2/2", *QUICK, "--dtype", "bfloat16")
    assert half.status == 2
    assert "matcher.dtype: 'float32' there, 'bfloat16' here" in half.err

    # Named, it is the same transfer.
    named = ("--method", "hypercolumn", "--model", "lite0", "--dtype", "float32")
    assert semcorr(*command, "--shard", "2/2", *QUICK, *named).status == 0
    assert semcorr(*command, *QUICK).status == 0
    assert json.loads((tmp_path / "out.json").read_text())["semcorr"]["method"] == "hypercolumn"


def test_half_precision_that_is_chosen_is_said_and_recorded(
    semcorr: Semcorr, images: list[Path], tiny_sd: Path, tmp_path: Path
) -> None:
    world = write_coco(tmp_path / "coco", categories=("car",), support=1, targets=1, size=96)
    small = ("--set", "samples=1", "--set", "prompt=null", "--set", "resolution=64", *CPU)
    ran = semcorr(
        *("transfer", world.annotations, "--images", world.images, "-o", tmp_path / "out.json"),
        *("--method", "dift", "--model", tiny_sd, *small),
    )
    assert ran.status == 0, ran.err
    dtype = fastest_dtype(*device_traits("cpu"))
    assert json.loads((tmp_path / "out.json").read_text())["semcorr"]["matcher"]["dtype"] == dtype
    assert (f"In {dtype}, which is faster here; for more digits: --dtype float32." in ran.err) == (dtype != "float32")


@pytest.mark.slow
def test_a_plan_is_of_what_the_planned_command_takes(semcorr: Semcorr, tiny_sd: Path) -> None:
    ran = semcorr("plan", "--targets", "3", "--points", "2", *QUICK)
    assert (ran.status, ran.err.splitlines()[0]) == (0, LITE0)
    small = ("--set", "rounds=1", "--set", "steps=2", "--set", "locate_crops=4", "--set", "resolution=128")
    ran = semcorr("plan", "spair", "--model", tiny_sd, *CPU, *small, "--set", "neutral=zeros", *DIFT)
    assert (ran.status, ran.err.splitlines()[0]) == (
        0,
        f"Matching with attention-dift (preset fast) on {tiny_sd}.",
    ), ran.err


def test_an_evaluation_has_a_method_by_name(semcorr: Semcorr, tmp_path: Path) -> None:
    ran = semcorr("eval", "toy", "--method", "auto", "--data", tmp_path, "-o", tmp_path / "run")
    assert ran.status == 2
    assert "'auto' depends on the machine: name the method here" in ran.err


def test_the_help_imports_no_torch(semcorr_process: Callable[..., Any]) -> None:
    program = (
        "import sys; from semcorr.cli import main; "
        "main(['match', '--help']); sys.exit('torch' in sys.modules or 'huggingface_hub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "auto" in done.stdout


def test_the_options_name_the_model_only_where_the_method_is_known() -> None:
    assert MatcherOptions().spec().model is None
    assert MatcherOptions(method="dino").spec().model == "facebook/dinov2-base"
