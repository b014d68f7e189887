"""The toy benchmark as a data set: drawings of which everything is known, rendered into a folder."""

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
    truth comes from the renderer: points and boxes are exact. The flag ``facing`` says whether the two objects look the
    same way: "same", "opposite", or "front" for faces, which always do.

    Args:
        folder: Where the drawings are, or will be.
        split: "train", "val" or "test"; they share no drawing.
        sources: Source pictures of each category.
        targets: Targets of each source picture.
        size: Side of the pictures in pixels.
        progress: Called as ``("render", drawings done, drawings in all)``.

    Raises:
        DatasetError: an unknown split, no pairs asked for, or the folder cannot be written.
    """
    if split not in _SPLITS:
        raise DatasetError(f"Toy world: unknown split {split!r}.{suggest(split, _SPLITS)} Known: {', '.join(_SPLITS)}.")
    if min(sources, targets) < 1 or size < 2:
        raise DatasetError(
            f"Toy world: expected at least 1 source, 1 target and 2 pixels, got {sources}, {targets} and {size}."
        )
    if exists(folder) and not folder.is_dir():
        raise DatasetError(f"Toy world: expected a folder to draw into, got the file {str(folder)!r}. Name another.")
    place = folder / f"{split}-{size}"
    drawings = _Drawings(place, _SPLITS[split], size)
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
    drawings.remember()
    return Dataset(name="toy", split=split, pairs=pairs, threshold="target-box", root=folder)


@dataclass(frozen=True, kw_only=True)
class _Drawing:
    """What is known of a drawing: its visible points by name, its box, the way it faces, and its file."""

    category: str
    path: Path
    points: dict[str, tuple[float, float]]
    box: Box
    facing: str
    size: int


class _Drawings:
    """The drawings of one folder: made where they are missing, damaged, or another renderer's.

    ``truth.json`` remembers what the renderer knows of each, with the hash of its file, so that nothing is drawn twice.
    """

    def __init__(self, place: Path, split: Split, size: int) -> None:
        self._place, self._split, self._size = place, split, size
        self._file = place / "truth.json"
        self._renderer = _renderer()
        self._truth: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self._file.read_text(encoding="utf-8"))
            self._truth = found["drawings"] if found["renderer"] == self._renderer else {}
        self._changed = False

    def get(self, seed: int, category: str) -> _Drawing:
        """The drawing of a seed."""
        key, path = f"{seed:06d}", self._place / f"{seed:06d}.png"
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

    def remember(self) -> None:
        """Write what was drawn anew; where that fails, it is drawn again next time."""
        if self._changed:
            document = {"renderer": self._renderer, "drawings": self._truth}
            with contextlib.suppress(OSError):
                write_atomically(self._file, json.dumps(document).encode())


def _renderer() -> str:
    """Names the code that draws: another version may draw otherwise."""
    digest = hashlib.sha256(f"{PIL.__version__} {np.__version__}".encode())
    for module in (shapes, objects, render):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    """Of a file's bytes; "" where it cannot be read."""
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
