from pathlib import Path

import pytest

from semcorr.matchers.base import Matcher
from semcorr.matchers.collection.collect import CollectionSummary, collect
from windows import SETTINGS, SPEC, write_images


@pytest.fixture(scope="session")
def backbone() -> Matcher:
    return SPEC.load()


@pytest.fixture(scope="session")
def collection(
    backbone: Matcher, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], Path, CollectionSummary]:
    """The images, the folder, and what the training said."""
    folder = tmp_path_factory.mktemp("collection")
    paths = write_images(folder)
    return paths, folder / "trained", collect(backbone, SPEC, paths, folder / "trained", SETTINGS)
