"""The version stands in pyproject.toml alone; everything that tells it says the same."""

import subprocess
import sys
import tomllib
from pathlib import Path

import semcorr
from semcorr.cli.environment import examine

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_everything_tells_the_version_of_pyproject() -> None:
    command = [sys.executable, "-m", "semcorr", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{VERSION}\n"
    assert semcorr.__version__ == VERSION
    assert [finding.detail for finding in examine() if finding.name == "semcorr"] == [VERSION]
