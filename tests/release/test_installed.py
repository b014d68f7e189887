"""The wheel in an environment of its own, far from the checkout and without extras. `make release-test` makes it."""

import json
import os
import subprocess
import tomllib
from pathlib import Path

import PIL.Image
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


@pytest.fixture(scope="module")
def python() -> Path:
    """The environment's interpreter, which ``SEMCORR_RELEASE_PYTHON`` names."""
    named = os.environ.get("SEMCORR_RELEASE_PYTHON")
    if not named:
        pytest.skip("SEMCORR_RELEASE_PYTHON names no interpreter: make release-test")
    return Path(named)


def ran(python: Path, home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the ``semcorr`` that pip put beside the interpreter, in ``home``, with nothing in its environment."""
    return plain([python.with_name("semcorr"), *words], home)


def plain(command: list[object], home: Path) -> subprocess.CompletedProcess[str]:
    alone = {"HOME": str(home), "PATH": os.defpath, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=home, env=alone, capture_output=True, text=True, timeout=500)


def test_nothing_comes_from_the_checkout(python: Path, tmp_path: Path) -> None:
    program = (
        "import sys, json, semcorr.cli.main, semcorr.matchers.registry, semcorr.transfer, semcorr.toy.scenes\n"
        "files = [getattr(module, '__file__', None) or '' for module in list(sys.modules.values())]\n"
        "print(json.dumps([semcorr.__file__, [f for f in files + sys.path if f.startswith(sys.argv[1])]]))"
    )
    done = plain([python, "-c", program, f"{ROOT}/"], tmp_path)
    assert done.returncode == 0, done.stderr
    location, ours = json.loads(done.stdout)
    assert Path(location).is_relative_to(python.parents[1])
    assert ours == []


def test_the_version(python: Path, tmp_path: Path) -> None:
    assert ran(python, tmp_path, "--version").stdout == f"{VERSION}\n"


def test_the_demo(python: Path, tmp_path: Path) -> None:
    done = ran(python, tmp_path, "demo", "--output", "demo.png")
    assert done.returncode == 0, done.stderr
    assert " points lie within 0.1" in done.stdout
    with PIL.Image.open(tmp_path / "demo.png") as image:
        image.load()


def test_the_doctor_knows_what_is_missing(python: Path, tmp_path: Path) -> None:
    done = ran(python, tmp_path, "doctor", "--json")
    assert done.returncode == 0, done.stderr
    findings = {(each["topic"], each["name"]): each for each in json.loads(done.stdout)["findings"]}
    assert findings["software", "semcorr"]["detail"] == VERSION
    assert findings["model", "toy"]["usable"]
    assert findings["model", "toy-plain"]["usable"]
    for extra in ("app", "ray", "eval", "sleap"):
        assert not findings["extra", extra]["usable"]
        assert f"pip install 'semcorr[{extra}]'" in findings["extra", extra]["detail"]


@pytest.fixture(scope="module")
def home(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what works without extras: points carried over, a review page, a benchmark run and its report."""
    folder = tmp_path_factory.mktemp("home")
    dift = ("--method", "dift", "--model", "toy")
    carry = ("transfer", "world/annotations.json", "--images", "world/images", "-o", "found.json")
    for words in (
        ("toy", "coco", "world", "--category", "bird", "--support", 1, "--targets", 1),
        (*carry, "--review", "review.html", *dift),
        ("eval", "toy", "--category", "bird", "--limit", 2, "-o", "run", *dift),
        ("report", "run"),
    ):
        done = ran(python, folder, *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    return folder


def test_what_needs_no_extra_works(home: Path) -> None:
    assert "</html>" in (home / "review.html").read_text(encoding="utf-8")
    document = json.loads((home / "found.json").read_text(encoding="utf-8"))
    assert any(any(each["keypoints"]) for each in document["annotations"])
    assert len(list((home / "run").rglob("*.jsonl"))) == 1


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("app --model toy", "app"),
        ("eval toy --limit 2 -o other --method dift --model toy --ray local", "ray"),
        ("score found.json world/truth.json", "eval"),
        ("calibrate run -o curve.json", "eval"),
    ],
)
def test_what_needs_an_extra_names_it(python: Path, home: Path, words: str, extra: str) -> None:
    done = ran(python, home, *words.split())
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert f'pip install "semcorr[{extra}]"' in done.stderr
