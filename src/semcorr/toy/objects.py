"""The inhabitants of the toy world: animals, birds, cars and faces, each of several kinds.

An object is a list of parts in drawing order (the farthest first). Shapes vary from one individual to the
next through a generator, and from kind to kind through the tables below.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from semcorr.toy.shapes import Polygon, box, curve, ellipse, limb, polygon

CATEGORIES: dict[str, tuple[str, ...]] = {
    "animal": ("cat", "dog", "horse", "pig", "elephant", "rabbit"),
    "bird": ("duck", "robin", "flamingo", "parrot"),
    "car": ("car", "van", "truck", "bus"),
    "face": ("boy", "girl", "robot", "clown"),
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One named part: polygons in object coordinates, painted in one colour.

    ``word`` is the part's name in captions, ``keypoints`` the named points that lie
    on it, ``shade`` darkens it (limbs on the far side), ``paint`` fixes its colour (pupils, window bars).
    """

    word: str
    polygons: list[Polygon]
    keypoints: dict[str, tuple[float, float]] = field(default_factory=dict)
    shade: float = 1.0
    paint: tuple[int, int, int] | None = None


WHITE, BLACK = (245, 245, 245), (15, 15, 15)


def _eye(cx: float, cy: float, radius: float, name: str = "eye", word: str = "eye") -> list[Part]:
    """A coloured iris on white with a black pupil; big, because the model sees 64 pixels."""
    return [
        Part(word=word, polygons=[ellipse(cx, cy, radius * 1.25, radius * 1.25, vertices=14)], paint=WHITE),
        Part(word=word, polygons=[ellipse(cx, cy, radius, radius, vertices=14)], keypoints={name: (cx, cy)}),
        Part(word=word, polygons=[ellipse(cx, cy, radius * 0.45, radius * 0.45, vertices=10)], paint=BLACK),
    ]


class _AnimalShape(NamedTuple):
    """Half the body's length and height, leg, head radius, neck's rise, kinds of ear and tail, snout."""

    length: float
    height: float
    leg: float
    head: float
    rise: float
    ear: str
    tail: str
    snout: float


_ANIMALS = {
    "cat": _AnimalShape(length=0.55, height=0.25, leg=0.36, head=0.27, rise=0.22, ear="point", tail="long", snout=0.10),
    "dog": _AnimalShape(length=0.56, height=0.26, leg=0.42, head=0.26, rise=0.26, ear="flap", tail="up", snout=0.22),
    "horse": _AnimalShape(
        length=0.58, height=0.26, leg=0.58, head=0.21, rise=0.50, ear="small", tail="hang", snout=0.26
    ),
    "pig": _AnimalShape(length=0.60, height=0.34, leg=0.24, head=0.29, rise=0.08, ear="small", tail="curl", snout=0.15),
    "elephant": _AnimalShape(
        length=0.60, height=0.38, leg=0.40, head=0.31, rise=0.16, ear="huge", tail="hang", snout=0.5
    ),
    "rabbit": _AnimalShape(
        length=0.44, height=0.29, leg=0.26, head=0.27, rise=0.26, ear="long", tail="puff", snout=0.10
    ),
}


def animal(kind: str, rng: np.random.Generator) -> list[Part]:
    """A four-legged animal seen from its side, facing right."""
    spec = _ANIMALS[kind]

    def vary(value: float) -> float:
        return value * rng.uniform(0.88, 1.12)

    length, height, leg, head = vary(spec.length), vary(spec.height), vary(spec.leg), vary(spec.head)
    rise, snout = vary(spec.rise), vary(spec.snout)
    width = 0.15 if kind != "elephant" else 0.22
    foot = height * 0.6 + leg
    hx, hy = length * 0.92 + head * 0.35, -rise - head * 0.25
    front, hind = length * 0.62, -length * 0.66
    stride = rng.uniform(-0.10, 0.10)

    def leg_part(word: str, x: float, swing: float, keypoints: bool) -> Part:
        points = {word: (x + swing, foot - width * 0.4)} if keypoints else {}
        shape = [limb(x, height * 0.4, x + swing, foot, width * 1.2, width)]
        return Part(word=word, polygons=shape, keypoints=points, shade=1.0 if keypoints else 0.7)

    neck = Part(word="body", polygons=[limb(length * 0.7, -height * 0.2, hx - head * 0.2, hy, height, head * 0.9)])
    torso = Part(
        word="body",
        polygons=[ellipse(0, 0, length, height)],
        keypoints={"body": (0.0, 0.0), "rump": (-length * 0.82, -height * 0.15)},
    )
    return [
        _tail(spec.tail, length, height, rng),
        leg_part("front leg", front - 0.13, -stride, keypoints=False),
        leg_part("hind leg", hind + 0.13, stride, keypoints=False),
        neck,
        torso,
        leg_part("front leg", front, stride, keypoints=True),
        leg_part("hind leg", hind, -stride, keypoints=True),
        *([_ear(spec.ear, hx, hy, head, rng)] if spec.ear != "huge" else []),
        Part(word="head", polygons=[ellipse(hx, hy, head, head * 0.92)]),
        _snout(kind, hx, hy, head, snout),
        *([_ear("huge", hx, hy, head, rng)] if spec.ear == "huge" else []),
        *_eye(hx + head * 0.32, hy - head * 0.22, head * 0.26),
    ]


def _tail(kind: str, length: float, height: float, rng: np.random.Generator) -> Part:
    x, y, w = -length * 0.9, -height * 0.2, rng.uniform(-0.06, 0.06)
    if kind == "puff":
        return Part(word="tail", polygons=[ellipse(x - 0.06, y, 0.16, 0.16)], keypoints={"tail": (x - 0.1, y)})
    paths = {
        "long": [(x, y), (x - 0.22, y - 0.08), (x - 0.32, y - 0.34 + w), (x - 0.24, y - 0.58 + w)],
        "up": [(x, y), (x - 0.20, y - 0.22), (x - 0.30, y - 0.46 + w)],
        "hang": [(x, y), (x - 0.20, y + 0.06), (x - 0.26, y + 0.36 + w), (x - 0.24, y + 0.56)],
        "curl": [(x, y), (x - 0.16, y - 0.06), (x - 0.24, y - 0.20), (x - 0.12, y - 0.26)],
    }
    path = paths[kind]
    return Part(word="tail", polygons=curve(path, 0.15, 0.11), keypoints={"tail": path[2]})


def _ear(kind: str, hx: float, hy: float, head: float, rng: np.random.Generator) -> Part:
    tilt = rng.uniform(-12, 12)
    if kind == "flap":
        cx, cy = hx - head * 0.55, hy + head * 0.05
        shapes = [ellipse(cx, cy, head * 0.34, head * 0.72, 12 + tilt)]
    elif kind == "huge":
        cx, cy = hx - head * 0.62, hy + head * 0.05
        shapes = [ellipse(cx, cy, head * 0.72, head * 0.95, tilt)]
    elif kind == "long":
        cx, cy = hx - head * 0.35, hy - head * 1.35
        shapes = [ellipse(cx, cy, head * 0.30, head * 0.85, -12 + tilt)]
    else:
        size = head * (1.0 if kind == "point" else 0.75)
        cx, cy = hx - head * 0.35, hy - head * 0.85 - size * 0.15
        shapes = [
            polygon(
                (cx - size * 0.48, cy + size * 0.5),
                (cx - size * 0.1, cy - size * 0.6),
                (cx + size * 0.5, cy + size * 0.4),
            )
        ]
    return Part(word="ear", polygons=shapes, keypoints={"ear": (cx, cy)})


def _snout(kind: str, hx: float, hy: float, head: float, snout: float) -> Part:
    x, y = hx + head * 0.75, hy + head * 0.25
    if kind == "elephant":
        path = [(x, y), (x + 0.20, y + snout * 0.5), (x + 0.16, y + snout), (x + 0.24, y + snout * 1.2)]
        return Part(word="nose", polygons=curve(path, 0.24, 0.15), keypoints={"nose": path[2]})
    shape = ellipse(x + snout * 0.35, y + snout * 0.2, snout * 0.6 + 0.06, 0.13 + snout * 0.12, 20)
    return Part(word="nose", polygons=[shape], keypoints={"nose": (x + snout * 0.4, y + snout * 0.2)})


class _BirdShape(NamedTuple):
    """Half the body's length and height, leg, head radius, neck, beak (length, half thickness), tail length."""

    length: float
    height: float
    leg: float
    head: float
    neck: float
    beak: tuple[float, float]
    tail: float


_BIRDS = {
    "duck": _BirdShape(length=0.55, height=0.32, leg=0.20, head=0.24, neck=0.24, beak=(0.30, 0.15), tail=0.28),
    "robin": _BirdShape(length=0.48, height=0.36, leg=0.32, head=0.26, neck=0.08, beak=(0.22, 0.13), tail=0.40),
    "flamingo": _BirdShape(length=0.42, height=0.27, leg=0.62, head=0.19, neck=0.55, beak=(0.26, 0.14), tail=0.24),
    "parrot": _BirdShape(length=0.40, height=0.38, leg=0.22, head=0.31, neck=0.16, beak=(0.22, 0.24), tail=0.60),
}


def bird(kind: str, rng: np.random.Generator) -> list[Part]:
    """A bird seen from its side, facing right."""
    spec = _BIRDS[kind]

    def vary(value: float) -> float:
        return value * rng.uniform(0.88, 1.12)

    length, height, leg = vary(spec.length), vary(spec.height), vary(spec.leg)
    head, neck, tail = vary(spec.head), vary(spec.neck), vary(spec.tail)
    beak, thick = spec.beak
    hx, hy = length * 0.75, -height * 0.7 - neck - head * 0.3
    bx, by = hx + head * 0.85, hy + head * 0.12
    foot, lift = height * 0.8 + leg, rng.uniform(-18, 18)
    wing = ellipse(-length * 0.15, -height * 0.05, length * 0.58, height * 0.55, lift + 8)
    drop = 0.15 if kind != "parrot" else 0.35
    fan = [
        (-length * 0.8, -height * 0.3),
        (-length * 0.85 - tail, -0.16 + drop * 0.6),
        (-length * 0.85 - tail, 0.14 + drop),
        (-length * 0.75, height * 0.35),
    ]

    def leg_part(x: float, near: bool) -> Part:
        shape = [limb(x, height * 0.6, x, foot, 0.11, 0.09), limb(x, foot, x + 0.16, foot, 0.10, 0.08)]
        return Part(
            word="leg", polygons=shape, keypoints={"leg": (x, foot - 0.05)} if near else {}, shade=1.0 if near else 0.7
        )

    return [
        Part(word="tail", polygons=[polygon(*fan)], keypoints={"tail": (-length * 0.85 - tail * 0.65, drop * 0.55)}),
        leg_part(0.14, near=False),
        leg_part(-0.08, near=True),
        Part(word="body", polygons=[limb(length * 0.5, -height * 0.3, hx, hy, height * 0.9, head * 0.9)]),
        Part(
            word="body",
            polygons=[ellipse(0, 0, length, height, -10)],
            keypoints={"breast": (length * 0.72, height * 0.05)},
        ),
        Part(word="wing", polygons=[wing], keypoints={"wing": (-length * 0.15, -height * 0.05)}),
        Part(
            word="beak",
            polygons=[polygon((bx - 0.08, by - thick), (bx + beak, by + 0.03), (bx - 0.08, by + thick))],
            keypoints={"beak": (bx + beak * 0.35, by + 0.01)},
        ),
        Part(word="head", polygons=[ellipse(hx, hy, head, head)]),
        *_eye(hx + head * 0.25, hy - head * 0.2, head * 0.28),
    ]


class _CarShape(NamedTuple):
    """Half the body's length and height, cabin from and to (of the length), its height, wheel radius, slant."""

    length: float
    height: float
    cabin: tuple[float, float]
    roof: float
    wheel: float
    slant: float


_CARS = {
    "car": _CarShape(length=0.92, height=0.22, cabin=(-0.55, 0.35), roof=0.34, wheel=0.22, slant=0.20),
    "van": _CarShape(length=0.90, height=0.26, cabin=(-0.88, 0.50), roof=0.46, wheel=0.21, slant=0.14),
    "truck": _CarShape(length=0.95, height=0.22, cabin=(0.05, 0.72), roof=0.50, wheel=0.24, slant=0.10),
    "bus": _CarShape(length=0.98, height=0.30, cabin=(-0.95, 0.90), roof=0.50, wheel=0.20, slant=0.05),
}


def car(kind: str, rng: np.random.Generator) -> list[Part]:
    """A vehicle seen from its side, facing right."""
    spec = _CARS[kind]

    def vary(value: float) -> float:
        return value * rng.uniform(0.9, 1.1)

    length, height, roof, wheel = vary(spec.length), vary(spec.height), vary(spec.roof), vary(spec.wheel)
    a, b = (length * v for v in spec.cabin)
    slant, top = spec.slant, -height - roof
    cabin = polygon((a, -height + 0.04), (a + slant * 0.7, top), (b - slant, top), (b + slant * 0.4, -height + 0.04))
    middle = (a + b) / 2
    window = polygon(
        (middle + 0.02, -height - 0.02),
        (middle + 0.02, top + 0.12),
        (b - slant - 0.02, top + 0.12),
        (b + slant * 0.1, -height - 0.02),
    )
    window_at = ((middle + b - slant * 0.5) / 2, (-height + top + 0.1) / 2)
    door = box(middle - 0.20, -height + 0.02, middle + 0.16, height * 0.62)
    rear, front, low = -length * 0.58, length * 0.60, height * 0.95

    def wheel_parts(word: str, x: float) -> list[Part]:
        tyre = Part(word=word, polygons=[ellipse(x, low, wheel, wheel)], keypoints={word: (x, low)})
        return [
            tyre,
            Part(word=word, polygons=[ellipse(x, low, wheel * 0.4, wheel * 0.4, vertices=12)], paint=(200, 200, 200)),
        ]

    return [
        Part(word="roof", polygons=[cabin], keypoints={"roof": ((a + b) / 2 - 0.05, top + 0.06)}),
        Part(word="window", polygons=[window], keypoints={"window": window_at}),
        Part(
            word="body",
            polygons=[box(-length, -height, length, height, 0.10)],
            keypoints={"hood": (length * 0.86, -height * 0.55)},
        ),
        Part(word="door", polygons=[door], keypoints={"door": (middle - 0.02, -height * 0.1)}),
        Part(
            word="headlight",
            polygons=[ellipse(length * 0.94, height * 0.15, 0.13, 0.14, vertices=14)],
            keypoints={"headlight": (length * 0.94, height * 0.15)},
        ),
        Part(
            word="taillight",
            polygons=[box(-length * 1.04, -height * 0.45, -length * 1.04 + 0.2, height * 0.35)],
            keypoints={"taillight": (-length * 1.04 + 0.1, -height * 0.05)},
        ),
        *wheel_parts("rear wheel", rear),
        *wheel_parts("front wheel", front),
    ]


class _FaceShape(NamedTuple):
    """Half the skull's width and height, style of hair, whether the skull is a box."""

    width: float
    height: float
    hair: str
    square: bool


_FACES = {
    "boy": _FaceShape(width=0.62, height=0.74, hair="short", square=False),
    "girl": _FaceShape(width=0.58, height=0.72, hair="long", square=False),
    "robot": _FaceShape(width=0.62, height=0.66, hair="aerial", square=True),
    "clown": _FaceShape(width=0.66, height=0.70, hair="puffs", square=False),
}


def face(kind: str, rng: np.random.Generator) -> list[Part]:
    """A face seen from the front. Left and right are those of the image."""
    spec = _FACES[kind]
    width, height = spec.width * rng.uniform(0.9, 1.1), spec.height * rng.uniform(0.9, 1.1)
    square = spec.square
    eye_x, eye_y, eye_r = width * rng.uniform(0.40, 0.48), -height * rng.uniform(0.12, 0.26), rng.uniform(0.12, 0.16)
    mouth_y, mouth_w = height * rng.uniform(0.50, 0.60), width * rng.uniform(0.36, 0.52)
    nose_y, ear_r = height * rng.uniform(0.08, 0.18), rng.uniform(0.16, 0.22)
    skull = box(-width, -height, width, height, 0.12) if square else ellipse(0, 0, width, height)
    nose = polygon((0, nose_y - 0.22), (0.15, nose_y + 0.12), (-0.15, nose_y + 0.12))
    if kind == "clown":
        nose = ellipse(0, nose_y, 0.19, 0.19)

    def ear(side: int, word: str) -> Part:
        x = side * (width + ear_r * 0.35)
        shape = (
            ellipse(x, 0.02, ear_r, ear_r * 1.3) if not square else box(x - ear_r * 0.7, -0.2, x + ear_r * 0.7, 0.25)
        )
        return Part(word=word, polygons=[shape], keypoints={word: (x + side * ear_r * 0.25, 0.02)})

    return [
        *([_hair("long", width, height)] if spec.hair == "long" else []),
        ear(-1, "left ear"),
        ear(1, "right ear"),
        Part(word="face", polygons=[skull], keypoints={"chin": (0.0, height * 0.88)}),
        *([_hair(spec.hair, width, height)] if spec.hair != "long" else [_hair("fringe", width, height)]),
        *_eye(-eye_x, eye_y, eye_r, "left eye", "left eye"),
        *_eye(eye_x, eye_y, eye_r, "right eye", "right eye"),
        Part(word="nose", polygons=[nose], keypoints={"nose": (0.0, nose_y)}),
        Part(
            word="mouth",
            polygons=[ellipse(0, mouth_y, mouth_w, rng.uniform(0.09, 0.14))],
            keypoints={"mouth": (0.0, mouth_y)},
        ),
    ]


def _hair(style: str, width: float, height: float) -> Part:
    top = {"hair": (0.0, -height * 0.88)}
    cap = polygon(
        (-width * 1.05, -height * 0.42),
        (-width * 0.8, -height * 0.95),
        (0, -height * 1.18),
        (width * 0.8, -height * 0.95),
        (width * 1.05, -height * 0.42),
        (0, -height * 0.66),
    )
    if style in ("short", "fringe"):
        return Part(word="hair", polygons=[cap], keypoints=top)
    if style == "long":
        return Part(
            word="hair",
            polygons=[ellipse(0, 0.0, width * 1.32, height * 1.12), box(-width * 1.3, 0, width * 1.3, height * 0.95)],
        )
    if style == "puffs":
        puffs = [ellipse(s * width * 0.85, -height * 0.72, 0.30, 0.28) for s in (-1, 1)]
        return Part(word="hair", polygons=[*puffs, ellipse(0, -height * 0.95, 0.34, 0.22)], keypoints=top)
    return Part(
        word="hair", polygons=[box(-width * 0.8, -height * 1.12, width * 0.8, -height * 0.72, 0.08)], keypoints=top
    )


BUILDERS = {"animal": animal, "bird": bird, "car": car, "face": face}
