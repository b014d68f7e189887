"""The toy benchmark as a data set: drawings with exact annotations, rendered into a folder."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import PIL.Image

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.datasets.benchmark import Benchmark, KnownCounts
from semcorr.errors import DatasetError, suggest
from semcorr.imaging.geometry import Box
from semcorr.imaging.image import save_image
from semcorr.progress import Progress
from semcorr.storage.files import exists, write_atomically
from semcorr.toy import objects, render, shapes
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.render import Split, render_scene

_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}
_SEEDS_A_CATEGORY = 100_000

WORDLESS = frozenset({"rump", "breast", "hood", "chin"})
"""Key-points inside a larger part, without a word (and, in a grounded model's training, a mask) of their own."""


def load(
    folder: Path,
    split: str = "test",
    *,
    sources: int = 6,
    targets: int = 13,
    size: int = 256,
    progress: Progress | None = None,
) -> Dataset:
    """``sources`` drawings of every category, each with ``targets`` others of its own: the toy benchmark's pairs.

    Drawings that ``folder`` lacks are written into it, as PNG, and so are those that are not what they should be. The
    annotations come from the renderer: points and boxes are exact. The flag ``facing`` says whether the two objects
    face the same way: "same", "opposite", or "front" for faces, which always do.

    Args:
        folder: Where the drawings are, or will be.
        split: "train", "val" or "test"; they share no drawing.
        sources: Source images of each category.
        targets: Targets of each source image.
        size: Side of the images in pixels.
        progress: Called as ``("render", drawings done, drawings in all)``.

    Raises:
        DatasetError: An unknown split, no pairs requested, or the folder cannot be written.
    """
    if split not in _SPLITS:
        raise DatasetError(f"Toy world: unknown split {split!r}.{suggest(split, _SPLITS)} Known: {', '.join(_SPLITS)}.")
    if min(sources, targets) < 1 or size < 2:
        raise DatasetError(
            f"Toy world: expected at least 1 source, 1 target and 2 pixels, got {sources}, {targets} and {size}."
        )
    if exists(folder) and not folder.is_dir():
        raise DatasetError(f"Toy world: expected a folder to draw into, got the file {str(folder)!r}. Name another.")
    drawings = _Drawings(folder / f"{split}-{size}", _SPLITS[split], size)
    total = len(CATEGORIES) * sources * (targets + 1)
    done, pairs = 0, []
    for index, category in enumerate(CATEGORIES):
        for number in range(sources):
            first = index * _SEEDS_A_CATEGORY + number * (targets + 1)
            known: dict[int, _Drawing] = {}
            for seed in range(first, first + targets + 1):
                known[seed] = drawings.get(seed, category)
                done += 1
                if progress:
                    progress("render", done, total)
            pairs += [_pair(split, (first, seed), known) for seed in range(first + 1, first + targets + 1)]
    drawings.save()
    return Dataset(name="toy", split=split, pairs=pairs, threshold="target-box", root=folder)


@dataclass(frozen=True, kw_only=True)
class _Drawing:
    """A drawing's file and annotations: its visible points by name, its box, and the way it faces."""

    category: str
    path: Path
    points: dict[str, tuple[float, float]]
    box: Box
    facing: str
    size: int


class _Drawings:
    """The drawings of one folder: made where they are missing, damaged, or another renderer's.

    ``truth.json`` holds the renderer's annotations of each, with the hash of its file, so that nothing is drawn twice.
    """

    def __init__(self, folder: Path, split: Split, size: int) -> None:
        self._folder, self._split, self._size = folder, split, size
        self._file = folder / "truth.json"
        self._renderer = _renderer()
        self._truth: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            saved = json.loads(self._file.read_text(encoding="utf-8"))
            self._truth = saved["drawings"] if saved["renderer"] == self._renderer else {}
        self._changed = False

    def get(self, seed: int, category: str) -> _Drawing:
        """The drawing of a seed."""
        key, path = f"{seed:06d}", self._folder / f"{seed:06d}.png"
        truth = self._truth.get(key)
        if truth is None or truth["category"] != category or truth["sha256"] != _sha256(path):
            scene = render_scene(seed, self._size, split=self._split, category=category)
            save_image(PIL.Image.fromarray(scene.image), path, error=DatasetError)
            truth = {
                "category": category,
                "points": {name: [float(v) for v in scene.keypoints[name]] for name in sorted(scene.visible)},
                "box": [float(v) for v in scene.box],
                "facing": scene.facing,
                "sha256": _sha256(path),
            }
            self._truth[key], self._changed = truth, True
        x0, y0, x1, y1 = truth["box"]
        return _Drawing(
            category=category,
            path=path,
            points={name: (x, y) for name, (x, y) in truth["points"].items()},
            box=(x0, y0, x1, y1),
            facing=truth["facing"],
            size=self._size,
        )

    def save(self) -> None:
        """Write the annotations of new drawings; where that fails, they are drawn again next time."""
        if self._changed:
            document = {"renderer": self._renderer, "drawings": self._truth}
            with contextlib.suppress(OSError):
                write_atomically(self._file, json.dumps(document).encode())


def _renderer() -> str:
    """A hash of the code that draws: another version may draw differently."""
    digest = hashlib.sha256(f"{PIL.__version__} {np.__version__}".encode())
    for module in (shapes, objects, render):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    """The hash of a file's bytes; "" where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _pair(split: str, seeds: tuple[int, int], known: Mapping[int, _Drawing]) -> Pair:
    source, target = (known[seed] for seed in seeds)
    names = tuple(sorted(source.points.keys() & target.points.keys()))
    sides = [
        PairImage(
            path=side.path,
            size=(side.size, side.size),
            points=np.array([side.points[name] for name in names], dtype=np.float64).reshape(-1, 2),
            box=side.box,
        )
        for side in (source, target)
    ]
    facing = "front" if source.category == "face" else ("same" if source.facing == target.facing else "opposite")
    return Pair(
        id=f"{split}-{seeds[0]}-{seeds[1]}",
        category=source.category,
        source=sides[0],
        target=sides[1],
        names=names,
        flags={"facing": facing},
    )


TOY = Benchmark(
    name="toy",
    title="Toy world",
    folder="toy",
    read=lambda data, split, _, progress: load(data, split, progress=progress),
    threshold="target-box",
    splits=("test", "val", "train"),
    known={
        (split, ""): KnownCounts(pairs=312, by_category=dict.fromkeys(CATEGORIES, 78), categories=4)
        for split in ("test", "val", "train")
    },
    origin="drawn into the folder when it is read",
    terms="semcorr's own, Apache-2.0",
)
