"""Small drawings in COCO's format, and a method that takes a fraction of a second a picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semcorr.annotations import FoundObject, TransferRecord
from semcorr.annotations.toy_world import ToyWorld, write_coco
from semcorr.matching import Matcher
from semcorr.methods import load_matcher


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> ToyWorld:
    """Two annotated faces and four others, 96 pixels wide."""
    folder = tmp_path_factory.mktemp("toy") / "coco"
    return write_coco(folder, categories=("face",), support=2, targets=4, size=96)


@pytest.fixture(scope="session")
def dift() -> Matcher:
    return load_matcher("dift", "toy", samples=1, device="cpu", calibration="none")


@pytest.fixture
def record() -> Callable[..., TransferRecord]:
    """A record of one cat with an ear that was found, a tail that was hardly found and a paw that no support shows."""

    def make(**changes: Any) -> TransferRecord:
        found = {
            "category": "cat",
            "names": ("ear", "tail", "paw"),
            "points": np.array([[10.5, 20.5], [30.25, 40.75], [np.nan, np.nan]]),
            "confidence": np.array([0.9, 0.3, 0.0]),
            **changes,
        }
        return TransferRecord(file="b.png", path=Path("b.png"), size=(100, 50), objects=(FoundObject(**found),))

    return make
