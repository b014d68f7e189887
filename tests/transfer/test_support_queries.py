"""Supports described once, in their whole image or around their box."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semcorr.errors import TransferError
from semcorr.keypoints import AnnotatedImage, Annotations, read_annotations
from semcorr.matchers.base import Matcher
from semcorr.toy.coco import ToyWorld
from semcorr.transfer.support_queries import SupportQueries
from semcorr.transfer.supports import choose_supports


def test_queries_are_kept_for_another_start(dift: Matcher, world: ToyWorld, tmp_path: Path) -> None:
    known = read_annotations(world.annotations, world.images)
    picked = {"face": choose_supports(known, known.categories["face"], 2)}
    first = SupportQueries(dift, picked, margin=0.2, folder=tmp_path).described("face", cut=True)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == 2
    files[0].write_bytes(b"broken")  # by a crash
    again = SupportQueries(dift, picked, margin=0.2, folder=tmp_path).described("face", cut=True)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.query.tensors["vectors"], other.query.tensors["vectors"])


def test_a_support_that_cannot_be_read_is_an_error(dift: Matcher, world: ToyWorld, tmp_path: Path) -> None:
    known = read_annotations(world.annotations, tmp_path)  # an empty folder
    moved = Annotations(
        path=known.path,
        categories=known.categories,
        images=[
            AnnotatedImage(file=one.file, path=tmp_path / one.file, instances=one.instances) for one in known.images
        ],
    )
    supports = SupportQueries(dift, {"face": choose_supports(moved, moved.categories["face"], 1)}, margin=0.2)
    with pytest.raises(TransferError, match=r"face-000\d\.png.* cannot be used"):
        supports.described("face", cut=False)


def test_a_point_outside_its_box_widens_the_part_that_is_described(dift: Matcher, world: ToyWorld) -> None:
    known = read_annotations(world.annotations, world.images)
    (one,) = choose_supports(known, known.categories["face"], 1)
    box = (40.0, 40.0, 50.0, 50.0)  # all points of the face lie outside it
    narrow = replace(one, instance=replace(one.instance, box=box))
    (described,) = SupportQueries(dift, {"face": [narrow]}, margin=0.0).described("face", cut=True)
    moved = one.instance.points[one.keypoints] - described.query.points
    np.testing.assert_allclose(moved, moved[:1].repeat(len(moved), axis=0), atol=1e-9)  # none was cut off
