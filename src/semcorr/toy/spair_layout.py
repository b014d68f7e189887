"""The toy world as a data set in SPair-71k's layout, so that benchmark code needs no special case."""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PILImage

from semcorr.errors import SettingsError
from semcorr.progress import Progress
from semcorr.toy.objects import BUILDERS, CATEGORIES
from semcorr.toy.render import Scene, Split, render_scene, rng_for

_SPLIT_NAMES: dict[str, Split] = {"trn": "train", "val": "val", "test": "test"}
_POSES = {"left": "Left", "right": "Right", "front": "Frontal"}


@dataclass(frozen=True)
class _Drawing:
    name: str
    scene: Scene

    @property
    def pixel_box(self) -> list[int]:
        return [round(v) for v in self.scene.box]


def keypoint_names(category: str) -> list[str]:
    """Return all key-point names of a category; the index of a name is its id in the annotations."""
    names: dict[str, None] = {}
    for kind in CATEGORIES[category]:
        for part in BUILDERS[category](kind, rng_for(0, "train")):
            names.update(dict.fromkeys(part.keypoints))
    return sorted(names)


def write_spair(folder: Path, *, images: int, size: int = 256, progress: Progress | None = None) -> dict[str, int]:
    """Write ``images`` drawings of every category and split, and all their ordered pairs; return pairs by split.

    Layout: ``Layout/large/{trn,val,test}.txt``, ``PairAnnotation/<split>/<id>-<source>-<target>:<category>.json``,
    ``ImageAnnotation/<category>/<image>.json``, ``JPEGImages/<category>/<image>.jpg``. Key-points are whole pixel
    indices as in SPair-71k; pairs without a common visible point are left out.

    Raises:
        SettingsError: The folder exists and is not empty, or fewer than two images of a category are requested.
    """
    if images < 2:
        raise SettingsError(f"expected at least 2 images of each category, got {images}: one image makes no pair.")
    if folder.exists() and any(folder.iterdir()):
        raise SettingsError(f"{folder} is not empty: name a new folder, nothing is overwritten.")
    counts: dict[str, int] = {}
    total, done = len(_SPLIT_NAMES) * len(CATEGORIES) * images, 0
    (folder / "Layout" / "large").mkdir(parents=True)
    for split_index, (name, split) in enumerate(_SPLIT_NAMES.items()):
        lines: list[str] = []
        for category_index, category in enumerate(CATEGORIES):
            drawings = []
            for number in range(images):
                seed = category_index * images + number
                scene = render_scene(seed, size, split=split, category=category)
                drawings.append(_write_drawing(folder, f"{2000 + split_index}_{seed:06d}", scene))
                done += 1
                if progress:
                    progress("render", done, total)
            for source, target in itertools.permutations(drawings, 2):
                line = _write_pair(folder / "PairAnnotation" / name, len(lines) + 1, source, target, size)
                lines += [line] if line else []
        (folder / "Layout" / "large" / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        counts[name] = len(lines)
    return counts


def _write_drawing(folder: Path, name: str, scene: Scene) -> _Drawing:
    images, annotations = folder / "JPEGImages" / scene.category, folder / "ImageAnnotation" / scene.category
    images.mkdir(parents=True, exist_ok=True)
    annotations.mkdir(parents=True, exist_ok=True)
    PILImage.fromarray(scene.image).save(images / f"{name}.jpg", quality=95, subsampling=0)
    drawing = _Drawing(name, scene)
    height, width = scene.image.shape[:2]
    ids = keypoint_names(scene.category)
    record = {
        "filename": f"{name}.jpg",
        "category": scene.category,
        "kind": scene.kind,
        "caption": scene.caption,
        "image_width": width,
        "image_height": height,
        "image_depth": 3,
        "pose": _POSES[scene.facing],
        "bndbox": drawing.pixel_box,
        "kps": {str(i): _pixel(scene, n) if n in scene.visible else None for i, n in enumerate(ids)},
        "kps_names": {str(i): n for i, n in enumerate(ids)},
    }
    (annotations / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    return drawing


def _write_pair(folder: Path, number: int, source: _Drawing, target: _Drawing, size: int) -> str | None:
    a, b = source.scene, target.scene
    ids = keypoint_names(a.category)
    common = [n for n in ids if n in a.visible and n in b.visible]
    if not common:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{number:06d}-{source.name}-{target.name}:{a.category}"
    record = {
        "pair_id": number,
        "filename": name,
        "src_imname": f"{source.name}.jpg",
        "trg_imname": f"{target.name}.jpg",
        "src_imsize": [size, size, 3],
        "trg_imsize": [size, size, 3],
        "src_bndbox": source.pixel_box,
        "trg_bndbox": target.pixel_box,
        "category": a.category,
        "src_pose": _POSES[a.facing],
        "trg_pose": _POSES[b.facing],
        "src_kps": [_pixel(a, n) for n in common],
        "trg_kps": [_pixel(b, n) for n in common],
        "kps_ids": [str(ids.index(n)) for n in common],
        "mirror": int(a.facing != b.facing),
        "viewpoint_variation": 0 if a.facing == b.facing else 2,
        "scale_variation": _scale_variation(a, b),
        "truncation": int(a.truncated) + 2 * int(b.truncated),
        "occlusion": int(a.occluded) + 2 * int(b.occluded),
    }
    (folder / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    return name


def _pixel(scene: Scene, name: str) -> list[int]:
    """Return the index of the pixel that contains a key-point."""
    return [int(v) for v in scene.keypoints[name]]


def _scale_variation(a: Scene, b: Scene) -> int:
    """Return 0 if the longer box is less than 1.3 times as long as the other, 1 if less than 1.6 times, else 2."""
    longer, shorter = sorted((max(s.box[2] - s.box[0], s.box[3] - s.box[1]) for s in (a, b)), reverse=True)
    return int(longer / shorter >= 1.3) + int(longer / shorter >= 1.6)
