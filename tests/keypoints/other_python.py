"""The Python that has the tools' own readers; ``make importers`` makes it."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

PYTHON = os.environ.get("SEMCORR_IMPORTERS_PYTHON", "")
PACKAGES = sysconfig.get_path("purelib")
"""Of the Python that the tests run in: what both need is installed once."""
NEEDED = pytest.mark.skipif(
    not PYTHON, reason="SEMCORR_IMPORTERS_PYTHON names no Python with the readers: make test-slow"
)


def run(*command: str | Path, **environment: str) -> str:
    """What a command prints, with some variables of the environment set."""
    ran = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def ultralytics_environment(folder: Path) -> dict[str, str]:
    """Nothing is downloaded, and settings go into a folder."""
    return {"YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(folder / "settings"), "MPLCONFIGDIR": str(folder)}
