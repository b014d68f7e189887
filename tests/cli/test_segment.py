"""``semcorr segment``: what it writes, how it continues, and what it refuses."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from cli.test_transfer import run_killed
from semcorr.cli.main import main
from semcorr.imaging.label_map import LabelMap
from semcorr.keypoints.coco.masks import read_label_map, region_entry, write_regions
from semcorr.matchers.features.dift import DiftMatcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.regions.examples import read_examples
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.storage.record_store import Shard, locked
from semcorr.toy.parts import part_map
from semcorr.toy.render import render_scene
from semcorr.transfer.region_files import RegionOutput
from semcorr.transfer.regions import find_regions, select_region_targets

OPTIONS = ["--method", "dift", "--model", "toy", "--device", "cpu", "--set", "samples=1"]


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three faces of 64 pixels, their masks, and a file that is no image."""
    folder = tmp_path_factory.mktemp("drawings")
    (folder / "images").mkdir()
    for number in range(3):
        scene = render_scene(number, 64, split="val", category="face")
        PIL.Image.fromarray(scene.image).save(folder / "images" / f"{number}.png")
        part_map(scene).save(folder / f"{number}.png")
    return folder


def test_label_maps_overlays_and_coco_are_written(
    drawings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out, broken = drawings / "images", tmp_path / "out", tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    words = ["segment", images / "0.png", drawings / "0.png", images, broken, *OPTIONS, "-o", out, "--json"]
    assert main([str(word) for word in words]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [Path(one["target"]).name for one in document["targets"]] == ["1.png", "2.png"]  # not the example itself
    assert [one["target"] for one in document["broken"]] == [broken.as_posix()]
    first = document["targets"][0]
    labels = LabelMap.load(first["labels"])
    assert labels.names == {int(label): name for label, name in document["names"].items()}
    coco = read_label_map(out / "regions.json", first["target"], (64, 64))
    assert np.array_equal(coco.labels, labels.labels)
    assert [region["pixels"] for region in first["regions"]] == [
        int((labels.labels == n).sum()) for n in labels.present
    ]
    assert {path.name for path in out.iterdir()} == {"labels", "overlays", "regions.json", "figure.png", "review.html"}
    assert not (tmp_path / "out.work").exists()
    for path in (out / "figure.png", Path(first["overlay"])):
        with PIL.Image.open(path) as drawn:
            assert min(drawn.size) >= 64
    assert main([str(word) for word in words]) == 2
    assert "is not empty. Name another folder, or write over it: --replace" in capsys.readouterr().err


def test_what_a_stop_leaves_is_continued(drawings: Path, tmp_path: Path) -> None:
    matcher = load_matcher("dift", "toy", samples=1, device="cpu").unwrapped
    examples, names = read_examples(str(drawings / "images" / "0.png"), drawings / "0.png")
    (drawings / "more").mkdir()
    (drawings / "more" / "2.png").write_bytes((drawings / "images" / "1.png").read_bytes())
    targets = select_region_targets([drawings / "images", drawings / "more"], [])
    seen: list[str] = []

    def stop(stage: str, done: int, total: int, **info: Any) -> None:
        if stage == "segment":
            seen.append(Path(str(info["image"])).name)
        if (stage, done) == ("segment", stops):
            raise KeyboardInterrupt

    stops = -1
    find_regions(
        matcher,
        examples,
        names,
        targets,
        RegionOutput(folder=tmp_path / "whole"),
        settings=RegionSettings(),
        progress=stop,
    )
    output, stops = RegionOutput(folder=tmp_path / "parts"), 2
    with pytest.raises(KeyboardInterrupt):
        find_regions(matcher, examples, names, targets, output, settings=RegionSettings(), progress=stop)
    assert not output.file.exists()
    seen.clear()
    stops = -1
    report = find_regions(matcher, examples, names, targets, output, settings=RegionSettings(), progress=stop)
    assert (seen, report.before, len(report.records)) == (["2.png", "2.png"], 2, 4)
    # Equal names are numbered, and each has its own image's regions.
    first, _, _, last = (LabelMap.load(output.label_map(record.labels)).labels for record in report.records)
    assert [record.labels for record in report.records] == ["0.png", "1.png", "2.png", "2-2.png"]
    assert np.array_equal(last, LabelMap.load(output.folder / "labels" / "1.png").labels)
    assert not np.array_equal(last, first)
    for path in (tmp_path / "whole").rglob("*.*"):
        assert path.read_bytes() == (output.folder / path.relative_to(tmp_path / "whole")).read_bytes()


def command(drawings: Path, output: Path, *more: object) -> list[str]:
    """Regions of the first drawing in all others; coarse features, because only the mechanics count."""
    words = ["segment", drawings / "images" / "0.png", drawings / "0.png", drawings / "images", *OPTIONS]
    return [str(word) for word in [*words, "--set", "resolution=32", "-o", output, *more]]


def equal_folders(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, byte by byte; pages and files of regions name no output."""
    contents = [{path.relative_to(root): path.read_bytes() for path in root.rglob("*.*")} for root in (one, other)]
    return contents[0] == contents[1]


def test_shards_find_what_one_command_finds(
    drawings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(command(drawings, tmp_path / "whole")) == 0
    work = tmp_path / "parts.work"
    for number in (1, 2):
        assert main(command(drawings, tmp_path / "parts", "--shard", f"{number}/2")) == 0
        captured = capsys.readouterr()
        assert "Regions found in 1 of 1 images." in captured.out
        assert "When all 2 shards are done" in captured.err
        assert not (tmp_path / "parts" / "regions.json").exists()
        # The second one describes nothing.
        monkeypatch.setattr(DiftMatcher, "describe_regions", None)
    with locked(work, Shard(number=2, count=2)):
        assert main(command(drawings, tmp_path / "parts")) == 2
    assert "is working on shard 2/2" in capsys.readouterr().err
    assert main(command(drawings, tmp_path / "parts")) == 0
    assert "Regions found in 2 of 2 images (2 of them before)." in capsys.readouterr().out
    assert equal_folders(tmp_path / "whole", tmp_path / "parts")
    assert not work.exists()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As a worker has: more would add numbers up in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_killed_and_continued_and_in_several_processes_it_is_the_same(
    drawings: Path,
    tmp_path: Path,
    semcorr_process: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = tmp_path / "drawings"
    shutil.copytree(drawings, folder)
    for number in range(12):
        shutil.copy(drawings / "images" / f"{1 + number % 2}.png", folder / "images" / f"copy-{number}.png")
    done = run_killed(semcorr_process, tuple(command(folder, tmp_path / "killed")), tmp_path / "killed.work", 3)
    assert main(command(folder, tmp_path / "killed")) == main(command(folder, tmp_path / "whole")) == 0
    assert f"Regions found in 14 of 14 images ({done} of them before)." in capsys.readouterr().out
    assert main(command(folder, tmp_path / "workers", "--workers", "2")) == 0
    for unfinished in (tmp_path / "killed").rglob(".*"):
        unfinished.unlink()  # of the writer that was killed, if it was writing
    assert equal_folders(tmp_path / "whole", tmp_path / "killed")
    assert equal_folders(tmp_path / "whole", tmp_path / "workers")


def test_masks_of_a_coco_file_and_names(drawings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[20:40, 20:40] = True
    entry = region_entry(5, mask, 1)
    regions = [("0.png", (64, 64), [entry]), ("1.png", (64, 64), [entry])]
    write_regions(tmp_path / "masks.json", lambda: regions, {5: "middle"})
    images = drawings / "images"
    words = ["segment", images / "0.png", tmp_path / "masks.json", images / "2.png", *OPTIONS, "--no-overlays"]
    words += ["--example", images / "1.png", tmp_path / "masks.json", "--name", "5=centre", "-o", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    assert "2.png: centre 0." in capsys.readouterr().out
    assert not (tmp_path / "out" / "overlays").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["images/0.png", "1.png"], "Expected images to find the regions in, got none"),
        (["images/0.png", "images/1.png", "images/1.png"], "in colour"),
        (["images/0.png", "none.png", "images/1.png"], "There is no file"),
        (["images/0.png", "0.png", "images/*.gif"], "Expected images for the pattern"),
        (["images/0.png", "0.png", "images/1.png", "--name", "1:a"], "Expected --name LABEL=NAME"),
        (["images/0.png", "0.png", "images/1.png", "--name", "200=a"], "labels without a name"),
        (["images/0.png", "0.png", "images/1.png", "--neighbours", "0"], "Setting 'neighbours'"),
        (["images/0.png", "0.png", "images/1.png", "--ignore", "255"], "Expected labels to ignore that a mask has"),
        (["images/0.png", "0.png", "images/1.png", "--workers", "0"], "Expected at least 1 of --workers, got 0"),
        (["images/0.png", "0.png", "images/1.png", "--method", "attention-dift"], "'attention-dift' finds no regions"),
        (["images/0.png", "0.png", "images/1.png", "-o", "0.png"], "Expected a folder to write into, got the file"),
        (["images/0.png", "0.png", "images/1.png", "-o", "images"], "'images' is not empty"),
    ],
)
def test_bad_input_is_refused_before_anything_slow(
    words: list[str], message: str, drawings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(drawings)
    before = sorted(drawings.rglob("*"))
    assert main(["segment", *words, "--model", "toy"]) == 2
    assert message in capsys.readouterr().err
    assert sorted(drawings.rglob("*")) == before
