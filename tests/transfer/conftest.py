"""Small drawings in COCO's format, and a method that takes a fraction of a second per image."""

import pytest

from predictions import record  # noqa: F401  # a fixture
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.toy.coco import ToyWorld, write_coco


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> ToyWorld:
    """Two annotated faces and four others, 96 pixels wide."""
    folder = tmp_path_factory.mktemp("toy") / "coco"
    return write_coco(folder, categories=("face",), support=2, targets=4, size=96)


@pytest.fixture(scope="session")
def dift() -> Matcher:
    return load_matcher("dift", "toy", samples=1, device="cpu", calibration="none")
