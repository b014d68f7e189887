"""Which annotated objects are supports."""

from pathlib import Path

import numpy as np

from semcorr.keypoints import AnnotatedImage, Annotations, Category, Instance
from semcorr.transfer.supports import choose_supports, covered_note

CAT = Category(id=1, name="cat", keypoints=("ear", "tail", "paw"))


def annotations(*marks: list[int]) -> Annotations:
    """An image with one cat for each list of marks."""
    images = [
        AnnotatedImage(
            file=f"{number}.png",
            path=Path(f"{number}.png"),
            instances=(Instance(category="cat", points=np.zeros((3, 2)), visibility=np.array(seen)),),
        )
        for number, seen in enumerate(marks)
    ]
    return Annotations(path=Path("cats.json"), categories={"cat": CAT}, images=images)


def chosen(known: Annotations, most: int) -> list[str]:
    return [support.image.file for support in choose_supports(known, CAT, most)]


def test_supports_show_most_and_then_what_the_others_lack() -> None:
    known = annotations([2, 0, 0], [2, 2, 0], [2, 2, 0], [0, 0, 2], [0, 0, 0], [1, 1, 1])
    # The second shows two; then the only paw counts 1, as much as ear and tail that are seen already, and comes later;
    assert chosen(known, 3) == ["1.png", "2.png", "3.png"]
    assert chosen(annotations([2, 0, 0], [2, 2, 0], [0, 0, 2]), 2) == ["1.png", "2.png"]
    assert chosen(known, 9) == ["1.png", "2.png", "3.png", "0.png"]  # nothing is seen in the others


def seen(known: Annotations) -> list[list[int]]:
    return [support.keypoints.tolist() for support in choose_supports(known, CAT, 9)]


def test_covered_points_serve_where_nobody_shows_the_key_point() -> None:
    # The tail is visible in the first; ear and paw are covered wherever they are marked.
    assert seen(annotations([1, 2, 0], [1, 1, 1])) == [[0, 1], [0, 2]]
    assert seen(annotations([1, 1, 0], [0, 1, 1])) == [[0, 1], [1, 2]]  # a file of 0 and 1 alone
    assert seen(annotations([2, 2, 2], [1, 1, 1])) == [[0, 1, 2]]  # an object that is covered all over is no support


def test_covered_points_that_do_not_serve_are_counted() -> None:
    note = covered_note(annotations([1, 2, 0], [1, 1, 1], [0, 1, 1]), CAT)
    assert note is not None
    assert note.startswith("2 covered points (v = 1) of 'cat' are not used")  # the tails
    one = covered_note(annotations([2, 0, 0], [1, 1, 0]), CAT)
    assert one is not None
    assert one.startswith("1 covered point (v = 1) of 'cat' is not used")
    assert covered_note(annotations([1, 1, 0], [0, 1, 1]), CAT) is None
    assert covered_note(annotations(), CAT) is None
