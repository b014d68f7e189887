"""Load networks from a local hub in a fresh process: the hub's client reads its settings when it is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_CLIENT = """
import json, sys, warnings
warnings.simplefilter("error")
from importlib import import_module
from semcorr.errors import ModelError
module, kind, *names = sys.argv[1:]
network = getattr(import_module(module), kind)

def load(name):
    calls = []
    try:
        result = network.from_pretrained(name, device="cpu", progress=lambda *step, **info: calls.append(step))
        return {"id": result.model_id, "revision": result.revision, "kind": result.family, "calls": calls}
    except ModelError as error:
        return {"error": str(error), "calls": calls}

print(json.dumps([load(name) for name in names]))
"""


def load_in_client(kind: type, address: str, cache: Path, *names: str) -> list[dict[str, Any]]:
    """Load networks of a class, one after the other; what the process writes to standard error is an error."""
    settings = {"HF_ENDPOINT": address, "HF_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, kind.__module__, kind.__name__, *names],
        env=kept | settings,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result: list[dict[str, Any]] = json.loads(done.stdout)
    return result
