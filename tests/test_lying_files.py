"""Files that claim more than they have: refused, in no time, before anything is built or read."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.fuzzing import corpus, networks
from benchmarks.replay import read_record
from semcorr.datasets import own, pf_willow, spair
from semcorr.errors import DatasetError, ImageError, ModelError, QueryError
from semcorr.imaging.geometry import Crop
from semcorr.imaging.image import known_formats, load_image
from semcorr.matchers.prompt.latent_cache import CachedLatents, LatentCache
from semcorr.models.diffusion.load import load_checkpoint
from semcorr.models.diffusion.load_single_file import unet_widths, vae_widths
from semcorr.models.dino import VisionModel
from semcorr.models.weights import check_files, check_layers

BILLION = 10**9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    networks.save_diffusion(tmp_path / "sd")
    return tmp_path / "sd"


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("unet/config.json", {"layers_per_block": BILLION}),
        ("unet/config.json", {"layers_per_block": [1, BILLION]}),
        ("unet/config.json", {"transformer_layers_per_block": BILLION}),
        ("unet/config.json", {"transformer_layers_per_block": [[1, BILLION], 1]}),
        ("unet/config.json", {"sample_size": BILLION}),
        ("vae/config.json", {"layers_per_block": BILLION}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": BILLION}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 0}),
    ],
)
def test_a_checkpoint_with_more_than_its_weights_is_not_built(folder: Path, file: str, changes: dict[str, Any]) -> None:
    change(folder / file, **changes)
    with pytest.raises(ModelError, match=r"layers, and its files|num_train_timesteps is|latents of no one size"):
        load_checkpoint(folder)


def test_a_vision_transformer_with_more_layers_than_weights_is_not_built(tmp_path: Path) -> None:
    networks.save_vision(tmp_path)
    change(tmp_path / "config.json", num_hidden_layers=BILLION)
    with pytest.raises(ModelError, match="1,000,000,000 layers, and its files"):
        VisionModel.from_pretrained(tmp_path)


def test_layers_are_counted() -> None:
    check_layers({"layers_per_block": 2, "block_out_channels": [1, 2], "transformer_layers_per_block": [1, 3]}, 12)
    with pytest.raises(ValueError, match="has 12 layers, and its files 11 weights"):
        check_layers({"layers_per_block": 2, "block_out_channels": [1, 2], "transformer_layers_per_block": [1, 3]}, 11)


@pytest.mark.parametrize(
    "name", ["../../secret.safetensors", "/etc/passwd", "diffusion_pytorch_model-9-of-9.safetensors"]
)
def test_an_index_names_the_shards_beside_it_alone(tmp_path: Path, name: str) -> None:
    networks.save_diffusion(tmp_path / "sd", "20KB")
    load_checkpoint(tmp_path / "sd")
    index = tmp_path / "sd" / "unet" / networks.INDEX
    weights = json.loads(index.read_text())["weight_map"]
    change(index, weight_map=weights | {next(iter(weights)): name})
    with pytest.raises(ModelError, match="names other files than"):
        load_checkpoint(tmp_path / "sd")


@pytest.mark.parametrize("content", ["[]", '{"weight_map": []}', "{}", '{"weight_map": {"a": {"b": 1}}}'])
def test_an_index_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises((ValueError, TypeError)):
        check_files(tmp_path, ["a.json"], {})


def test_weights_are_real_numbers(folder: Path) -> None:
    """Libraries would drop a part of the others, with a warning at most."""
    weights = folder / "unet" / networks.WEIGHTS
    tensors = load_file(weights)
    tensors["conv_in.weight"] = tensors["conv_in.weight"].to(torch.complex64)
    save_file(tensors, folder / "other.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"conv_in\.weight holds complex numbers"):
        load_checkpoint(f"{folder}+{folder / 'other.safetensors'}")
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"conv_in\.weight holds complex numbers"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("widths", "name"),
    [
        (lambda shapes: unet_widths(shapes, "sd1"), f"input_blocks.{BILLION}.0.op.weight"),
        (vae_widths, f"encoder.down.{BILLION}.block.0.conv1.weight"),
    ],
)
def test_names_of_weights_do_not_count_to_a_billion(widths: Callable[[Any], object], name: str) -> None:
    first = {"encoder.down.0.block.0.conv1.weight": (4, 4, 3, 3), "input_blocks.0.0.weight": (4, 4, 3, 3)}
    with pytest.raises(ValueError, match="1,000,000,001"):
        widths(first | {name: (4, 4)})


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "record.safetensors"
    path.write_bytes(corpus.record()[0])
    return path


def test_a_record_whose_shapes_fit_is_read(record: Path) -> None:
    tensors, reader = read_record(networks.model(), record)
    assert (reader.resolution, tuple(tensors["noise"].shape)) == (8, (5, 1, 4, 8, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": torch.zeros(4, 1, 4, 8, 8)}, "'noise' has shape"),
        ({"crop": torch.zeros(5, 3)}, "'crop' has shape"),
        ({"noise": torch.zeros(5, 1, 4, 8, 8, dtype=torch.complex64)}, "complex numbers"),
        ({"crop": torch.tensor([[0, 0, 9, 7]] * 5)}, "outside of its frame"),
        ({"crop": torch.tensor([[-1, 0, 7, 7]] * 5)}, "outside of its frame"),
        ({"src_kps": torch.zeros(2, 0)}, "'src_kps' has shape"),
        ({"src_kps": torch.tensor([[2.0], [9.0]])}, "outside of its frame"),
        ({"src_kps": torch.tensor([[2.0], [float("nan")]])}, "not finite"),
        ({"context_init": torch.zeros(1, 77, 9)}, "'context_init' has shape"),
        ({"contexts": torch.zeros(1, 1, 77, 8)}, "'contexts' has shape"),
        ({"upsample_res": BILLION}, "a resolution of"),
        ({"upsample_res": float("inf")}, "OverflowError"),
        ({"timesteps": [1] * 50}, "time step"),
        ({"timesteps": {"a": 1}}, "ValueError"),
        ({"sigma": "x"}, "TypeError"),
    ],
)
def test_a_record_that_lies_is_refused(record: Path, changes: dict[str, Any], message: str) -> None:
    size = int.from_bytes(record.read_bytes()[:8], "little")
    metadata = json.loads(record.read_bytes()[8 : 8 + size])["__metadata__"]
    tensors = load_file(record)
    for name, value in changes.items():
        if isinstance(value, torch.Tensor):
            tensors[name] = value
        elif name == "timesteps":
            metadata[name] = json.dumps(value)
        else:
            metadata["hyperparameters"] = json.dumps(json.loads(metadata["hyperparameters"]) | {name: value})
    save_file(tensors, record, metadata=metadata)
    with pytest.raises(QueryError, match=message):
        read_record(networks.model(), record)


@pytest.mark.parametrize("latent", [torch.zeros(4, 8, 9), torch.zeros(4, 8, 8, dtype=torch.bfloat16)])
def test_a_latent_of_another_shape_or_type_is_none(tmp_path: Path, latent: torch.Tensor) -> None:
    crop, file = Crop(left=0, top=0, width=8, height=8), tmp_path / "0-0-8-8.safetensors"
    kept = CachedLatents(LatentCache(tmp_path), tmp_path, (4, 8, 8))
    kept.put(crop, torch.ones(4, 8, 8))
    assert kept.get(crop) is not None
    save_file({"latent": latent}, file, metadata={"check": "0"})
    assert kept.get(crop) is None


@pytest.mark.parametrize("kind", ["TGA", "PCX", "ICO", "PDF"])
def test_other_decoders_of_pillow_are_not_asked(tmp_path: Path, kind: str) -> None:
    PIL.Image.new("RGB", (32, 32), "red").save(tmp_path / "image", format=kind)
    with pytest.raises(ImageError, match="not an image file of a supported format"):
        load_image(tmp_path / "image")


def test_avif_is_read_where_pillow_has_it(tmp_path: Path) -> None:
    if "AVIF" not in known_formats():
        pytest.skip("this Pillow has no AVIF")
    pixels = np.full((32, 32, 3), 200, dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "image.avif", format="AVIF")
    assert np.abs(load_image(tmp_path / "image.avif").pixels.astype(int) - 200).max() <= 2


@pytest.mark.parametrize("what", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, what: str) -> None:
    """A pipe would never answer, and a device never end."""

    def put(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if what == "pipe":
            os.mkfifo(path)
        elif what == "device":
            path.symlink_to("/dev/zero")
        else:
            path.mkdir()

    put(tmp_path / "own" / "file.json")
    with pytest.raises(DatasetError, match="a pipe or a device"):
        own.load(tmp_path / "own")
    put(tmp_path / "spair" / "Layout" / "large" / "test.txt")
    (tmp_path / "spair" / "PairAnnotation").mkdir()
    with pytest.raises(DatasetError, match=r"a pipe or a device|expected"):
        spair.load(tmp_path / "spair")
    put(tmp_path / "willow" / "test_pairs_pf.csv")
    with pytest.raises(DatasetError):
        pf_willow.load(tmp_path / "willow")
    put(tmp_path / "image.png")
    with pytest.raises(ImageError):
        load_image(tmp_path / "image.png")
