"""The toy world as a data set in SPair-71k's layout."""

import json
from pathlib import Path

import pytest
from PIL import Image as PILImage

from semcorr.errors import SettingsError
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.render import render_scene
from semcorr.toy.spair_layout import keypoint_names, write_spair

# The fields of a published SPair-71k pair annotation.
FIELDS = {
    "pair_id", "filename", "src_imname", "trg_imname", "src_imsize", "trg_imsize", "src_bndbox", "trg_bndbox",
    "category", "src_pose", "trg_pose", "src_kps", "trg_kps", "kps_ids", "mirror", "viewpoint_variation",
    "scale_variation", "truncation", "occlusion",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spair") / "toy"
    write_spair(path, images=3, size=96)
    return path


def test_layout(folder: Path) -> None:
    for split in ("trn", "val", "test"):
        lines = (folder / "Layout" / "large" / f"{split}.txt").read_text(encoding="utf-8").split()
        assert len(lines) == 4 * 3 * 2  # ordered pairs of three images in four categories
        for line in lines:
            record = json.loads((folder / "PairAnnotation" / split / f"{line}.json").read_text(encoding="utf-8"))
            assert set(record) == FIELDS
            assert record["filename"] == line
            number, source, rest = line.split("-")
            target, category = rest.split(":")
            assert (int(number), category) == (record["pair_id"], record["category"])
            assert (f"{source}.jpg", f"{target}.jpg") == (record["src_imname"], record["trg_imname"])
            for name in (source, target):
                with PILImage.open(folder / "JPEGImages" / category / f"{name}.jpg") as image:
                    assert image.size == (96, 96)


def test_annotations_are_the_scenes(folder: Path) -> None:
    for path in (folder / "PairAnnotation" / "test").iterdir():
        record = json.loads(path.read_text(encoding="utf-8"))
        seed = int(record["trg_imname"].removesuffix(".jpg").split("_")[1])
        scene = render_scene(seed, 96, split="test", category=record["category"])
        names = keypoint_names(record["category"])
        for identity, (x, y) in zip(record["kps_ids"], record["trg_kps"], strict=True):
            true_x, true_y = scene.keypoints[names[int(identity)]]
            assert 0 <= true_x - x < 1
            assert 0 <= true_y - y < 1
        assert record["trg_bndbox"] == [round(v) for v in scene.box]
        assert record["mirror"] == int(record["src_pose"] != record["trg_pose"])


def test_every_category_has_its_own_keypoints() -> None:
    assert {category: len(keypoint_names(category)) for category in CATEGORIES} == {
        "animal": 8, "bird": 6, "car": 8, "face": 8,
    }  # fmt: skip


def test_nothing_is_overwritten(folder: Path) -> None:
    with pytest.raises(SettingsError, match="not empty"):
        write_spair(folder, images=2)


def test_one_image_makes_no_pair(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at least 2"):
        write_spair(tmp_path / "new", images=1)
