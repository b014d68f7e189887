"""The job script of docs/cluster.md, run as Slurm would run an array of two."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from semcorr.evaluation.runs.folder import read_run
from semcorr.toy.coco import write_coco
from semcorr.toy.spair_layout import write_spair

DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster.md"
SCRIPTS = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_bash(script: str) -> None:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def array(folder: Path, *words: object) -> None:
    """Run the first script as jobs 1 and 2 of an array, with this Python's ``semcorr``."""
    script = folder / "shards.sh"
    script.write_text(SCRIPTS[0], encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for number in ("1", "2"):
        slurm = {"SLURM_ARRAY_TASK_ID": number, "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
        command = ["bash", script, *map(str, words)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **slurm, "PATH": path})


@pytest.mark.slow
def test_shards_of_an_array_are_the_whole(tmp_path: Path) -> None:
    data = tmp_path / "data"
    pairs = write_spair(data, images=3, size=64)["test"]
    array(tmp_path, "eval", "spair", "--data", data, "-o", tmp_path / "run", "--method", "same-position")
    assert len(read_run(tmp_path / "run").done) == pairs
    assert {path.name for path in (tmp_path / "run" / "records").iterdir()} == {"1-of-2.0.jsonl", "2-of-2.0.jsonl"}

    world = write_coco(tmp_path / "toy", categories=("car",), support=1, targets=3, size=64)
    words = ("transfer", world.annotations, "--images", world.images, "--method", "dift", "--model", "toy")
    array(tmp_path, *words, "-o", tmp_path / "shards.json")
    # That a shard is the part of a whole that it should be: tests/cli/test_transfer.py.
    command = [sys.executable, "-m", "semcorr", *map(str, words), "-o", str(tmp_path / "shards.json")]
    last = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "(3 of them before)" in last.stdout
    assert len(json.loads((tmp_path / "shards.json").read_text())["images"]) == 4
