"""What a transfer predicts for one image, to be written in each format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semcorr.keypoints import PredictedObject, TransferRecord


@pytest.fixture
def record() -> Callable[..., TransferRecord]:
    """A record of one cat with an ear, an uncertain tail and a paw that no support shows."""

    def make(**changes: Any) -> TransferRecord:
        fields = {
            "category": "cat",
            "names": ("ear", "tail", "paw"),
            "points": np.array([[10.5, 20.5], [30.25, 40.75], [np.nan, np.nan]]),
            "confidence": np.array([0.9, 0.3, 0.0]),
            **changes,
        }
        return TransferRecord(file="b.png", path=Path("b.png"), size=(100, 50), objects=(PredictedObject(**fields),))

    return make
