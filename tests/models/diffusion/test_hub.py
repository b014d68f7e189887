"""The hub path, with the real client against a local server: fetch once, find again, refuse clearly.

The client reads its settings when it is imported, so it runs in processes of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.diffusion.hub_stand_in import GATED, HubStandIn
from models.diffusion.networks import make_unet
from models.diffusion.test_load import add_text
from semcorr.errors import ModelError
from semcorr.models.diffusion import DiffusionModel

CLIENT = """
import json, sys, warnings
warnings.simplefilter("error")
from semcorr.models.diffusion import DiffusionModel
from semcorr.errors import ModelError

def load(model, revision=None, prompt=None, cancel=False, **options):
    calls = []
    def progress(stage, done, total, **info):
        calls.append([stage, done, total, info["file"]])
        if cancel and done:
            raise KeyboardInterrupt
    try:
        network = DiffusionModel.from_pretrained(model, revision=revision, device="cpu", progress=progress, **options)
        text = None if prompt is None else list(network.encode_text([prompt]).shape)
        return {"id": network.model_id, "revision": network.revision, "fingerprint": network.fingerprint,
                "family": network.family, "text": text, "calls": calls}
    except ModelError as error:
        return {"error": str(error)}
    except KeyboardInterrupt:
        return {"cancelled": True}

print(json.dumps([load(**wish) for wish in json.loads(sys.argv[1])]))
"""


def client(address: str, cache: Path, *wishes: dict[str, Any], **environment: str) -> list[dict[str, Any]]:
    """Load models in a fresh process; what it writes to standard error is an error."""
    settings = {"HF_ENDPOINT": address, "HF_HOME": str(cache), "OMP_NUM_THREADS": "1", **environment}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, json.dumps(wishes)],
        env=kept | settings,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


@pytest.fixture(scope="module")
def repositories(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    tiny = Path(shutil.copytree(folders["sd1"], root / "tiny" / "sd"))
    # What a real repository has besides, and nobody here needs.
    for name in ("README.md", "sd-v1-4.ckpt", "unet/diffusion_pytorch_model.bin", "safety_checker/model.safetensors"):
        (tiny / name).parent.mkdir(exist_ok=True)
        (tiny / name).write_bytes(b"x" * 1000)
    make_unet("sd1").half().save_pretrained(tiny / "unet", variant="fp16")
    add_text(tiny)
    pickled = Path(shutil.copytree(folders["sd1"], root / "tiny" / "pickled"))
    (pickled / "unet" / "diffusion_pytorch_model.safetensors").rename(pickled / "unet" / "diffusion_pytorch_model.bin")
    (root / "tiny" / "other" / "transformer").mkdir(parents=True)
    (root / "tiny" / "other" / "transformer" / "config.json").write_text("{}")
    return root


NEEDED = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/tokenizer_config.json",
    "unet/config.json",
    "vae/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
}


TEXT = {"text_encoder/model.safetensors", "tokenizer/tokenizer.json"}


@pytest.mark.slow
def test_downloaded_once_read_from_the_cache_and_refused_when_absent(repositories: Path, tmp_path: Path) -> None:
    with HubStandIn(repositories) as hub:
        commit = hub.commit("tiny/sd")
        first, again, by_commit, prompted = client(
            hub.address,
            tmp_path,
            {"model": "tiny/sd"},
            {"model": "tiny/sd"},
            {"model": "tiny/sd", "revision": commit},
            {"model": "tiny/sd", "prompt": "a cat"},
        )
    # Each needed file once and nothing else of the repository; the text encoder when it was requested.
    assert sorted(hub.files_asked_for()) == sorted(NEEDED | TEXT)
    # One listing for the network and one for the text encoder: what is in the cache is not asked about.
    assert sum(request.startswith("GET /api/models/tiny/sd") for request in hub.requests) == 2
    assert prompted["text"] == [1, 32, 128]

    # Progress counts bytes over all files, without a step back, to the very end.
    total = sum((repositories / "tiny/sd" / name).stat().st_size for name in NEEDED)
    assert {(stage, in_all) for stage, _, in_all, _ in first["calls"]} == {("download", total)}
    done = [call[1] for call in first["calls"]]
    assert (done[0], done[-1]) == (0, total)
    assert done == sorted(done)
    assert {name for *_, name in first["calls"]} == NEEDED
    assert again["calls"] == []

    # The server is gone now.
    offline, absent, forbidden, other = client(
        hub.address,
        tmp_path,
        {"model": "tiny/sd", "prompt": "a cat"},
        {"model": "tiny/absent"},
        {"model": "tiny/absent", "local_files_only": True},
        {"model": "tiny/sd", "revision": "v2"},
    )
    for result in (first, again, by_commit, prompted, offline):
        assert (result["id"], result["revision"], result["family"]) == ("tiny/sd", commit, "sd1")
        assert result["fingerprint"] == first["fingerprint"]
    for result, name, reason in (
        (absent, "tiny/absent", "ConnectError"),
        (forbidden, "tiny/absent", "no download was allowed (local_files_only)"),
        (other, "tiny/sd at revision v2", "ConnectError"),
    ):
        what, where, how = result["error"].splitlines()
        assert what == f"The checkpoint {name} is not on this machine and could not be downloaded."
        assert f"the cache {tmp_path}" in where
        assert hub.address in where
        assert reason in where
        assert "the bundled model 'toy'" in how


def test_offline_by_the_hubs_own_switch() -> None:
    # It is set for all tests.
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        DiffusionModel.from_pretrained("tiny/absent", device="cpu")


@pytest.mark.slow
def test_what_the_hub_refuses_and_what_is_refused_of_it(repositories: Path, tmp_path: Path) -> None:
    with HubStandIn(repositories) as hub:
        unknown, gated, revision, pickled, other, cancelled, resumed = client(
            hub.address,
            tmp_path,
            {"model": "tiny/nothing"},
            {"model": GATED},
            {"model": "tiny/sd", "revision": "v2"},
            {"model": "tiny/pickled"},
            {"model": "tiny/other"},
            {"model": "tiny/sd", "cancel": True},
            {"model": "tiny/sd"},
        )
        assert "Unknown model 'tiny/nothing': there is no such public repository" in unknown["error"]
        assert f"accept it on {hub.address}/{GATED}" in gated["error"]
        assert revision["error"] == f"tiny/sd has no revision 'v2' at {hub.address}."
    assert "only as a pickle" in pickled["error"]
    assert not any("pickled" in request and "/resolve/" in request for request in hub.requests)
    assert "it has no transformer/ with config.json and safetensors weights" in other["error"]
    # A download that was broken off does not count as a copy, and is taken up again.
    assert cancelled == {"cancelled": True}
    assert resumed["family"] == "sd1"
