"""The toy benchmark: held-out pairs of the procedural world, whose truth is exact."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from semcorr.toy.objects import CATEGORIES
from semcorr.toy.render import Scene, Split, render_scene

WORDLESS = frozenset({"rump", "breast", "hood", "chin"})
"""Key-points inside a larger part, without a word (and, in a grounded model's training, a mask) of their own."""


@dataclass(frozen=True, kw_only=True)
class ToyPair:
    """Two scenes of one category and their common visible points, in pixels of each picture.

    ``box`` is the target's true box (x0, y0, x1, y1) and ``size`` its longer side, the unit of PCK.
    ``facing`` says whether the two objects look the same way ("front" for faces, which always do).
    """

    split: Split
    source_seed: int
    target_seed: int
    category: str
    facing: str
    names: tuple[str, ...]
    source_points: Float[np.ndarray, "points 2"]
    target_points: Float[np.ndarray, "points 2"]
    source_box: tuple[float, float, float, float]
    box: tuple[float, float, float, float]
    picture_size: int

    @property
    def size(self) -> float:
        """The longer side of the target's true box, in pixels."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


def toy_pairs(
    split: Split, *, sources: int = 10, targets: int = 8, size: int = 256, first_seed: int = 0
) -> list[ToyPair]:
    """``sources`` pictures of every category, each with ``targets`` others: 4 x sources x targets pairs.

    No picture stands in two groups: every source has targets of its own.
    """
    pairs = []
    for index, category in enumerate(CATEGORIES):
        base = first_seed + index * 100_000
        for number in range(sources):
            seeds = [base + number * (targets + 1) + k for k in range(targets + 1)]
            scenes = [scene_of(split, seed, category, size) for seed in seeds]
            pairs += [
                _pair(split, seeds[0], seed, scenes[0], target, size)
                for seed, target in zip(seeds[1:], scenes[1:], strict=True)
            ]
    return pairs


def scene_of(split: Split, seed: int, category: str, size: int = 256) -> Scene:
    """The picture of one side of a benchmark pair."""
    return render_scene(seed, size, split=split, category=category)


def _pair(split: Split, source_seed: int, target_seed: int, source: Scene, target: Scene, size: int) -> ToyPair:
    names = tuple(sorted(source.visible & target.visible))
    facing = "front" if source.category == "face" else ("same" if source.facing == target.facing else "opposite")
    return ToyPair(
        split=split,
        source_seed=source_seed,
        target_seed=target_seed,
        category=source.category,
        facing=facing,
        names=names,
        source_points=np.array([source.keypoints[n] for n in names]).reshape(-1, 2),
        target_points=np.array([target.keypoints[n] for n in names]).reshape(-1, 2),
        source_box=source.box,
        box=target.box,
        picture_size=size,
    )


def groups(pairs: list[ToyPair]) -> Iterator[tuple[int, list[ToyPair]]]:
    """Pairs by source picture, in order: a source's points are described once for all its targets."""
    found: dict[int, list[ToyPair]] = {}
    for pair in pairs:
        found.setdefault(pair.source_seed, []).append(pair)
    yield from found.items()


def same_position(pair: ToyPair) -> Float[np.ndarray, "points 2"]:
    """Baseline: the point stays where it was in the picture."""
    return pair.source_points.copy()


def same_box_position(pair: ToyPair) -> Float[np.ndarray, "points 2"]:
    """Baseline: the same relative place in the target's true box (which no method is given)."""
    (a0, b0, a1, b1), (x0, y0, x1, y1) = pair.source_box, pair.box
    return (pair.source_points - (a0, b0)) / (a1 - a0, b1 - b0) * (x1 - x0, y1 - y0) + (x0, y0)


def random_in_box(pair: ToyPair) -> Float[np.ndarray, "points 2"]:
    """Baseline: uniform in the target's true box, from a generator of the pair's seeds."""
    x0, y0, x1, y1 = pair.box
    rng = np.random.default_rng([pair.source_seed, pair.target_seed])
    return rng.uniform((x0, y0), (x1, y1), size=(len(pair.names), 2))


BASELINES = {
    "same position": same_position,
    "same position in the true box": same_box_position,
    "random in the true box": random_in_box,
}
