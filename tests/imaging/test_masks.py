"""Run lengths and polygons, against pycocotools and closed forms."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from semcorr.imaging.masks import decode_rle, encode_rle, fill_polygons, fill_stroke

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))


@settings(max_examples=30)
@given(MASKS)
def test_rle_is_that_of_pycocotools_there_and_back(mask: np.ndarray) -> None:
    theirs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_rle(mask) == {"size": list(mask.shape), "counts": theirs["counts"].decode()}
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)
    height, width = mask.shape
    runs = [len(list(run)) for _, run in itertools.groupby(mask.flatten(order="F").tolist())]
    counts = ([0] if mask[0, 0] else []) + runs
    assert np.array_equal(decode_rle({"size": [height, width], "counts": counts}), mask)


def test_long_runs_as_pycocotools_writes_them() -> None:
    mask = np.zeros((900, 1100), dtype=bool)
    mask[3:877, 40:1000] = True
    mask[100:500, 300:301] = False
    theirs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_rle(mask)["counts"] == theirs["counts"].decode()
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)


@pytest.mark.parametrize(
    "counts",
    ["é", "o", [3, -1, 4], [1.0, 5], [2, 2], "0" * 40, 7],
    ids=["letter", "cut", "minus", "float", "sum", "many", "number"],
)
def test_broken_counts_are_refused(counts: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode_rle({"size": [2, 3], "counts": counts})


def test_a_polygon_holds_the_pixels_whose_centres_it_holds() -> None:
    square = np.array([[1, 1], [4, 1], [4, 3], [1, 3]], dtype=float)
    expected = np.zeros((5, 6), dtype=bool)
    expected[1:3, 1:4] = True
    assert np.array_equal(fill_polygons([square], (6, 5)), expected)
    assert np.array_equal(fill_polygons([square[::-1]], (6, 5)), expected)
    # Beyond the image it is cut off; without polygons nothing is inside.
    assert fill_polygons([square * 10 - 20], (6, 5)).all()
    assert not fill_polygons([], (6, 5)).any()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(-5, 45), st.floats(-5, 35)), min_size=3, max_size=3))
def test_a_triangle_by_the_sides_of_its_edges(corners: list[tuple[float, float]]) -> None:
    polygon = np.array(corners)
    columns, rows = np.meshgrid(np.arange(40) + 0.5, np.arange(30) + 0.5)
    ends = np.roll(polygon, -1, axis=0)
    sides = np.array(
        [(bx - ax) * (rows - ay) - (by - ay) * (columns - ax) for (ax, ay), (bx, by) in zip(polygon, ends, strict=True)]
    )
    clear = np.abs(sides).min(axis=0) > 1e-6
    inside = (sides > 0).all(axis=0) | (sides < 0).all(axis=0)
    assert np.array_equal(fill_polygons([polygon], (40, 30))[clear], inside[clear])


@settings(max_examples=40)
@given(
    hnp.arrays(float, st.tuples(st.integers(1, 5), st.just(2)), elements=st.integers(-8, 36).map(lambda one: one / 2)),
    st.sampled_from([0.3, 0.75, 2.0, 5.3, 40.0]),
)
def test_a_stroke_is_all_pixels_near_its_line(corners: np.ndarray, radius: float) -> None:
    width, height = 17, 13
    centres = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1) + 0.5
    distance = np.full((height, width), np.inf)
    for start, stop in zip(corners, [*corners[1:], corners[-1]], strict=True):
        along = stop - start
        share = np.clip((centres - start) @ along / max(float(along @ along), 1e-12), 0, 1)
        nearest = start + share[..., None] * along
        distance = np.minimum(distance, np.linalg.norm(centres - nearest, axis=-1))
    clear = np.abs(distance - radius) > 1e-9  # where rounding decides nothing
    assert np.array_equal(fill_stroke(corners, radius, (width, height))[clear], (distance <= radius)[clear])
