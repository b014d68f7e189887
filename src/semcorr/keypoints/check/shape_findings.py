"""Objects whose points are exchanged or far from where the other objects of the set have them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.check.finding import Finding, of_object
from semcorr.keypoints.check.geometry import LEAST_OBJECTS, LEAST_POINTS, Comparison, Shapes
from semcorr.keypoints.file_reader import first_few
from semcorr.keypoints.sides import mirrored
from semcorr.progress import Progress

_BETTER = 2.0
"""How many times better an object must fit in another order for that to be listed. In sets without errors the best of
all exchanges hardly fits better than the points as they are."""
_FARTHER = 2.0
"""How many times farther than in most objects a point must lie."""
_MOST = 0.8
"""The part of the objects that are most: poses differ, and errors of the others must not count as usual."""
_LEAST_USUAL = 0.03
"""Of an object's median distance between points: the finest that a person's hand is held to."""
_CLEAR = 0.75
"""The part of a set that must not fit mirrored for a mirrored object to be an error: objects that are seen from both
sides do."""


def usable(one: Instance) -> bool:
    """Whether an object has enough points to be compared."""
    return int((one.visibility > MISSING).sum()) >= LEAST_POINTS


def shape_findings(annotations: Annotations, progress: Progress | None = None) -> Iterator[Finding]:
    """At most one finding an object, what explains most; none of categories with too few objects."""
    for name, category in annotations.categories.items():
        where = [
            (image, position)
            for image in annotations.images
            for position, one in enumerate(image.instances)
            if one.category == name and usable(one)
        ]
        if len(where) < LEAST_OBJECTS:
            continue
        orders = _orders(category)
        shapes = Shapes(
            np.stack([image.instances[position].points for image, position in where]),
            [order for _, order in orders],
        )
        compared = []
        for number in range(len(where)):
            compared.append(shapes.compare(number))
            if progress:
                progress("check", number + 1, len(where))
        usual = _Usual.of(compared)
        for (image, position), one in zip(where, compared, strict=True):
            yield from _finding(image, position, category, one, usual, orders)


@dataclass(frozen=True, kw_only=True)
class _Usual:
    """What a set shows.

    Attributes:
        deviations: Of each key-point, what most objects stay below.
        one_sided: Whether its objects fit each other and not their mirror images.
    """

    deviations: Float[np.ndarray, " keypoints"]
    one_sided: bool

    @classmethod
    def of(cls, compared: Sequence[Comparison]) -> "_Usual":
        one_sided = float(np.quantile([one.mirrored for one in compared], _CLEAR)) < 1 / _BETTER
        return cls(deviations=most_stay_below([one.deviations for one in compared]), one_sided=one_sided)


def _orders(category: Category) -> list[tuple[str, list[int]]]:
    """Orders that a category's key-points are confused in, in words and as the key-point that each would be."""
    count = len(category.keypoints)
    numbers = list(range(count))
    orders = [
        ("its key-points are in reverse order", numbers[::-1]),
        ("its key-points are one position late", [*numbers[1:], 0]),
        ("its key-points are one position early", [count - 1, *numbers[:-1]]),
    ]
    sides = list(mirrored(category.keypoints) or numbers)
    if sides != numbers:
        orders.append(("left and right of all its key-points are exchanged", sides))
    return orders


def _finding(
    image: AnnotatedImage,
    position: int,
    category: Category,
    one: Comparison,
    usual: _Usual,
    orders: Sequence[tuple[str, list[int]]],
) -> Iterator[Finding]:
    names = category.keypoints
    first, second = np.unravel_index(int(one.exchanged.argmax()), one.exchanged.shape)
    pair = names[first], names[second]
    sides = mirrored(names)
    which = "left and right look exchanged: " if sides and sides[first] == second else "exchanged: "
    swapped = list(range(len(names)))
    swapped[first], swapped[second] = swapped[second], swapped[first]
    ways: list[tuple[float, str, tuple[str, ...], list[int]]] = [
        (float(one.exchanged[first, second]), f"{which}{pair[0]!r} and {pair[1]!r}", pair, swapped),
        *((gain, text, (), order) for gain, (text, order) in zip(one.permuted, orders, strict=True)),
    ]
    if usual.one_sided:
        # It names no points: only where it explains clearly more than an exchange of some.
        ways.append((one.mirrored / _BETTER, "it is mirrored: left and right look exchanged", (), []))
    gain, text, named, order = max(ways, key=lambda way: way[0])
    if gain >= _BETTER:
        reason = f"{text}; put right, its points fit similar objects {gain:.1f} times better"
        yield of_object(image, position, "exchanged", 1 - 1 / gain**2, reason, named, exchange=tuple(order))
        return
    yield from far_finding(
        image, position, names, one.deviations / usual.deviations, "from where similar objects have it"
    )


def most_stay_below(deviations: Sequence[Float[np.ndarray, " keypoints"]]) -> Float[np.ndarray, " keypoints"]:
    """By key-point, the deviation that most objects stay below, in objects' median distance between two points.

    It is not smaller than a person's hand is exact, and infinite where no deviation is known.
    """
    rows = np.stack(deviations)
    columns = [column[np.isfinite(column)] for column in rows.T]
    most = [np.quantile(column, _MOST) if len(column) else np.inf for column in columns]
    return np.maximum(most, _LEAST_USUAL)


def far_finding(
    image: AnnotatedImage,
    position: int,
    names: tuple[str, ...],
    ratios: Float[np.ndarray, " keypoints"],
    words: str,
) -> Iterator[Finding]:
    """A finding about an object of which a point lies far from its expected location, if one does.

    Args:
        image: The object's image.
        position: The object's number in it.
        names: Of its key-points.
        ratios: How many times as far each lies as :func:`most_stay_below` says; NaN where that is unknown.
        words: From what.
    """
    ratios = np.nan_to_num(ratios, nan=0.0)
    far = np.flatnonzero(ratios >= _FARTHER)
    if far.size:
        far = far[np.argsort(-ratios[far], kind="stable")]
        named = tuple(names[number] for number in far.tolist())
        reason = f"{named[0]!r} lies {ratios[far[0]]:.1f} times as far {words} as in most objects" + (
            f"; so do {first_few(map(repr, named[1:]))}" if len(named) > 1 else ""
        )
        yield of_object(image, position, "far", 1 - 1 / float(ratios[far[0]]), reason, named)
