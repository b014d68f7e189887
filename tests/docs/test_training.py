"""The page on training does what it says: its data set trains a model, with Ultralytics' own command."""

import os
import shutil
import sysconfig
from pathlib import Path

import pytest

from docs.pages import run

PAGE = Path(__file__).parents[2] / "docs" / "training.md"
PYTHON = os.environ.get("SEMCORR_IMPORTERS_PYTHON", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="SEMCORR_IMPORTERS_PYTHON names no Python with Ultralytics: make test-slow"),
]


def test_the_page_trains_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "bin" / "yolo"
    command.parent.mkdir()
    script = Path(__file__).with_name("yolo.py")
    command.write_text(f'#!/bin/sh\nexec "{PYTHON}" "{script}" "{sysconfig.get_path("purelib")}" "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(command.parent), os.environ["PATH"]]))
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "settings"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    folder = tmp_path / "page"
    folder.mkdir()
    monkeypatch.chdir(folder)
    run(PAGE, folder)
    if images := os.environ.get("SEMCORR_DOC_IMAGES"):
        shutil.copy(folder / "runs" / "pose" / "train" / "train_batch0.jpg", Path(images, "yolo-train-batch.jpg"))
