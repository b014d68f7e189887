"""Which model a page matches with: images on its own, the examples on the one for drawings; and that it says so."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from app.http.conftest import Served, served
from app.serving import Visitor
from app.test_images import packed
from semcorr.app.matchers import LoadedMatchers, label_of
from semcorr.errors import SettingsError
from semcorr.matchers.spec import MatcherSpec

QUICK = {"layers": ["14@320"], "device": "cpu"}


@pytest.fixture(scope="module")
def photo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("page")
    with served(MatcherSpec(method="hypercolumn", model="lite0", options=QUICK), folder / "works", folder) as made:
        yield made


@pytest.fixture
def photo_visitor(photo_server: Served) -> Visitor:
    """A visitor of the page that opens without options, on a machine without a GPU."""
    return photo_server.visitor()


def photograph(seed: int) -> bytes:
    """An image with the statistics of a photograph: smooth, and noisy everywhere."""
    rng = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((96, 72), PIL.Image.Resampling.BICUBIC), dtype=float)
    return packed(PIL.Image.fromarray(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)))


def methods(visitor: Visitor) -> list[str]:
    return [one["name"] for one in visitor.shown["methods"]]


def test_an_image_is_matched_on_the_model_for_photographs_and_the_page_says_so(photo_visitor: Visitor) -> None:
    visitor = photo_visitor
    visitor.reload()
    assert (methods(visitor), visitor.shown["method"]) == (["hypercolumn", "nbb-hypercolumn"], "hypercolumn")
    assert (visitor.shown["model"], visitor.shown["images"]) == ("lite0", "photographs")
    about = visitor.ask("/api/about")[1]
    assert (about["model"], about["example_model"]) == ("lite0", "toy")
    for which in ("source", "target"):
        answer = visitor.send(which, "a.png", photograph(which == "target"))[1]
        assert "matched on lite0, a model for photographs" in answer["message"]
    visitor.step("add-point", x=30.5, y=40.5)
    job = visitor.find("hypercolumn", "photographs")
    assert "Done with hypercolumn, photographs, on lite0 (for photographs)" in job["message"]
    assert visitor.shown["found"]["with"] == "hypercolumn, photographs, on lite0"
    assert visitor.shown["found"]["calibration"] is None
    assert visitor.shown["found"]["legend"].startswith("uncalibrated")
    assert not visitor.shown["targets"][0]["points"][0]["calibrated"]


def test_an_example_is_matched_on_its_own_model_and_nothing_else_is(photo_visitor: Visitor) -> None:
    visitor = photo_visitor
    message = visitor.step("example", category="car")["message"]
    assert "matched on toy, a model for drawings of the toy world, and nothing else" in message
    assert visitor.shown["method"] == "attention-dift"
    assert "dift" in methods(visitor)
    assert "hypercolumn" not in methods(visitor)
    assert visitor.shown["model"] == "toy"
    job = visitor.find("dift", "published")
    assert "Done with dift, published, on toy (for drawings" in job["message"]
    assert "the probability that a match is right, calibrated on" in visitor.shown["found"]["legend"]
    assert visitor.shown["targets"][0]["points"][0]["calibrated"]

    # A photograph as a target: nothing is matched on toy.
    visitor.step("remove-targets", sure=True)
    visitor.send("target", "b.png", photograph(2))
    assert (methods(visitor), visitor.shown["model"]) == (["hypercolumn", "nbb-hypercolumn"], "lite0")
    asked = {"method": "dift", "preset": "published", "base": visitor.shown["revision"]}
    status, answer = visitor.ask("/api/find", asked)
    assert (status, "a method and preset of the list" in answer["error"]) == (422, True)
    assert "Done with hypercolumn, photographs, on lite0" in visitor.find("hypercolumn", "photographs")["message"]
    assert visitor.shown["found"]["with"] == "hypercolumn, photographs, on lite0"

    # And back: what was selected for the drawings is selected for them again.
    for _ in range(3):
        visitor.step("undo")
    assert (visitor.shown["method"], visitor.shown["model"]) == ("dift", "toy")


def test_a_new_source_beside_the_targets_of_an_example_is_no_example(photo_visitor: Visitor) -> None:
    photo_visitor.step("example", category="face")
    assert photo_visitor.shown["example"]
    photo_visitor.step("clear-points", sure=True)
    assert photo_visitor.shown["example"]
    photo_visitor.send("source", "a.png", photograph(3))
    assert len(photo_visitor.shown["targets"]) == 3
    assert not photo_visitor.shown["example"]


def test_a_photograph_on_the_model_for_drawings_has_no_probability(visitor: Visitor) -> None:
    """On a page that was started with --model toy."""
    answer = visitor.send("source", "a.png", photograph(5))[1]
    assert "matched on toy, a model for drawings of the toy world, and nothing else" in answer["message"]
    visitor.send("target", "b.png", photograph(6))
    visitor.step("add-point", x=30.5, y=40.5)
    assert "on toy (for drawings of the toy world, and nothing else)" in visitor.find("dift", "published")["message"]
    assert visitor.shown["found"]["legend"].startswith("uncalibrated")


@pytest.mark.parametrize(
    ("spec", "examples"),
    [
        (MatcherSpec(method="hypercolumn", model="lite0"), "attention-dift, fast, on toy"),
        (MatcherSpec(method="dino", model="facebook/dinov2-base"), "attention-dift, fast, on toy"),
        (MatcherSpec(method="sd-dino", model="CompVis/stable-diffusion-v1-4"), "attention-dift, fast, on toy"),
        (MatcherSpec(method="prompt", model="CompVis/stable-diffusion-v1-4", preset="fast"), "prompt, fast, on toy"),
        (MatcherSpec(method="dift", model="toy-plain"), "dift, published, on toy-plain"),
    ],
)
def test_examples_have_a_model_for_drawings_and_the_pages_method_where_it_fits(
    spec: MatcherSpec, examples: str
) -> None:
    matchers = LoadedMatchers(spec)
    assert label_of(matchers.examples) == examples
    assert label_of(matchers.usual()) == label_of(spec)
    assert matchers.examples.method in matchers.methods(example=True)


def test_what_is_not_in_the_list_is_refused() -> None:
    matchers = LoadedMatchers(MatcherSpec(method="hypercolumn", model="lite0"))
    assert matchers.offered("dift", None, example=True).model == "toy"
    for method, preset in (("dift", None), ("hypercolumn", "paper")):
        with pytest.raises(SettingsError, match="a method and preset of the list"):
            matchers.offered(method, preset)


def test_a_folder_on_the_server_is_named_by_its_last_part(tiny_sd: Path) -> None:
    assert label_of(MatcherSpec(method="dift", model=tiny_sd)) == "dift, published, on tiny-sd"
