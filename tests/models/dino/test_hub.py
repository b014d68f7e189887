"""The hub path, with the real client against a local server: what is needed, once, and no pickles."""

from pathlib import Path

from models.diffusion.hub_stand_in import HubStandIn
from models.dino.networks import save_folder
from models.hub_client import load_in_client
from semcorr.models.dino import VisionModel


def test_what_is_needed_is_downloaded_once_and_pickles_never(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    save_folder(root / "tiny" / "dino", "vit", preprocessor={"image_mean": [0.5, 0.5, 0.5]})
    save_folder(root / "tiny" / "pickled", "vit")
    (root / "tiny" / "pickled" / "model.safetensors").rename(root / "tiny" / "pickled" / "pytorch_model.bin")
    for name in ("README.md", "pytorch_model.bin", "tf_model.h5"):
        (root / "tiny" / "dino" / name).write_bytes(b"x" * 1000)
    with HubStandIn(root) as hub:
        names = ("tiny/dino", "tiny/dino", "tiny/pickled")
        first, again, pickled = load_in_client(VisionModel, hub.address, tmp_path / "cache", *names)
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
