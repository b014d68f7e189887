"""The benchmark on photographs: its halves, draws and intervals, and its table on tiny sets whose figures are known."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import scipy.io
import torch

from benchmarks import photographs as benchmark
from benchmarks.command import main
from benchmarks.photograph_sets import objects, pairs, tasks, transfers
from benchmarks.photograph_sets.configurations import CONFIGURATIONS, TOY_CONFIGURATIONS, RememberedFeatures
from benchmarks.photograph_sets.figures import image_intervals, mean_interval
from semcorr.evaluation.metrics.pck import Counts
from semcorr.imaging.image import load_image
from semcorr.matchers.spec import MatcherSpec

SIZE = (64, 48)
FRAMES = 12
CLASSES = ("car(G)", "car(M)")
"""One of each half."""

RNG = np.random.default_rng(0)
LAYOUT = np.stack([np.linspace(10, 50, 10), np.linspace(8, 28, 10)], axis=1)
"""Ten points whose extent is 40 pixels."""


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    PIL.Image.fromarray(cells).resize(SIZE, PIL.Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all sets.

    PF-WILLOW: three images of two sub-classes, points shifted by 0, 3 and 9 pixels to the right. So the same position
    is off by 3, 6 or 9 pixels: 0.075, 0.15 and 0.225 of the extent. DeepLabCut: twelve frames of a square of 6 x 8
    pixels, whose diagonal is 10, each one pixel to the right of the last. Faces: one image, two boxes of 20 pixels; the
    second face's points are 3 pixels lower in its box.
    """
    root = tmp_path_factory.mktemp("photographs")
    for number, name in enumerate(CLASSES):
        for index, shift in enumerate((0, 3, 9)):
            path = root / "pf-willow" / name / f"image_{index}.png"
            write_image(path, 10 * number + index)
            scipy.io.savemat(path.with_suffix(".mat"), {"pts_coord": (LAYOUT + np.array([shift, 0])).T})
    write_mouse(root / "mouse-open-field")
    write_faces(root / "faces-68")
    return root


def write_mouse(root: Path) -> None:
    folder = root / "labeled-data" / "video"
    square = np.array([[10, 10], [16, 10], [16, 18], [10, 18]], dtype=float)
    names = ("snout", "leftear", "rightear", "tailbase")
    header = [
        ["scorer", *["me"] * 8],
        ["bodyparts", *(name for name in names for _ in "xy")],
        ["coords", *["x", "y"] * 4],
    ]
    rows = []
    for frame in range(FRAMES):
        write_image(folder / f"img{frame:03}.png", 100 + frame)
        rows.append([f"labeled-data/video/img{frame:03}.png", *(square + np.array([frame, 0])).ravel().tolist()])
    with (folder / "CollectedData_me.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([*header, *rows])
    parts = "".join(f"- {name}\n" for name in names)
    (root / "config.yaml").write_text(f"Task: open-field\nscorer: me\nbodyparts:\n{parts}", encoding="utf-8")


def write_faces(root: Path) -> None:
    write_image(root / "group.jpg", 200)
    boxes = []
    for left, lower in ((4, 0), (34, 3)):
        parts = "".join(
            f"<part name='{number:02}' x='{left + 4 + number % 8}' y='{9 + number // 8 + lower}'/>"
            for number in range(68)
        )
        boxes.append(f"<box top='6' left='{left}' width='20' height='20'>{parts}</box>")
    image = f"<image file='group.jpg' width='{SIZE[0]}' height='{SIZE[1]}'>{''.join(boxes)}</image>"
    document = f"<?xml version='1.0'?><dataset><images>{image}</images></dataset>"
    (root / "training_with_face_landmarks.xml").write_text(document, encoding="utf-8")


def tables(
    arguments: list[str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict[str, dict]]:
    """The values of every row of every table that the command writes."""
    monkeypatch.setenv(benchmark.DATA, str(data))
    file = tmp_path / "figures.json"
    assert main(benchmark.app, [*arguments, "--threads", "1", "--workers", "1", "--json", str(file)]) == 0
    document = json.loads(file.read_text(encoding="utf-8"))
    return {table["title"]: {row["name"]: row["values"] for row in table["rows"]} for table in document["tables"]}


def titled(start: str, of: dict[str, dict[str, dict]]) -> dict[str, dict]:
    (title,) = (title for title in of if title.startswith(start))
    return of[title]


def test_the_same_position_has_the_figures_of_its_closed_form(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = ["--only", "same position", "--only", "same position in the box", "--draws", "3"]
    printed = tables(["--part", "willow", "mouse", "faces", *only], data, tmp_path, monkeypatch)
    for half in ("development", "held-out", "all"):
        rows = titled(f"PF-WILLOW, {half}", printed)
        # Of the six ordered pairs of a sub-class two are off by 0.075 and two by 0.15.
        percents = [rows["same position"][f"@{alpha}"] for alpha in (0.05, 0.1, 0.15)]
        assert percents == pytest.approx([0, 100 / 3, 200 / 3])
        assert [rows["same position in the box"][f"@{alpha}"] for alpha in (0.05, 0.1, 0.15)] == [100, 100, 100]
    # A tenth of the diagonal is a pixel: right are the frames before and after the only one that is annotated, number
    # 6. Of the others every third is a target: 0, 3, 7 and 10.
    spread = titled("mouse: right points in % at 0.1 by the number of annotated objects, spread", printed)
    assert spread["same position"]["1 annotated"] == 25
    assert spread["same position in the box"]["5 annotated"] == 100
    drawn = titled("mouse: right points in % at 0.1 by the number of annotated objects, drawn", printed)
    expected = [
        np.mean([abs(target - draw.supports[0]) <= 1 for target in draw.targets])
        for draw in transfers.draws_of(FRAMES, 1, 3, every=3)
    ]
    assert drawn["same position"]["1 annotated"] == pytest.approx(100 * np.mean(expected), abs=1e-4)
    # Student's t for three draws is 4.303. There are no percentages below 0.
    reach = 4.3027 * np.std(expected, ddof=1) / 3**0.5
    ends = max(0, 100 * (np.mean(expected) - reach)), 100 * (np.mean(expected) + reach)
    assert drawn["same position"]["1 annotated 95%"] == pytest.approx(ends, abs=1e-2)
    # In its box the second face is 3 pixels lower, which is 0.15 of the box's side.
    faces = titled("faces", printed)
    assert faces["same position in the box"]["1 annotated"] == 0
    overview = titled("Photographs", printed)
    assert overview["same position"]["PF-WILLOW, held-out"] == pytest.approx(100 / 3)


def test_a_method_is_measured_on_every_set(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks, "SUPPORTS", {"mouse": (1, 2), "faces": (1,)})
    small = dataclasses.replace(CONFIGURATIONS[0], options={"layers": ("10@64",), "grid": 8})
    monkeypatch.setattr(benchmark, "CONFIGURATIONS", (small,))
    parts = ["--part", "willow", "mouse", "faces", "time", "confidence"]
    printed = tables([*parts, "--limit", "4", "--draws", "1"], data, tmp_path, monkeypatch)
    assert "PF-WILLOW, held-out" in capsys.readouterr().out
    confidence = titled("Confidence", printed)
    assert confidence["PF-WILLOW, all"]["points"] == 2 * 4 * 10
    assert confidence["mouse, 2 annotated"]["points"] == 4  # of two other frames the first
    assert confidence["faces, 1 annotated"]["points"] == 68
    assert titled("PF-WILLOW, all", printed)["hypercolumn"]["@0.1"] == confidence["PF-WILLOW, all"]["right"]
    seconds = titled("Seconds", printed)["hypercolumn"]
    assert 0 < seconds["locate, median"] <= seconds["locate, 90 %"]


def test_halves_share_neither_sub_classes_nor_frames() -> None:
    names = ("car(G)", "car(M)", "car(S)", "duck(S)", "motorbike(G)", "motorbike(M)", "motorbike(S)")
    for name in (*names, "winebottle(M)", "winebottle(wC)", "winebottle(woC)"):
        assert pairs.in_half(name, "all")
        assert pairs.in_half(name, "development") != pairs.in_half(name, "held-out")
    assert len(pairs.DEVELOPMENT) == 5
    development, held_out = (transfers.draws_of(20, 3, 2, half=half) for half in ("development", "held-out"))
    for draw, other in zip(development, held_out, strict=True):
        assert {number % 2 for number in (*draw.supports, *draw.targets)} == {1}
        assert {number % 2 for number in (*other.supports, *other.targets)} == {0}
        assert len(draw.targets) == 7
        assert not set(draw.supports) & set(draw.targets)


def test_draws_are_the_same_again_and_differ_from_each_other() -> None:
    first, second = transfers.draws_of(50, 5, 4), transfers.draws_of(50, 5, 4)
    assert first == second
    assert len({draw.supports for draw in first}) == 4
    assert transfers.draws_of(50, 5, 2) == first[:2]
    for fewer, more in zip(transfers.draws_of(50, 2, 4), first, strict=True):
        assert set(fewer.supports) < set(more.supports)
    assert [draw.targets[::3] for draw in first] == [draw.targets for draw in transfers.draws_of(50, 5, 4, every=3)]
    assert transfers.spread_draw(10, 2).supports == (2, 7)


def test_intervals_over_images_are_those_of_a_loop() -> None:
    """Image by image and draw by draw, with the same random numbers."""
    rng = np.random.default_rng(3)
    ends = [(s, t, g) for g in range(2) for s in range(4) for t in range(4) if s != t]
    source, target, group = (
        np.array(one) for one in zip(*[(s + 4 * g, t + 4 * g, g) for s, t, g in ends], strict=True)
    )
    right = rng.integers(0, 11, size=(len(source), 1))
    counts = Counts(right=right, total=np.full(len(source), 10))
    low, high = image_intervals(counts, source, target, group, resamples=400, seed=5)[0]
    draws = np.random.default_rng(5)
    times = np.concatenate([draws.multinomial(4, [0.25] * 4, size=400) for _ in range(2)], axis=1)
    values = []
    for row in times:
        drawn = [
            right[index, 0] / 10
            for index in range(len(source))
            for _ in range(int(row[source[index]] * row[target[index]]))
        ]
        values.append(100 * np.mean(drawn))
    assert (low, high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
    assert image_intervals(counts, source, target, group) == image_intervals(counts, source, target, group)


def test_pairs_of_one_bad_image_make_the_interval_wider_than_pairs_that_are_wrong_by_chance() -> None:
    source, target = (
        np.array(one) for one in zip(*[(s, t) for s in range(10) for t in range(10) if s != t], strict=True)
    )
    group, total = np.zeros(90, dtype=int), np.full(90, 1)
    bad = (source == 0) | (target == 0)
    chance = np.random.default_rng(0).permutation(bad)
    widths = []
    for wrong in (bad, chance):
        ((low, high),) = image_intervals(
            Counts(right=(~wrong)[:, None].astype(int), total=total), source, target, group
        )
        widths.append(high - low)
    assert widths[0] > 1.3 * widths[1]


def test_one_draw_has_no_interval() -> None:
    assert mean_interval([50.0]) is None
    assert mean_interval([50.0, 50.0]) == (50, 50)
    assert mean_interval([10.0, 90.0]) == (0, 100)


def test_the_network_runs_once_for_an_image_and_gives_the_same(data: Path) -> None:
    image, other = (load_image(data / "pf-willow" / CLASSES[0] / f"image_{number}.png") for number in range(2))
    known, calls = RememberedFeatures(), []
    for layers in (("10@64",), ("14@64", "10@64"), ("14@64",)):
        spec = MatcherSpec(method="hypercolumn", options={"layers": layers, "grid": 8})
        expected, remembering = spec.load().unwrapped, spec.load()
        model = remembering.unwrapped.model
        compute = model.block_outputs
        model.block_outputs = lambda *given, compute=compute: calls.append(list(given[1])) or compute(*given)
        matcher = known.attach(remembering).unwrapped
        for one in (image, image, other):
            assert torch.equal(matcher.features(one, matcher.settings), expected.features(one, expected.settings))
    assert calls == [[10], [10], [14], [14]]


def test_every_configuration_has_settings_that_its_method_knows() -> None:
    assert len({one.name for one in CONFIGURATIONS}) == len(CONFIGURATIONS)
    for one in CONFIGURATIONS:
        if not one.is_baseline:
            assert one.spec().load().method == one.method
    assert {one.method for one in TOY_CONFIGURATIONS} == {"dift", "nbb"}


def test_without_the_folder_or_with_a_wrong_name_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv(benchmark.DATA, raising=False)
    assert main(benchmark.app, []) == 2
    assert "SEMCORR_TEST_DATA to name a folder" in capsys.readouterr().err
    assert main(benchmark.app, ["--only", "hypercolum"]) == 2
    assert "hypercolumn" in capsys.readouterr().err
    monkeypatch.setenv(benchmark.DATA, str(tmp_path))
    assert main(benchmark.app, ["--part", "mouse", "--only", "same position"]) == 2
    assert "'mouse-open-field'" in capsys.readouterr().err


@pytest.mark.slow
def test_drawings_are_measured_with_the_same_matching_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [one.name for one in TOY_CONFIGURATIONS]
    only = [part for name in names for part in ("--only", name)]
    printed = tables(["--toy", "validation", "--limit", "2", *only], tmp_path, tmp_path, monkeypatch)
    rows = titled("toy val, 2 pairs", printed)
    assert list(rows) == names
    assert rows[names[0]]["gain @0.1"] is None
    assert rows[names[1]]["gain @0.1"] == pytest.approx(rows[names[1]]["@0.1"] - rows[names[0]]["@0.1"], abs=1e-5)


@pytest.mark.slow
def test_real_photographs(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some pairs of every sub-class and a few faces."""
    arguments = ["--part", "willow", "faces", "--limit", "4", "--draws", "1", "--only", "hypercolumn"]
    printed = tables(arguments, photographs, tmp_path, monkeypatch)
    row = titled("Photographs", printed)["hypercolumn"]
    assert row["PF-WILLOW, all"] > 60
    assert row["faces, 1 annotated"] > 60
    read = objects.read("mouse", photographs)
    assert (len(read.objects), len(read.category.keypoints)) == (116, 4)
    assert len(objects.read("faces", photographs).objects) == 43
