"""Works in memory and on the disk, without a server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')

from semcorr.app.limits import Limits
from semcorr.app.server.kept_works import KeptWorks
from semcorr.app.server.served_files import ServedFiles
from semcorr.app.server.sessions import Sessions


@pytest.fixture
def works(tmp_path: Path) -> Callable[..., Sessions]:
    """Makes the works of a process; all of a test share one folder, as after a restart."""

    def make(files: ServedFiles | None = None, **limits: Any) -> Sessions:
        return Sessions(files or ServedFiles(), Limits(**limits), KeptWorks(tmp_path / "works"))

    return make
