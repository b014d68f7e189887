"""Set up every test: shapes are checked at run time, no network is reached, no user's cache is read."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The duration of an example depends on the machine more than on the code; CI draws the same examples every time.
hypothesis.settings.register_profile("semcorr", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("semcorr")
# Failing mutants are not examined, and there are many.
_PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
hypothesis.settings.register_profile("mutation", deadline=None, derandomize=True, max_examples=25, phases=_PHASES)

# Before anything imports huggingface_hub, which reads these once.
_HUB = tempfile.TemporaryDirectory(prefix="semcorr-hub-")
atexit.register(_HUB.cleanup)
os.environ["HF_HOME"] = _HUB.name
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
for _name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "HF_TOKEN"):
    os.environ.pop(_name, None)

from jaxtyping import install_import_hook  # noqa: E402

_HOOK = install_import_hook(["semcorr", "benchmarks", "tools.toy_model"], "runtime_types.checker")

# torch.testing imports it at its first comparison: here once, instead of in each of a thousand forks for mutants.
import sympy  # noqa: E402, F401
import torch  # noqa: E402

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session", autouse=True)
def _threads_of_a_worker() -> None:
    """Test processes share the cores, so each gets one thread, or ``SEMCORR_TEST_THREADS``."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(int(os.environ.get("SEMCORR_TEST_THREADS", "1")))


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of recorded runs."""
    return GOLDEN


@pytest.fixture(scope="session")
def tiny_sd() -> Path:
    """A diffusers folder with Stable Diffusion 1.4's topology, a few channels wide, random weights."""
    return GOLDEN / "tiny-sd"


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The folder of photographs that ``SEMCORR_TEST_DATA`` names; without it the test is skipped."""
    root = os.environ.get("SEMCORR_TEST_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("SEMCORR_TEST_DATA does not name a folder")
    return Path(root)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path; without it, Playwright or uvicorn the tests that need a page are skipped, visibly."""
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    pytest.importorskip("playwright", reason="Playwright is not installed: pip install playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("There is no Chromium to test the page with: apt-get install chromium")
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    from app.browsing import ARGUMENTS

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield opened
        opened.close()
