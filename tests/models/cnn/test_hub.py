"""The hub path, with the real client against a local server: timm's layout, and no weights of another network."""

from pathlib import Path

from models.cnn.networks import save_timm, timm_vgg
from models.diffusion.hub_stand_in import HubStandIn
from models.hub_client import load_in_client
from semcorr.models.cnn import ConvolutionalModel


def test_a_network_is_downloaded_and_another_kind_refused_before_its_weights(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    name, other = "tiny/vgg19.tv_in1k", "tiny/vit"
    save_timm(root / name, "vgg19", timm_vgg("vgg19"))
    (root / name / "pytorch_model.bin").write_bytes(b"x" * 1000)
    save_timm(root / other, "vit_base_patch16_224", timm_vgg("vgg11"))
    with HubStandIn(root) as hub:
        first, refused = load_in_client(ConvolutionalModel, hub.address, tmp_path / "cache", name, other)
    assert (first["id"], first["kind"], first["revision"]) == (name, "vgg19", hub.commit(name))
    assert "tiny/vit is a network of type 'vit_base_patch16_224'." in refused["error"]
    assert hub.files_asked_for() == ["config.json", "model.safetensors", "config.json"]
