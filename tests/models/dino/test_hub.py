"""The hub path, with the real client against a local server: what is needed, once, and no pickles.

The client reads its settings when it is imported, so it runs in a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from models.diffusion.hub_stand_in import HubStandIn
from models.dino.networks import save_folder

CLIENT = """
import json, sys, warnings
warnings.simplefilter("error")
from semcorr.errors import ModelError
from semcorr.models.dino import VisionModel

def load(name):
    calls = []
    try:
        result = VisionModel.from_pretrained(name, device="cpu", progress=lambda *step, **info: calls.append(step))
        return {"id": result.model_id, "revision": result.revision, "kind": result.family, "calls": calls}
    except ModelError as error:
        return {"error": str(error)}

print(json.dumps([load(name) for name in sys.argv[1:]]))
"""


def client(address: str, cache: Path, *names: str) -> list[dict[str, Any]]:
    """Load models in a fresh process; what it writes to standard error is an error."""
    settings = {"HF_ENDPOINT": address, "HF_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, *names], env=kept | settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result: list[dict[str, Any]] = json.loads(done.stdout)
    return result


def test_what_is_needed_is_downloaded_once_and_pickles_never(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    save_folder(root / "tiny" / "dino", "vit", preprocessor={"image_mean": [0.5, 0.5, 0.5]})
    save_folder(root / "tiny" / "pickled", "vit")
    (root / "tiny" / "pickled" / "model.safetensors").rename(root / "tiny" / "pickled" / "pytorch_model.bin")
    for name in ("README.md", "pytorch_model.bin", "tf_model.h5"):
        (root / "tiny" / "dino" / name).write_bytes(b"x" * 1000)
    with HubStandIn(root) as hub:
        first, again, pickled = client(hub.address, tmp_path / "cache", "tiny/dino", "tiny/dino", "tiny/pickled")
    needed = ["config.json", "preprocessor_config.json", "model.safetensors"]
    assert hub.files_asked_for() == needed
    sizes = [(root / "tiny" / "dino" / name).stat().st_size for name in needed]
    assert first["calls"][0] == ["download", 0, sum(sizes)]
    assert first["calls"][-1] == ["download", sum(sizes), sum(sizes)]
    assert again["calls"] == []
    for result in (first, again):
        assert (result["id"], result["kind"], result["revision"]) == ("tiny/dino", "vit", hub.commit("tiny/dino"))
    assert "tiny/pickled cannot be loaded: the weights are pickled (pytorch_model.bin)" in pickled["error"]
    assert "refs/pr/1" in pickled["error"]
