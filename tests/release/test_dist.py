"""The wheel and the sdist: what is in them, what they say of themselves, and that one makes the other."""

import email
import hashlib
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from trove_classifiers import classifiers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that is made of it; in ``tree``, the wheel that is made of the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    for arguments in (["--outdir", folder], ["--wheel", "--outdir", folder / "tree"]):
        command = [sys.executable, "-m", "build", "--no-isolation", *map(str, arguments), str(ROOT)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def only(folder: Path, pattern: str) -> Path:
    (file,) = folder.glob(pattern)
    return file


def test_the_wheel_is_the_package_and_nothing_else(built: Path) -> None:
    package = ROOT / "src" / "semcorr"
    files = [file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    expected = {f"semcorr/{file.relative_to(package).as_posix()}": file.read_bytes() for file in files}
    with zipfile.ZipFile(only(built, "*.whl")) as wheel:
        got = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert got.keys() == expected.keys()
    assert [name for name in got if got[name] != expected[name]] == []
    # What no import would miss.
    for name in ("py.typed", "transfer/review.html", "app/page/viewport.js", "toy/weights/toy/semcorr.json"):
        assert f"semcorr/{name}" in got


def test_the_sdist_makes_the_wheel_that_the_checkout_makes(built: Path) -> None:
    one, other = (hashlib.sha256(only(folder, "*.whl").read_bytes()) for folder in (built, built / "tree"))
    assert one.hexdigest() == other.hexdigest()


def test_the_sdist_can_be_worked_on(built: Path) -> None:
    with tarfile.open(only(built, "*.tar.gz")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout: there is nothing to compare with")
    # A file that was deleted and not committed yet is listed still.
    missing = {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()} - names
    assert {name for name in missing if not name.startswith(".ci/")} == set()


def test_the_wheel_says_what_pyproject_says(built: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheel = only(built, "*.whl")
    with zipfile.ZipFile(wheel) as archive:
        about = f"semcorr-{project['version']}.dist-info"
        text = archive.read(f"{about}/METADATA")
        entry_points = archive.read(f"{about}/entry_points.txt").decode()
        assert b"Apache License" in archive.read(f"{about}/licenses/LICENSE")
    metadata = Metadata.from_email(text, validate=True)
    assert str(metadata.version) == project["version"]
    assert metadata.license_expression == "Apache-2.0"
    assert metadata.requires_python == project["requires-python"]
    assert set(metadata.provides_extra or ()) == set(project["optional-dependencies"])
    assert set(metadata.classifiers or ()) <= classifiers
    assert metadata.description == (ROOT / "README.md").read_text(encoding="utf-8")
    assert email.message_from_bytes(text)["Description-Content-Type"] == "text/markdown"
    assert entry_points.split() == ["[console_scripts]", "semcorr", "=", "semcorr.cli:main"]
