"""Which model a page matches with: images on its own, the examples on the one for drawings; and that it says so."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from app.page.conftest import built_page, made_state
from app.page.visitor import ALL, Visitor
from semcorr.app.matchers import LoadedMatchers, label_of
from semcorr.app.state import AppState
from semcorr.errors import SettingsError
from semcorr.matchers.spec import MatcherSpec

QUICK = {"layers": ["14@320"], "device": "cpu"}


@pytest.fixture(scope="module")
def photo_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppState]:
    spec = MatcherSpec(method="hypercolumn", model="lite0", options=QUICK)
    folder = tmp_path_factory.mktemp("page")
    with made_state(spec, folder, folder) as made:
        yield made


@pytest.fixture
def photo_visitor(photo_state: AppState, request: pytest.FixtureRequest) -> Visitor:
    """A visitor of the page that opens without options, on a machine without a GPU."""
    return Visitor(built_page(photo_state), photo_state, request.node.name, {})


def photograph(folder: Path, seed: int) -> str:
    """An image with the statistics of a photograph: smooth, and noisy everywhere."""
    rng = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((96, 72), PIL.Image.Resampling.BICUBIC), dtype=float)
    path = folder / f"photograph-{seed}.png"
    PIL.Image.fromarray(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)).save(path)
    return str(path)


def test_an_upload_is_matched_on_the_model_for_photographs_and_the_page_says_so(photo_visitor: Visitor) -> None:
    visitor, folder = photo_visitor, photo_visitor.state.folder
    visitor.do("keeper", "open", key=None, held=False)
    assert visitor.seen["method"] == {"choices": ["hypercolumn", "nbb-hypercolumn"], "value": "hypercolumn"}
    assert "on lite0, a model for photographs" in visitor.seen["model"]
    visitor.do("source-upload", "upload", photograph(folder, 0))
    assert "matched on lite0, a model for photographs" in visitor.seen["status"]
    visitor.do("targets-upload", "upload", [photograph(folder, 1)], *ALL)
    assert "matched on lite0, a model for photographs" in visitor.seen["status"]
    visitor.do("source", "mark", *ALL, x=30.5, y=40.5)
    visitor.do("find", "click", "hypercolumn", "photographs", *ALL)
    assert "Done with hypercolumn, photographs, on lite0 (for photographs)" in visitor.seen["status"]
    assert "uncalibrated" in visitor.seen["legend"]
    assert "matched with hypercolumn, photographs, on lite0" in visitor.seen["legend"]
    (match,) = visitor.work.matches.values()
    assert match.label == "hypercolumn, photographs, on lite0"


def test_an_example_is_matched_on_its_own_model_and_nothing_else_is(photo_visitor: Visitor) -> None:
    visitor, folder = photo_visitor, photo_visitor.state.folder
    visitor.do("keeper", "open", key=None, held=False)
    visitor.do("example-car", "click")
    assert visitor.seen["method"]["value"] == "attention-dift"
    assert "dift" in visitor.seen["method"]["choices"]
    assert "hypercolumn" not in visitor.seen["method"]["choices"]
    assert "on toy, a model for drawings of the toy world, and nothing else" in visitor.seen["model"]
    assert "matched on toy, a model for drawings" in visitor.seen["status"]
    visitor.do("method", "input", "dift")
    visitor.do("find", "click", "dift", "published", *ALL)
    assert "Done with dift, published, on toy (for drawings" in visitor.seen["status"]
    assert "the probability that a match is right, calibrated on" in visitor.seen["legend"]

    # A photograph as a target, and Find pressed before the lists have changed: nothing is matched on toy.
    visitor.do("remove", "click", *ALL)
    visitor.answer("confirm")
    visitor.do("targets-upload", "upload", [photograph(folder, 2)], *ALL)
    assert visitor.seen["method"] == {"choices": ["hypercolumn", "nbb-hypercolumn"], "value": "hypercolumn"}
    assert "on lite0, a model for photographs" in visitor.seen["model"]
    visitor.do("find", "click", "dift", "published", *ALL)
    assert "Done with hypercolumn, photographs, on lite0" in visitor.seen["status"]
    assert "uncalibrated" in visitor.seen["legend"]
    assert {match.label for match in visitor.work.matches.values()} == {"hypercolumn, photographs, on lite0"}

    # And back: what was selected for the drawings is selected for them again.
    for _ in range(3):
        visitor.do("undo", "click", *ALL)
    assert visitor.seen["method"]["value"] == "dift"
    assert "on toy" in visitor.seen["model"]


def test_a_new_source_beside_the_targets_of_an_example_is_no_example(photo_visitor: Visitor) -> None:
    photo_visitor.do("example-face", "click")
    assert photo_visitor.work.example
    photo_visitor.do("clear", "click")
    photo_visitor.answer("confirm")
    assert photo_visitor.work.example
    photo_visitor.do("source-upload", "upload", photograph(photo_visitor.state.folder, 3))
    assert len(photo_visitor.work.targets) == 3
    assert not photo_visitor.work.example


def test_words_need_a_network_that_reads_text(photo_visitor: Visitor) -> None:
    photo_visitor.do("words-upload", "upload", photograph(photo_visitor.state.folder, 4))
    photo_visitor.do("words-show", "click", "a stone")
    assert "Words need a text-to-image model, and &#x27;lite0&#x27; is none" in photo_visitor.seen["words-status"]
    photo_visitor.do("words-example-face", "click")
    photo_visitor.do("words-show", "click", "a face")
    assert [one["title"] for one in photo_visitor.seen["words"]["panels"]] == ["a", "face"]


def test_a_photograph_on_the_model_for_drawings_has_no_probability(visitor: Visitor) -> None:
    """On a page that was started with --model toy."""
    visitor.do("source-upload", "upload", photograph(visitor.state.folder, 5))
    assert "matched on toy, a model for drawings of the toy world, and nothing else" in visitor.seen["status"]
    visitor.do("targets-upload", "upload", [photograph(visitor.state.folder, 6)], *ALL)
    visitor.do("source", "mark", *ALL, x=30.5, y=40.5)
    visitor.do("find", "click", "dift", "published", *ALL)
    assert "on toy (for drawings of the toy world, and nothing else)" in visitor.seen["status"]
    assert "uncalibrated" in visitor.seen["legend"]
    assert "probability that" not in visitor.seen["legend"]


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
