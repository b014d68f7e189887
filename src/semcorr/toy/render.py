"""Scenes of the toy world: one object on a background, drawn deterministically from a seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PILImage
from PIL import ImageDraw

from semcorr.toy.objects import BUILDERS, CATEGORIES, Part

Split = Literal["train", "val", "test"]
Facing = Literal["left", "right", "front"]

_SPLIT_KEY: dict[str, int] = {"train": 0, "val": 1, "test": 2}

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (244, 140, 30),
    "yellow": (248, 216, 60),
    "green": (56, 160, 64),
    "cyan": (70, 200, 210),
    "blue": (44, 86, 200),
    "purple": (132, 62, 176),
    "pink": (244, 150, 190),
    "brown": (124, 78, 44),
    "white": (240, 240, 240),
    "gray": (140, 140, 140),
    "black": (36, 36, 36),
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A rendered image and its exact annotations.

    Attributes:
        image: (height, width, 3).
        labels: For each pixel, 1 + the index into ``words`` of the part on top; 0 for the background and for whatever
            covers the object.
        words: The word of each part in captions.
        colours: The colour of each word.
        category: One of ``CATEGORIES``.
        kind: Kind of the category, such as "cat".
        facing: Direction in which the object faces.
        keypoints: (x, y) by name, in pixels, continuous; (0, 0) is the image's top-left corner.
        visible: Names of the key-points that lie inside the image and are not covered.
        box: (x0, y0, x1, y1) of the object, in the same frame.
        truncated: Whether the object extends beyond the image.
        occluded: Whether a bar covers a part of it.
        caption: A sentence that names some parts with their colours.
    """

    image: UInt8[np.ndarray, "height width 3"]
    labels: UInt8[np.ndarray, "height width"]
    words: tuple[str, ...]
    colours: dict[str, str]
    category: str
    kind: str
    facing: Facing
    keypoints: dict[str, tuple[float, float]]
    visible: frozenset[str]
    box: tuple[float, float, float, float]
    truncated: bool
    occluded: bool
    caption: str


@dataclass(frozen=True)
class _Pose:
    """Object coordinates to the unit square: p -> R(angle) (±x, y) scale + centre."""

    angle: float
    scale: float
    flip: bool
    cx: float
    cy: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=np.float64) * (-1.0 if self.flip else 1.0, 1.0)
        c, s = math.cos(self.angle), math.sin(self.angle)
        return points @ np.array([[c, s], [-s, c]]) * self.scale + (self.cx, self.cy)


def rng_for(seed: int, split: Split) -> np.random.Generator:
    """Return the generator of a scene. No two splits share a stream, whatever the seeds."""
    return np.random.default_rng([_SPLIT_KEY[split], seed])


def render_scene(
    seed: int, size: int = 256, *, split: Split = "test", category: str | None = None, supersample: int = 2
) -> Scene:
    """Draw the scene of ``seed``: equal arguments give equal images, and every ``size`` the same scene.

    ``category`` fixes the category (one of ``CATEGORIES``) and leaves every other draw to the seed.
    """
    rng = rng_for(seed, split)
    drawn = str(rng.choice(list(CATEGORIES)))
    category = category or drawn
    kind = str(rng.choice(CATEGORIES[category]))
    parts = BUILDERS[category](kind, rng)
    pose = _pose(category, parts, rng)
    words = tuple(dict.fromkeys(part.word for part in parts))
    colours = {word: str(rng.choice(list(PALETTE))) for word in words}
    canvas = _Canvas(size, supersample)
    _background(canvas, rng)
    _draw_object(canvas, parts, pose, words, colours, rng)
    box = canvas.object_box()
    occluded = bool(rng.random() < 0.10)
    if occluded:
        _occluder(canvas, box, rng)
    image, labels = canvas.finish()
    keypoints, visible = _keypoints(parts, pose, words, labels, size)
    return Scene(
        image=image,
        labels=labels,
        words=words,
        colours=colours,
        category=category,
        kind=kind,
        facing="front" if category == "face" else ("left" if pose.flip else "right"),
        keypoints=keypoints,
        visible=visible,
        box=tuple(float(v) * size for v in np.clip(box, 0, 1)),  # type: ignore[arg-type]
        truncated=bool(min(box[0], box[1]) < 0 or max(box[2], box[3]) > 1),
        occluded=occluded,
        caption=_caption(kind, words, colours, rng),
    )


def _pose(category: str, parts: list[Part], rng: np.random.Generator) -> _Pose:
    """Flip, rotate, scale and move the object so that it mostly lies inside the image."""
    flip = bool(rng.random() < 0.5) and category != "face"
    angle = math.radians(rng.uniform(-25, 25))
    turned = _Pose(angle, 1.0, flip, 0.0, 0.0)
    vertices = np.concatenate([turned(polygon) for part in parts for polygon in part.polygons])
    low, high = vertices.min(0), vertices.max(0)
    extent = rng.uniform(0.62, 0.92)
    scale = extent / float((high - low).max())
    slack = 0.03 if rng.random() < 0.9 else -0.12  # one in ten may stick out
    size = (high - low) * scale
    room = np.maximum(1 - 2 * slack - size, 0.0)
    corner = slack + room * rng.random(2)
    centre = corner - low * scale
    return _Pose(angle, scale, flip, float(centre[0]), float(centre[1]))


class _Canvas:
    """The image and its part labels, drawn together from polygons in the unit square."""

    def __init__(self, size: int, supersample: int) -> None:
        self.size, self.factor = size, supersample
        self.side = size * supersample
        self.image = PILImage.new("RGB", (self.side, self.side))
        self.labels = PILImage.new("L", (size, size))
        self._paint, self._label = ImageDraw.Draw(self.image), ImageDraw.Draw(self.labels)
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)

    def polygon(
        self, vertices: np.ndarray, colour: tuple[int, int, int], label: int | None, outline: bool = False
    ) -> None:
        # PIL's integer coordinates are pixel centres; ours are continuous with corners at integers.
        paint = [tuple(p) for p in vertices * self.side - 0.5]
        self._paint.polygon(paint, fill=colour)
        if outline:
            self._paint.line([*paint, paint[0]], fill=(20, 20, 20), width=max(1, round(self.side / 110)))
        if label is not None:
            self._label.polygon([tuple(p) for p in vertices * self.size - 0.5], fill=label)
            if label:
                self._low, self._high = np.minimum(self._low, vertices.min(0)), np.maximum(self._high, vertices.max(0))

    def object_box(self) -> tuple[float, float, float, float]:
        return (*map(float, self._low), *map(float, self._high))  # type: ignore[return-value]

    def fill(self, pixels: np.ndarray) -> None:
        background = PILImage.fromarray(pixels.astype(np.uint8)).resize(
            (self.side, self.side), PILImage.Resampling.BILINEAR
        )
        self.image.paste(background)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        image = self.image.reduce(self.factor) if self.factor > 1 else self.image
        return np.asarray(image).copy(), np.asarray(self.labels).copy()


def _jitter(colour: Sequence[float], rng: np.random.Generator, amount: float = 14) -> tuple[int, int, int]:
    return tuple(int(v) for v in np.clip(np.asarray(colour) + rng.uniform(-amount, amount, 3), 0, 255))  # type: ignore[return-value]


def _background(canvas: _Canvas, rng: np.random.Generator) -> None:
    """Draw a plain, gradient, cluttered or dotted background; muted, so that parts stand out at 64 pixels."""

    def muted() -> np.ndarray:
        return rng.uniform(70, 235) * np.ones(3) * 0.6 + rng.uniform(40, 240, 3) * 0.4

    style = str(rng.choice(["plain", "gradient", "clutter", "dots"]))
    first, second = muted(), muted()
    corners = np.stack([first, first, first, first] if style in ("plain", "dots") else [first, second, muted(), second])
    canvas.fill(corners.reshape(2, 2, 3))
    count = {"plain": 0, "gradient": 0, "clutter": 7, "dots": 16}[style]
    for _ in range(count):
        centre, colour = rng.random(2), _jitter(tuple(muted()), rng)
        corners_n = int(rng.integers(3, 6)) if style == "clutter" else 12
        radius = rng.uniform(0.05, 0.20) if style == "clutter" else rng.uniform(0.02, 0.05)
        turn = rng.uniform(0, 2 * math.pi) + np.linspace(0, 2 * math.pi, corners_n, endpoint=False)
        shape = centre + radius * np.stack([np.cos(turn), np.sin(turn)], 1)
        canvas.polygon(shape, colour, label=None)


def _draw_object(
    canvas: _Canvas,
    parts: list[Part],
    pose: _Pose,
    words: tuple[str, ...],
    colours: dict[str, str],
    rng: np.random.Generator,
) -> None:
    outline, texture = bool(rng.random() < 0.5), str(rng.choice(["none", "none", "dots", "stripes"]))
    paints = {word: _jitter(PALETTE[colours[word]], rng) for word in words}
    for part in parts:
        colour = part.paint or paints[part.word]
        shaded = tuple(int(v * part.shade) for v in colour)
        for shape in part.polygons:
            canvas.polygon(pose(shape), shaded, words.index(part.word) + 1, outline and part.paint is None)  # type: ignore[arg-type]
        if texture != "none" and part.word in ("body", "face", "hair") and part.paint is None:
            _texture(canvas, part, pose, texture, shaded, rng)  # type: ignore[arg-type]


def _texture(
    canvas: _Canvas, part: Part, pose: _Pose, texture: str, colour: tuple[int, int, int], rng: np.random.Generator
) -> None:
    """Draw darker dots or stripes inside a part's largest polygon."""
    shape = max(part.polygons, key=lambda p: float(np.prod(np.ptp(p, axis=0))))
    low, high = shape.min(0), shape.max(0)
    centre, half = (low + high) / 2, (high - low) / 2
    dark = tuple(int(v * 0.72) for v in colour)
    for _ in range(4):
        at = centre + half * rng.uniform(-0.5, 0.5, 2)
        radii = (0.05, 0.05) if texture == "dots" else (0.025, float(half[1]) * 0.4)
        turn = np.linspace(0, 2 * math.pi, 10, endpoint=False)
        canvas.polygon(pose(at + np.stack([np.cos(turn), np.sin(turn)], 1) * radii), dark, label=None)  # type: ignore[arg-type]


def _occluder(canvas: _Canvas, box: tuple[float, float, float, float], rng: np.random.Generator) -> None:
    """Draw a bar across a part of the object."""
    x = box[0] + (box[2] - box[0]) * rng.uniform(0.1, 0.9)
    width, lean = rng.uniform(0.05, 0.10), rng.uniform(-0.2, 0.2)
    shape = np.array([(x - width, 0.0), (x + width, 0.0), (x + width + lean, 1.0), (x - width + lean, 1.0)])
    canvas.polygon(shape, _jitter((110, 96, 84), rng, 30), label=0)


def _keypoints(
    parts: list[Part], pose: _Pose, words: tuple[str, ...], labels: np.ndarray, size: int
) -> tuple[dict[str, tuple[float, float]], frozenset[str]]:
    """Return the key-points in pixels, and those inside the image whose own part is on top there."""
    points: dict[str, tuple[float, float]] = {}
    visible = set()
    for part in parts:
        for name, at in part.keypoints.items():
            x, y = (float(v) for v in pose(np.asarray(at)) * size)
            points[name] = (x, y)
            if 0 <= x < size and 0 <= y < size and labels[int(y), int(x)] == words.index(part.word) + 1:
                visible.add(name)
    return points, frozenset(visible)


def _caption(kind: str, words: tuple[str, ...], colours: dict[str, str], rng: np.random.Generator) -> str:
    """Return a caption of a random subset of the parts, in random order: "a cat with a red tail and green ear"."""
    count = int(rng.integers(min(3, len(words)), len(words) + 1))
    chosen = [str(word) for word in rng.permutation(words)[:count]]
    article = "a " if rng.random() < 0.3 and count <= 5 else ""
    phrases = [f"{article}{colours[word]} {word}" for word in chosen]
    listed = phrases[0] if count == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
    return f"a {kind} with {listed}"
