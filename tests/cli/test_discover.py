"""``semcorr discover`` on drawings, with the bundled model."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from semcorr.keypoints.read import read_annotations
from semcorr.matchers.prompt.discovery import KeypointTokens
from semcorr.toy.render import render_scene

QUICK = ["--model", "toy", "--device", "cpu", "--set", "views=2", "--set", "batch=2", "--set", "steps=2"]


def write_birds(folder: Path, count: int) -> Path:
    folder.mkdir()
    for seed in range(count):
        scene = render_scene(seed, 64, split="val", category="bird")
        PIL.Image.fromarray(scene.image).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    return write_birds(tmp_path / "birds", 3)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Another number of threads rounds differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_points_of_all_images_a_page_and_the_tokens(semcorr, birds, tmp_path):
    (birds / "broken.png").write_bytes(b"no image")
    out, page = tmp_path / "found.json", tmp_path / "page.html"
    ran = semcorr("discover", birds, "-n", 3, "-o", out, "--review", page, "--category", "bird", *QUICK)
    assert ran.status == 1
    assert "broken.png" in ran.err
    read = read_annotations(out)
    assert [Path(image.file).name for image in read.images] == ["0.png", "1.png", "2.png"]
    (category,) = read.categories.values()
    assert (category.name, category.keypoints) == ("bird", ("point-1", "point-2", "point-3"))
    assert all(image.instances[0].predicted for image in read.images)
    assert page.stat().st_size > 10_000
    assert not (tmp_path / "found.json.work").exists()

    # Those worth keeping, under names, in other images: nothing is optimized again.
    named = tmp_path / "named.json"
    tokens = ["--tokens", tmp_path / "found.safetensors", "--keep", "3=beak", "--keep", "1=tail"]
    ran = semcorr("discover", birds / "2.png", *tokens, "-o", named, "--json", "--device", "cpu")
    assert ran.status == 0
    assert [one["name"] for one in json.loads(ran.out)["keypoints"]] == ["beak", "tail"]
    (again,) = read_annotations(named).images
    before = read.images[2].instances[0].predicted_points
    assert np.allclose(again.instances[0].predicted_points[:, :2], before[[2, 0], :2], atol=0.02)
    assert not named.with_suffix(".safetensors").exists()


def test_errors_say_what_to_do(semcorr, birds, tmp_path):
    out = tmp_path / "found.json"
    for arguments, message in (
        ([birds / "0.png", "-o", out, *QUICK], "at least 2 different images, got 1"),
        (["-o", out, *QUICK], "Expected images that can be read, got none"),
        ([birds, "-o", tmp_path / "found.xml", *QUICK], "ends in .json"),
        ([birds, "-o", out, "--keep", "1=a", *QUICK], "add --tokens"),
        ([birds, "-o", out, "--tokens", birds / "0.png"], "not a key-point tokens file|broken"),
        ([birds, "-o", out, "--most", 0, *QUICK], "at least 1 of --most"),
        ([birds, "-o", out, "--min-confidence", 2, *QUICK], "from 0 to 1"),
        ([birds, "-o", out, "-n", 99, *QUICK], "from 1 to 31 key-points"),
    ):
        ran = semcorr("discover", *arguments)
        assert ran.status == 2
        assert any(text in ran.err.replace("\n", " ") for text in message.split("|")), (message, ran.err)
        assert not out.exists()


def test_nothing_is_written_over(semcorr, birds, tmp_path):
    out = tmp_path / "found.json"
    out.write_text("mine")
    ran = semcorr("discover", birds, "-o", out, *QUICK)
    assert ran.status == 2
    assert "--replace" in ran.err
    assert out.read_text() == "mine"


@pytest.mark.slow
def test_images_without_anything_in_common_are_a_warning(semcorr, birds, tmp_path, one_thread):
    """Noise is: its points stay where they are when it is turned. Drawings are not, with the same few steps."""
    noise = tmp_path / "noise"
    noise.mkdir()
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(noise / f"{seed}.png")
    settings = ["--model", "toy", "--device", "cpu", "--set", "views=3", "--set", "batch=2", "--set", "steps=40"]
    for folder, warned in ((birds, False), (noise, True)):
        ran = semcorr("discover", folder, "-n", 3, "-o", tmp_path / f"{folder.name}.json", "--json", *settings)
        assert ran.status == 0
        document = json.loads(ran.out)
        assert (len(document["warnings"]), "do not follow their images" in ran.err) == (int(warned), warned)
        assert (document["confidence"] < 0.25) is warned
        assert (document["confidence"] > 0.45) is not warned


@pytest.mark.slow
def test_after_a_kill_the_same_command_continues_with_equal_results(semcorr, birds, tmp_path, one_thread):
    def command(out: Path) -> list[str]:
        settings = ["--model", "toy", "--device", "cpu", "--set", "views=2", "--set", "steps=40", "--set", "batch=1"]
        return ["discover", str(birds), "-n", "4", "-o", str(out), *settings]

    whole, killed = tmp_path / "whole.json", tmp_path / "killed.json"
    assert semcorr(*command(whole)).status == 0
    state = tmp_path / "killed.json.work" / "state.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-m", "semcorr", *command(killed)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    assert semcorr(*command(killed)).status == 0
    first, second = (KeypointTokens.load(path.with_suffix(".safetensors")) for path in (whole, killed))
    assert second.tokens == first.tokens
    assert np.array_equal(second.context, first.context)
    assert json.loads(killed.read_text())["annotations"] == json.loads(whole.read_text())["annotations"]
