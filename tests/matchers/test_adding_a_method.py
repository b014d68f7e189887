"""The walk-through's own code, installed outside the package, does what the walk-through says."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.cli import main
from semcorr.errors import QueryError
from semcorr.matchers.load import load_matcher
from semcorr.matchers.results import Query

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


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The walk-through's module in the current folder, which is not on the path yet."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (tmp_path / "own_colours.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "own_colours", raising=False)
    return "own_colours:ColourMatcher"


def test_a_class_is_a_method_without_a_package(own_module: str, capsys: pytest.CaptureFixture[str]):
    PIL.Image.fromarray(np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)).save("a.png")
    options = ["--method", own_module, "--model", "none"]
    assert main(["describe", "a.png", "-p", "9", "20", "-o", "a.safetensors", *options]) == 0
    query = Query.load("a.safetensors")
    assert query.method == "colour"
    located = load_matcher(own_module, "none").locate(query, "a.png")
    assert main(["locate", "a.safetensors", "a.png", "--method", own_module, "--arrays", "a.npz"]) == 0
    with np.load("a.npz") as arrays:
        np.testing.assert_array_equal(arrays["points"][0], located.points)
    capsys.readouterr()
    assert main(["locate", "a.safetensors", "a.png"]) == 2
    assert "Unknown method 'colour'" in capsys.readouterr().err
    assert main(["match", "a.png", "a.png", "-p", "9", "20", "--method", "own_colours:ColorMatcher"]) == 2
    message = "cannot be loaded from 'own_colours:ColorMatcher': AttributeError"
    assert message in capsys.readouterr().err
    assert main(["match", "a.png", "a.png", "-p", "9", "20", "--method", "no_such:Matcher"]) == 2
    assert "Expected 'module:Class', with the module in this folder or on PYTHONPATH." in capsys.readouterr().err
    assert main(["match", "a.png", "a.png", "-p", "9", "20", "--method", "json:dumps"]) == 2
    assert "has no from_pretrained" in capsys.readouterr().err


def test_a_query_cannot_name_a_class_that_loading_would_import(own_module: str):
    matcher = load_matcher(own_module, "none")
    query = matcher.describe(PIL.Image.new("RGB", (32, 32)), [(3, 4)])
    path = dataclasses.replace(query, method=own_module).save("bad.safetensors")
    with pytest.raises(QueryError, match="which is no name"):
        Query.load(path)


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
