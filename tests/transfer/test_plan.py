"""What is checked before anything slow: which annotated images can be read, and whether they are the declared ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from semcorr.errors import TransferError
from semcorr.keypoints import AnnotatedImage, Annotations, Category, Instance
from semcorr.transfer.plan import TransferSettings, plan_transfer

CAT = Category(id=1, name="cat", keypoints=("ear", "tail"))
DOG = Category(id=2, name="dog", keypoints=("nose",))


def cat(**changes: Any) -> Instance:
    return replace(
        Instance(
            category="cat",
            points=np.array([[10.0, 5.0], [30.0, 15.0]]),
            visibility=np.array([2, 2]),
            box=(8.0, 4.0, 32.0, 16.0),
        ),
        **changes,
    )


def image_of(folder: Path, file: str, *instances: Instance, declared: tuple[int, int] | None = None) -> AnnotatedImage:
    return AnnotatedImage(file=file, path=folder / file, instances=instances or (cat(),), size=declared)


def known(*images: AnnotatedImage) -> Annotations:
    return Annotations(path=Path("a.json"), categories={"cat": CAT, "dog": DOG}, images=images)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image of 40 x 20 pixels; one that is stored so and turned by EXIF; and four that cannot be read."""
    image = PIL.Image.new("RGB", (40, 20), (90, 120, 40))
    image.save(tmp_path / "good.png")
    sideways = PIL.Image.Exif()
    sideways[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=sideways)
    whole = PIL.Image.effect_noise((400, 200), 90)
    whole.save(tmp_path / "cut.jpg")
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 3])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


@pytest.mark.parametrize("file", ["gone.png", "empty.png", "text.png", "folder.png", "cut.jpg"])
def test_an_annotated_image_that_cannot_be_read_is_named_and_replaced(folder: Path, file: str) -> None:
    plan = plan_transfer(known(image_of(folder, file), image_of(folder, "good.png")), TransferSettings(support=1))
    assert [support.image.file for support in plan.supports["cat"]] == ["good.png"]
    assert list(plan.unreadable) == [file]
    assert file in plan.unreadable[file]


def test_without_any_that_can_be_read_nothing_begins(folder: Path) -> None:
    with pytest.raises(TransferError, match=r"annotated image of 'cat' that can be read.*gone\.png.*\(and 1 more\)"):
        plan_transfer(known(image_of(folder, "gone.png"), image_of(folder, "cut.jpg")), TransferSettings())


def test_a_category_without_any_that_can_be_read_does_not_cost_the_others(folder: Path) -> None:
    dog = Instance(category="dog", points=np.array([[3.0, 3.0]]), visibility=np.array([2]))
    both = known(image_of(folder, "good.png"), image_of(folder, "gone.png", dog))
    plan = plan_transfer(both, TransferSettings())
    assert list(plan.supports) == ["cat"]
    assert any(note.startswith("'dog' is left out") for note in plan.notes)
    with pytest.raises(TransferError, match="annotated image of 'dog'"):  # an error, if it is requested
        plan_transfer(both, TransferSettings(categories=("dog",)))


@pytest.mark.parametrize("declared", [(80, 40), (20, 10), (120, 60)])
def test_an_image_of_another_size_than_declared_is_refused_or_scaled(folder: Path, declared: tuple[int, int]) -> None:
    x, y = 40 / declared[0], 20 / declared[1]
    points = np.array([[10.0, 5.0], [30.0, 15.0]]) / (x, y)
    one = cat(points=points, box=(8.0 / x, 4.0 / y, 32.0 / x, 16.0 / y))
    annotations = known(image_of(folder, "good.png", one, declared=declared))
    with pytest.raises(TransferError, match=rf"{declared[0]} x {declared[1]} pixels.*40 x 20.*--rescale"):
        plan_transfer(annotations, TransferSettings())
    (support,) = plan_transfer(annotations, TransferSettings(rescale=True)).supports["cat"]
    np.testing.assert_allclose(support.instance.points, [[10, 5], [30, 15]])
    assert support.instance.box == pytest.approx((8, 4, 32, 16))
    assert support.image.size == (40, 20)


def test_another_aspect_ratio_is_another_image(folder: Path) -> None:
    with pytest.raises(TransferError, match="aspect ratio"):
        plan_transfer(known(image_of(folder, "good.png", declared=(40, 40))), TransferSettings(rescale=True))


def test_every_annotated_image_is_measured_and_not_the_supports_alone(folder: Path) -> None:
    more = [image_of(folder, "good.png"), image_of(folder, "good.png", declared=(80, 40))]
    with pytest.raises(TransferError, match="80 x 40"):
        plan_transfer(known(*more), TransferSettings(support=1))


def test_a_swapped_size_is_a_warning_where_the_points_lie_in_the_upright_image(folder: Path) -> None:
    upright = cat(points=np.array([[10.0, 5.0], [15.0, 30.0]]))
    plan = plan_transfer(known(image_of(folder, "turned.jpg", upright, declared=(40, 20))), TransferSettings())
    assert any("20 x 40 pixels upright" in note and "declare 40 x 20" in note for note in plan.notes)
    np.testing.assert_array_equal(plan.supports["cat"][0].instance.points, upright.points)


@pytest.mark.parametrize("rescale", [False, True])
def test_points_of_the_stored_image_are_refused_with_a_word_on_exif(folder: Path, *, rescale: bool) -> None:
    with pytest.raises(TransferError, match=r"20 x 40 pixels upright.*EXIF orientation.*declare 40 x 20"):
        plan_transfer(known(image_of(folder, "turned.jpg", declared=(40, 20))), TransferSettings(rescale=rescale))


def test_predicted_objects_are_no_supports(folder: Path) -> None:
    machine = cat(predicted=True, score=0.9)
    plan = plan_transfer(
        known(image_of(folder, "turned.jpg", machine), image_of(folder, "good.png")), TransferSettings()
    )
    assert [support.image.file for support in plan.supports["cat"]] == ["good.png"]
    with pytest.raises(TransferError, match="2 objects with points are all marked as predicted"):
        plan_transfer(known(image_of(folder, "good.png", machine, machine)), TransferSettings())


def test_notes_name_covered_points_that_do_not_serve_and_what_the_reader_noted(folder: Path) -> None:
    covered = cat(visibility=np.array([1, 1]))
    annotations = replace(
        known(image_of(folder, "good.png"), image_of(folder, "good.png", covered)), notes=("read so",)
    )
    first, second = plan_transfer(annotations, TransferSettings()).notes
    assert first == "read so"
    assert second.startswith("2 covered points (v = 1) of 'cat'")
