"""``semcorr transfer`` and ``semcorr score``: from annotations to figures, whatever happens."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from cli.conftest import Ran
from deadline import DEADLINE
from semcorr.storage.record_store import Shard, locked
from semcorr.toy.coco import ToyWorld, write_coco
from spoiled import HUGE, spoiled

DIFT = ("--method", "dift", "--model", "toy", "--set", "samples=1", "--device", "cpu")
COARSE = (*DIFT, "--set", "resolution=32")
"""For many images, where only the mechanics count."""


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> ToyWorld:
    """Two annotated cars and three others."""
    folder = tmp_path_factory.mktemp("toy") / "coco"
    return write_coco(folder, categories=("car",), support=2, targets=3, size=96)


def test_all_formats_the_page_and_the_figures(semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path) -> None:
    out, page = tmp_path / "out.json", tmp_path / "review.html"
    formats = ["--format", "coco", "--format", "label-studio", "--format", "cvat"]
    ran = semcorr(
        *("transfer", drawings.annotations, "--images", drawings.images, "-o", out, "--review", page, *formats, *DIFT)
    )
    assert ran.status == 0, ran.err
    assert "Points predicted in 3 of 3 images." in ran.out
    names = {"out.json", "out.label-studio.json", "out.label-studio.config.xml", "out.cvat.xml", "review.html"}
    assert {path.name for path in tmp_path.iterdir()} == names  # and no folder of work
    document = json.loads(out.read_text(encoding="utf-8"))
    assert [entry["image_id"] for entry in document["annotations"]] == [1, 2, 3, 4, 5]
    before = json.loads(drawings.annotations.read_text(encoding="utf-8"))
    assert document["annotations"][:2] == before["annotations"]
    assert document["semcorr"]["supports"] == {"car": 2}

    ran = semcorr("score", out, drawings.truth, "--json")
    scores = json.loads(ran.out)
    assert scores["objects"] == 3
    assert 0 < scores["pck"]["0.1"] <= 1


def test_nothing_that_is_read_is_written_to(semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path) -> None:
    before = drawings.annotations.read_bytes()
    command = ("transfer", drawings.annotations, "--images", drawings.images, *DIFT)
    assert "read from" in semcorr(*command, "-o", drawings.annotations).err
    assert "exists" in semcorr(*command, "-o", drawings.truth).err
    assert "ends in .json" in semcorr(*command, "-o", tmp_path / "out.xml").err
    assert "ends in .xml" in semcorr(*command, "-o", tmp_path / "out.json", "--format", "cvat").err
    assert "at least 1" in semcorr(*command, "-o", tmp_path / "out.json", "--workers", "0").err
    assert "from 0 to 1" in semcorr(*command, "-o", tmp_path / "out.json", "--min-confidence", "50").err
    assert "Expected images for the pattern" in semcorr(*command, tmp_path / "*.tif", "-o", tmp_path / "o.json").err
    assert drawings.annotations.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_warnings_of_an_overflow_include_those_of_an_earlier_start(
    semcorr: Callable[..., Ran], drawings: ToyWorld, tiny_sd: Path, tmp_path: Path
) -> None:
    weight = "down_blocks.0.resnets.0.conv1.weight"
    large = spoiled(tiny_sd, tmp_path / "large", "unet/diffusion_pytorch_model.safetensors", weight, HUGE)
    half = ("--method", "dift", "--model", large, "--device", "cpu", "--dtype", "float16")
    settings = ("--set", "samples=1", "--set", "prompt=null", "--set", "resolution=64", "--support", "1")
    command = ("transfer", drawings.annotations, "--images", drawings.images, "-o", tmp_path / "out.json", "--json")
    ran = semcorr(*command, *half, *settings, "--shard", "1/3")
    assert ran.status == 0, ran.err
    ran = semcorr(*command, *half, *settings)
    assert "3 of 3 images with warnings, the first: " in ran.err
    (first, *others) = json.loads(ran.out)["warnings"]
    assert len(others) == 2
    described, located = first["warnings"]
    assert described.startswith("described in float32, because float16 overflowed (")
    assert located.startswith("located in float32, because float16 overflowed (")


@pytest.mark.slow
def test_several_processes_find_the_same(
    semcorr_process: Callable[..., Any], semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    command = ("transfer", drawings.annotations, "--images", drawings.images, *DIFT)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has: more would add numbers up in another order
    try:
        assert semcorr(*command, "-o", one).status == 0
    finally:
        torch.set_num_threads(threads)
    assert semcorr_process(*command, "-o", two, "--workers", "2").wait() == 0
    assert two.read_bytes() == one.read_bytes()


def test_broken_images_are_listed_and_tried_again(
    semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path
) -> None:
    new, out = tmp_path / "new", tmp_path / "out.json"
    new.mkdir()
    (new / "a.png").write_bytes(b"no image")
    shutil.copy(drawings.images / "car-0002.png", new / "b.png")
    ran = semcorr("transfer", drawings.annotations, f"{new}/*.png", "--images", drawings.images, "-o", out, *DIFT)
    assert ran.status == 1
    assert "a.png" in ran.err
    assert "1 of 2 images" in ran.out
    images = json.loads(out.read_text(encoding="utf-8"))["images"]
    assert [image["file_name"] for image in images[5:]] == [(new / "b.png").as_posix()]


def test_another_transfers_folder_is_refused(semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path) -> None:
    work = tmp_path / "out.json.work"
    work.mkdir()
    (work / "transfer.json").write_text('{"key": "of another"}', encoding="utf-8")
    command = ("transfer", drawings.annotations, "--images", drawings.images, "-o", tmp_path / "out.json", *DIFT)
    ran = semcorr(*command)
    assert (ran.status, "begun and not finished" in ran.err) == (2, True)
    (work / "transfer.json").write_text("{", encoding="utf-8")
    assert "is broken" in semcorr(*command).err


def test_shards_find_what_one_command_finds(semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path) -> None:
    """Annotated images are described by the first, and the last command only writes."""
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    work = tmp_path / "parts.json.work"
    command = ("transfer", drawings.annotations, "--images", drawings.images, *DIFT)
    assert semcorr(*command, "-o", whole).status == 0
    described: list[dict[str, int]] = []
    for number, count in ((1, "2 of 2"), (2, "1 of 1")):
        ran = semcorr(*command, "-o", parts, "--shard", f"{number}/2")
        assert (ran.status, f"Points predicted in {count} images." in ran.out) == (0, True)
        assert not parts.exists()
        described.append({path.name: path.stat().st_ino for path in work.glob("supports/*.safetensors")})
    assert len(described[0]) == 2
    assert described[0] == described[1]
    with locked(work, Shard(number=2, count=2)):
        assert "is working on shard 2/2" in semcorr(*command, "-o", parts).err
    ran = semcorr(*command, "-o", parts)
    assert "Points predicted in 3 of 3 images (3 of them before)." in ran.out
    assert parts.read_bytes() == whole.read_bytes()
    assert not work.exists()
    assert "Expected --shard i/n" in semcorr(*command, "-o", parts, "--replace", "--shard", "half").err


def test_what_a_crash_has_left_behind_is_ignored_or_used(
    semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path
) -> None:
    """Half lines, bytes that are no text, descriptions that are none, and files from another time."""
    whole, out, junk = tmp_path / "whole.json", tmp_path / "out.json", bytes(range(256)) * 8
    command = ("transfer", drawings.annotations, "--images", drawings.images, *DIFT)
    assert semcorr(*command, "-o", whole).status == 0
    assert semcorr(*command, "-o", out, "--shard", "1/2").status == 0
    work = tmp_path / "out.json.work"
    (path,) = work.glob("records/*.jsonl")
    first, second = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([junk, first[:70], b"\0" * 4096, second]))
    for kept in work.glob("supports/*.safetensors"):
        kept.write_bytes(junk)
    for file in work.rglob("*"):
        os.utime(file, (4e9, 4e9))
    ran = semcorr(*command, "-o", out)
    assert "Points predicted in 3 of 3 images (1 of them before)." in ran.out
    assert out.read_bytes() == whole.read_bytes()


def run_killed(start: Callable[..., Any], command: tuple[object, ...], work: Path, lines: int) -> int:
    """Start a transfer and kill it with signal 9 when its journal has so many lines; return how many it has then."""
    process = start(*command)
    end = time.monotonic() + DEADLINE
    while _lines(work) < lines:
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < end, "it does not get on"
        time.sleep(0.01)
    process.kill()
    process.wait()
    return _lines(work)


def _lines(work: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in work.glob("records/*.jsonl"))


@pytest.mark.slow
def test_killed_and_resumed_it_is_the_same(
    semcorr_process: Callable[..., Any], semcorr: Callable[..., Ran], tmp_path: Path
) -> None:
    world = write_coco(tmp_path / "toy", categories=("face",), support=2, targets=200, size=64)
    command = ("transfer", world.annotations, "--images", world.images, *COARSE)
    whole, resumed = tmp_path / "whole.json", tmp_path / "resumed.json"
    assert semcorr(*command, "-o", whole).status == 0
    work = tmp_path / "resumed.json.work"
    first = run_killed(semcorr_process, (*command, "-o", resumed), work, 20)
    second = run_killed(semcorr_process, (*command, "-o", resumed), work, first + 30)
    assert 0 < first < second < 200
    # A line that the kill cut short, as a crash of the machine may leave it.
    newest = sorted(work.glob("records/*.jsonl"))[-1]
    with newest.open("ab") as file:
        file.write(b'{"file": "face-0199.png", "path": "fa')
    ran = semcorr(*command, "-o", resumed)
    assert ran.status == 0, ran.err
    assert f"({second} of them before)" in ran.out
    assert resumed.read_bytes() == whole.read_bytes()
    assert not work.exists()


@pytest.mark.slow
def test_seven_hundred_images_in_bounded_memory(semcorr_process: Callable[..., Any], tmp_path: Path) -> None:
    world = write_coco(tmp_path / "toy", categories=("face",), support=1, targets=20, size=48)
    many = tmp_path / "many"
    many.mkdir()
    for number in range(700):
        shutil.copy(world.images / f"face-{1 + number % 20:04d}.png", many / f"{number:04d}.png")
    out, page = tmp_path / "out.json", tmp_path / "review.html"
    process = semcorr_process(
        *("transfer", world.annotations, many, "--images", world.images, "-o", out, "--review", page, *COARSE)
    )
    watched, memory = psutil.Process(process.pid), []
    work = tmp_path / "out.json.work"
    while process.poll() is None:
        try:
            memory.append((_lines(work), watched.memory_info().rss))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.25)
    assert process.returncode == 0
    document = json.loads(out.read_text(encoding="utf-8"))
    assert len(document["annotations"]) == 1 + 700
    early = max(rss for lines, rss in memory if 50 <= lines <= 250)
    late = max(rss for lines, rss in memory if lines > 250)
    assert late - early < 40e6  # under 90 kB an image; its features take more
