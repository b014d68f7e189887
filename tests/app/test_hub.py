"""``semcorr app --model HUB_ID``: the model is downloaded before the page opens, and nothing after that."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deadline import DEADLINE
from models.diffusion.hub_stand_in import HubStandIn
from models.diffusion.networks import save_checkpoint
from models.diffusion.test_load import add_text
from semcorr.app.matchers import LoadedMatchers
from semcorr.errors import ModelError
from semcorr.matchers.spec import MatcherSpec

# As `python -m semcorr app`, but listening to Ctrl-C: a test run in the background inherits that it is ignored.
COMMAND = (
    "import sys, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from semcorr.cli import main; sys.exit(main(['app', '--port', '0', *sys.argv[1:]]))"
)


def page(hub: HubStandIn, cache: Path, *options: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    settings = {"HF_ENDPOINT": hub.address, "HF_HOME": str(cache), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", COMMAND, "--works", str(cache / "works"), *options]
    return subprocess.Popen(
        command,
        env=kept | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    add_text(save_checkpoint(root / "tiny" / "sd", "sd1"))
    return root


@pytest.mark.slow
def test_a_hub_id_is_downloaded_before_the_page_opens(repositories: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    with HubStandIn(repositories) as hub:
        for round_ in ("first", "again"):
            process = page(hub, tmp_path, "--model", "tiny/sd", "--method", "dift", "--set", "samples=1")
            assert process.stdout is not None
            assert "The page is at http://localhost:" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, written = process.communicate(timeout=DEADLINE)
            assert process.returncode == 130
            assert ("Downloading " in written) == (round_ == "first")
    fetched = hub.files_asked_for()
    # The network and, for words, the text encoder: each once.
    for part in ("unet", "vae"):
        assert fetched.count(f"{part}/diffusion_pytorch_model.safetensors") == 1
    assert fetched.count("text_encoder/model.safetensors") == 1
    assert "tokenizer/tokenizer.json" in fetched


@pytest.mark.slow
def test_a_download_is_stopped_by_ctrl_c(repositories: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    with HubStandIn(repositories, stall="unet/diffusion_pytorch_model.safetensors") as hub:
        process = page(hub, tmp_path, "--model", "tiny/sd", "--method", "dift")
        deadline = time.monotonic() + DEADLINE
        while not any("unet/diffusion_pytorch_model" in name for name in hub.files_asked_for()):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, written = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert "Stopped." in written
    assert "Traceback" not in written


def test_nothing_is_downloaded_for_a_visitor() -> None:
    matchers = LoadedMatchers(MatcherSpec(model="tiny/absent", method="dift", options={"samples": 1}))
    with pytest.raises(ModelError, match="no download was allowed"):
        matchers.get(matchers.offered("dift", None))
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):  # set for all tests; else it would ask the hub
        matchers.start()
