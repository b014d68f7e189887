"""The walk-through's own code, installed outside the package, does what the walk-through says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "adding-a-method.md"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path with the module and its entry point, as pip leaves them."""
    text = DOCUMENT.read_text(encoding="utf-8")
    blocks = {kind: re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("python", "toml")}
    folder = tmp_path_factory.mktemp("site")
    (folder / "colours.py").write_text(blocks["python"][0])
    group, line = blocks["toml"][0].strip().splitlines()
    assert group == '[project.entry-points."semcorr.methods"]'
    about = folder / "colours-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[semcorr.methods]\n{line.replace(chr(34), '')}\n")
    return folder


def semcorr(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(installed), *([before] if before else [])])
    return subprocess.run(
        [sys.executable, "-m", "semcorr", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_it_matches(installed: Path, tmp_path: Path):
    """An image of four coloured quarters, and the same turned by half."""
    quarters = np.zeros((64, 64, 3), dtype=np.uint8)
    quarters[:32, :32], quarters[:32, 32:], quarters[32:, :32] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    PIL.Image.fromarray(quarters).save(tmp_path / "a.png")
    PIL.Image.fromarray(quarters[::-1, ::-1]).save(tmp_path / "b.png")
    points = ["-p", "16", "16", "-p", "48", "16"]
    options = ["--method", "colour", "--model", "none", "--set", "reach=1", "--json", "-o", str(tmp_path / "out")]
    done = semcorr(installed, "match", str(tmp_path / "a.png"), str(tmp_path / "b.png"), *points, *options)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["settings"]["reach"] == 1
    (red, green) = (point["target"] for point in document["targets"][0]["points"])
    assert red[0] > 32 < red[1]
    assert green[0] < 32 < green[1]
    assert len(list((tmp_path / "out").glob("*.png"))) == 1


@pytest.mark.slow
def test_it_is_measured_and_listed(installed: Path, tmp_path: Path):
    options = [
        "--method",
        "colour",
        "--limit",
        "2",
        "-o",
        str(tmp_path / "run"),
        "--json",
        "--data",
        str(tmp_path / "toy"),
    ]
    done = semcorr(installed, "eval", "toy", *options)
    assert done.returncode == 0, done.stderr
    assert "colour" in (tmp_path / "run" / "run.json").read_text()
    assert "colours:ColourMatcher" in semcorr(installed, "doctor").stdout


@pytest.mark.slow
def test_a_misspelt_setting_is_an_error(installed: Path):
    done = semcorr(installed, "eval", "toy", "--method", "colour", "--set", "reech=1")
    assert done.returncode == 2
    assert "Did you mean 'reach'?" in done.stderr


@pytest.mark.slow
def test_a_package_whose_method_is_not_there_is_named(tmp_path: Path):
    about = tmp_path / "gone-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: gone\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[semcorr.methods]\ngone = no_such_module:Matcher\n")
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    done = semcorr(tmp_path, "match", *[str(tmp_path / "a.png")] * 2, "-p", "1", "1", "--method", "gone")
    assert done.returncode == 2
    assert "Method 'gone' cannot be loaded from 'no_such_module:Matcher': ModuleNotFoundError" in done.stderr
