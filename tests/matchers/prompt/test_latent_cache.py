"""Latents on disk: found again to the last bit by whoever asks for the same, and by nobody else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from closeness import assert_close_to_scale
from semcorr.errors import SettingsError
from semcorr.imaging.geometry import Crop
from semcorr.imaging.image import Image
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, override
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.latent_cache import LatentCache
from semcorr.models.diffusion import DiffusionModel

POINTS = [(41.3, 62.9), (20, 20)]
CROP = Crop(1, 2, 60, 60)


@contextmanager
def encodings(model: DiffusionModel) -> Iterator[list[int]]:
    """How many images each run of the VAE's encoder is given."""
    seen: list[int] = []
    hook = model.vae.encoder.register_forward_hook(lambda module, given, result: seen.append(len(given[0])))
    try:
        yield seen
    finally:
        hook.remove()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def frame(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "changes", [{}, {"optimize_crops": 3, "optimize_noise": "shared"}, {"queries": "frozen"}], ids=str
)
def test_another_call_on_the_same_images_encodes_nothing_and_finds_the_same(
    model: DiffusionModel,
    settings: PromptSettings,
    source: Image,
    target: Image,
    tmp_path: Path,
    changes: dict[str, object],
):
    chosen = override(settings, **{"optimize_crops": 4, "neutral": "zeros", **changes})
    plain = PromptMatcher(model, chosen)
    query = plain.describe(source, POINTS)
    expected = plain.locate(query, target)
    for again in (False, True):
        matcher = PromptMatcher(model, chosen, latents_cache=tmp_path / "deep" / "cache")
        with encodings(model) as seen:
            described = matcher.describe(source, POINTS)
            matches = matcher.locate(query, target)
        assert bool(seen) is not again
        for name in ("embeddings", "losses"):
            assert np.array_equal(described.tensors[name], query.tensors[name])
        assert np.array_equal(matches.heatmaps, expected.heatmaps)
        assert matcher.identity() == plain.identity()


def test_a_crop_is_a_file_of_its_own_with_its_very_bits(model: DiffusionModel, tmp_path: Path):
    crops = [CROP, Crop(0, 0, 60, 60), CROP]
    expected = torch.cat([model.encode(crop.cut(frame(), 64)[None]) for crop in crops])
    for _ in range(2):
        kept = LatentCache(tmp_path).of(model, "image", 64)
        assert torch.equal(CropLatents(model, frame(), cache=kept)(crops), expected)
    assert [path.name for path in files(tmp_path)] == ["0-0-60-60.safetensors", "1-2-60-60.safetensors"]


def test_other_crops_images_sizes_models_and_precisions_are_not_mixed_up(
    model: DiffusionModel, tiny_sd: Path, tmp_path: Path
):
    cache = LatentCache(tmp_path)
    latent = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(1))
    cache.of(model, "image", 64).put(CROP, latent)
    read = cache.of(model, "image", 64).get(CROP)
    assert read is not None
    assert torch.equal(read, latent)
    half = DiffusionModel.from_pretrained(tiny_sd, device="cpu", dtype="bfloat16")
    assert half.fingerprint == model.fingerprint
    other = DiffusionModel.from_pretrained("toy", device="cpu")
    for entry in (
        cache.of(model, "other", 64),
        cache.of(model, "image", 128),
        cache.of(half, "image", 64),
        cache.of(other, "image", 64),
    ):
        assert entry.get(CROP) is None
    for crop in (Crop(2, 1, 60, 60), Crop(1, 2, 60, 59), Crop(12, 0, 60, 60)):
        assert cache.of(model, "image", 64).get(crop) is None


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _one_bit(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("damage", [_cut, _one_bit, lambda _: b"", lambda _: b"not a latent"])
def test_a_damaged_file_is_made_again(model: DiffusionModel, tmp_path: Path, damage):
    cache = LatentCache(tmp_path)
    (expected,) = CropLatents(model, frame(), cache=cache.of(model, "image", 64))([CROP])
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    with encodings(model) as seen:
        (latent,) = CropLatents(model, frame(), cache=cache.of(model, "image", 64))([CROP])
    assert seen == [1]
    assert torch.equal(latent, expected)
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_made_is_an_error_before_the_model_is_loaded(
    model: DiffusionModel, settings: PromptSettings, tmp_path: Path
):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match=r"latents_cache: expected a folder, and '.*file/cache' cannot be made"):
        PromptMatcher(model, settings, latents_cache=tmp_path / "file" / "cache")
    with pytest.raises(SettingsError, match=r"'.*file' cannot be made"):
        PromptMatcher.from_pretrained("no/such-model", latents_cache=tmp_path / "file")


def test_one_warning_says_that_nothing_can_be_written_and_only_time_is_lost(model: DiffusionModel, tmp_path: Path):
    cache = LatentCache(tmp_path / "cache")
    kept = cache.of(model, "image", 64)
    CropLatents(model, frame(), cache=kept)([CROP])
    (file,) = files(tmp_path)
    other = cache.of(model, "other", 64)
    other.put(CROP, torch.zeros(4, 8, 8))
    (of_other,) = set(files(tmp_path)) - {file}
    # What has to be a folder is a file: that stops the administrator too.
    of_other.unlink()
    of_other.parent.rmdir()
    of_other.parent.write_text("in the way")
    expected = torch.cat([model.encode(Crop(left, 0, 60, 60).cut(frame(1), 64)[None]) for left in range(3)])
    with pytest.warns(RuntimeWarning, match="No more latents are kept: .* cannot be written") as caught:
        latents = CropLatents(model, frame(1), cache=other)([Crop(left, 0, 60, 60) for left in range(3)])
    assert len(caught) == 1
    assert torch.equal(latents, expected)
    assert cache.problem is not None
    CropLatents(model, frame(), cache=kept)([Crop(0, 0, 60, 60)])
    assert [path for path in files(tmp_path) if path.suffix] == [file]
    with encodings(model) as seen:  # what is there is still read
        CropLatents(model, frame(), cache=kept)([CROP])
    assert not seen


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind the administrator")
def test_a_folder_that_may_only_be_read_is_read(model: DiffusionModel, tmp_path: Path):
    kept = LatentCache(tmp_path).of(model, "image", 64)
    CropLatents(model, frame(), cache=kept)([CROP])
    for folder in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    try:
        again = LatentCache(tmp_path)
        with encodings(model) as seen, pytest.warns(RuntimeWarning, match="Permission denied"):
            CropLatents(model, frame(), cache=again.of(model, "image", 64))([CROP, Crop(0, 0, 60, 60)])
        assert seen == [1]
    finally:
        for folder in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)


PROGRAM = """
import sys
import torch
from semcorr.models.diffusion import DiffusionModel
from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.latent_cache import LatentCache

model = DiffusionModel.from_pretrained(sys.argv[1], device="cpu")
frame = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
kept = LatentCache(sys.argv[2]).of(model, "image", 64)
print("ready", flush=True)
sys.stdin.readline()
crops = [Crop(left, top, 60, 60) for left in range(5) for top in range(5)]
print(CropLatents(model, frame, cache=kept)(crops).double().sum().item())
"""


@pytest.mark.slow
def test_two_processes_share_a_folder(model: DiffusionModel, tiny_sd: Path, tmp_path: Path):
    """Both take the same crops from the same moment on."""
    crops = [Crop(left, top, 60, 60) for left in range(5) for top in range(5)]
    expected = torch.cat([model.encode(crop.cut(frame(), 64)[None]) for crop in crops])
    command = [sys.executable, "-c", PROGRAM, str(tiny_sd), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            assert other.stdin is not None
            other.stdin.write("\n")
            other.stdin.flush()
            latents = CropLatents(model, frame(), cache=LatentCache(tmp_path).of(model, "image", 64))(crops)
            output, _ = other.communicate(timeout=300)
        finally:
            other.kill()
    assert_close_to_scale(latents, expected)
    assert float(output) == pytest.approx(float(expected.double().sum()), abs=1e-5 * float(expected.abs().sum()))
    assert len(files(tmp_path)) == 25  # and nothing unfinished
    with encodings(model) as seen:
        again = CropLatents(model, frame(), cache=LatentCache(tmp_path).of(model, "image", 64))(crops)
    assert not seen
    assert_close_to_scale(again, expected)
