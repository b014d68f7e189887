"""The skeleton that all methods share: loading, options, and calls that a wrapper forwards."""

from inspect import isclass, isfunction, ismethod, signature
from pathlib import Path

import numpy as np
import pytest

import semcorr
from semcorr.errors import ImageError, QueryError, SettingsError
from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.features.dift import DiftMatcher
from semcorr.matchers.prompt import PromptMatcher
from semcorr.matchers.registry import methods
from semcorr.matchers.results import Matches
from semcorr.matchers.spec import MatcherSpec
from semcorr.matchers.wrappers.base import MatcherWrapper
from semcorr.matchers.wrappers.calibration import CalibratedMatcher, Calibration
from semcorr.matchers.wrappers.mirror import MirrorMatcher
from semcorr.settings import override

IMAGE = Image(pixels=np.random.default_rng(0).integers(256, size=(40, 60, 3), dtype=np.uint8), name="noise")


@pytest.fixture(scope="module")
def dift() -> DiftMatcher:
    return DiftMatcher.from_pretrained("toy", samples=1, device="cpu")


def test_options_of_the_constructor_and_settings_are_distinguished() -> None:
    matcher = PromptMatcher.from_pretrained("toy", "fast", memory_budget=10**9, rounds=2, device="cpu")
    assert (matcher.memory_budget, matcher.settings.rounds, matcher.settings.queries) == (10**9, 2, "frozen")
    with pytest.raises(SettingsError, match="Unknown setting 'memory_budget'"):
        DiftMatcher.from_pretrained("nowhere/none", memory_budget=10**9)
    with pytest.raises(SettingsError, match=r"Unknown preset 'fest'. Did you mean 'fast'\? Presets are: paper"):
        PromptMatcher.from_pretrained("nowhere/none", "fest")


def test_without_a_preset_it_is_the_first() -> None:
    assert PromptMatcher.from_pretrained("toy", device="cpu").settings.queries == "live"


def test_a_wrapper_forwards_every_call(dift: DiftMatcher) -> None:
    outer = MatcherWrapper(MatcherWrapper(dift))
    assert outer.unwrapped is dift
    assert (outer.method, outer.model, outer.settings) == (dift.method, dift.model, dift.settings)
    assert outer.capabilities == dift.capabilities
    assert outer.identity() == dift.identity()
    query = outer.describe(IMAGE, [(10, 20), (30, 5)], names=["a", "b"])
    expected = dift.locate(query, IMAGE)
    np.testing.assert_array_equal(outer.locate(query, IMAGE).heatmaps, expected.heatmaps)
    points, confidence = outer.locate_points(query, IMAGE)
    np.testing.assert_array_equal(points, expected.points)
    np.testing.assert_array_equal(confidence, expected.confidence)
    (first,), (second,) = outer.feature_maps([IMAGE]), dift.feature_maps([IMAGE])
    assert first.equal(second)


def test_other_settings_change_the_method_and_not_the_original(dift: DiftMatcher) -> None:
    outer = MatcherWrapper(dift)
    other = outer.with_settings(override(dift.settings, t=100))
    assert other.identity()["settings"]["t"] == 100
    assert (outer.identity()["settings"]["t"], dift.settings.t) == (261, 261)
    with pytest.raises(QueryError, match="made by method 'dift', expected 'prompt'"):
        PromptMatcher.from_pretrained("toy", device="cpu").locate(other.describe(IMAGE, [(1, 1)]), IMAGE)


@pytest.mark.parametrize("matcher", [None, "wrapped"])
def test_what_a_method_cannot_do_is_an_error_that_names_one_that_can(dift: DiftMatcher, matcher: str | None) -> None:
    used: Matcher = dift if matcher is None else MatcherWrapper(dift)
    query = used.describe(IMAGE, [(1, 1)])
    with pytest.raises(SettingsError, match=r"Method 'dift' reads no layers of attention\. Use prompt or attention"):
        used.layer_heatmaps(query, IMAGE)
    prompt = PromptMatcher.from_pretrained("toy", device="cpu")
    with pytest.raises(SettingsError, match="Method 'prompt' compares no features"):
        prompt.feature_maps([IMAGE])


def test_capabilities_are_known_before_a_network_is_loaded() -> None:
    known = {name: MatcherSpec(method=name).capabilities() for name in methods()}
    assert {name for name, can in known.items() if can.optimizes} == {"prompt", "attention-dift"}
    assert {name for name, can in known.items() if can.layer_heatmaps} == {"prompt", "attention-dift"}


def test_a_spec_for_another_method_keeps_how_the_model_is_loaded_and_not_the_settings() -> None:
    spec = MatcherSpec(method="prompt", model="toy", preset="fast", options={"dtype": "float16", "rounds": 2})
    other = spec.for_method("dift")
    assert (other.method, other.model, other.preset) == ("dift", "toy", "published")
    assert other.options == {"dtype": "float16"}
    assert spec.for_method("prompt", "paper").options == spec.options
    assert spec.with_options(rounds=3).options == {"dtype": "float16", "rounds": 3}
    assert str(MatcherSpec(method="dino", options={"variant": "bf16"})) == (
        "dino (preset published) on facebook/dinov2-base:bf16"
    )


@pytest.mark.parametrize("wrapped", [False, True])
def test_many_images_are_located_one_by_one_and_a_broken_one_costs_only_itself(
    dift: DiftMatcher, tmp_path: Path, wrapped: bool
) -> None:
    matcher: Matcher = MatcherWrapper(dift) if wrapped else dift
    query = matcher.describe(IMAGE, [(10, 20), (30, 5)])
    broken, turned = tmp_path / "broken.png", IMAGE.pixels[::-1].copy()
    broken.write_bytes(b"no image")
    taken: list[int] = []
    calls: list[tuple[str, int, int]] = []

    def images():
        for number, image in enumerate((IMAGE, broken, turned)):
            taken.append(number)
            yield image

    located = matcher.locate_many(
        query, images(), progress=lambda stage, done, of, **_: calls.append((stage, done, of))
    )
    assert taken == []
    first = next(located)
    assert taken == [0]
    error, last = located
    assert isinstance(error, ImageError)
    assert "broken.png" in str(error)
    for matches, image in ((first, IMAGE), (last, turned)):
        assert isinstance(matches, Matches)
        expected = matcher.locate(query, image)
        assert matches.image_sha256 == expected.image_sha256
        np.testing.assert_array_equal(matches.points, expected.points)
    assert [call for call in calls if call[0] == "images"] == [("images", 1, 1), ("images", 2, 2), ("images", 3, 3)]


def test_many_images_are_counted_and_stopped_by_progress(dift: DiftMatcher) -> None:
    query = dift.describe(IMAGE, [(1, 1)])

    def stop_at_2(stage: str, done: int, total: int, **_: object) -> None:
        if stage == "images":
            assert total == 3
            if done == 2:
                raise InterruptedError

    located = dift.locate_many(query, [IMAGE] * 3, progress=stop_at_2)
    assert isinstance(next(located), Matches)
    with pytest.raises(InterruptedError):
        next(located)
    with pytest.raises(ImageError, match=r"several images, got the path 'lion.jpg': put it into a list"):
        next(dift.locate_many(query, "lion.jpg"))
    with pytest.raises(QueryError, match="made by method 'dift'"):
        next(PromptMatcher.from_pretrained("toy", device="cpu").locate_many(query, [IMAGE]))


def test_a_line_says_what_a_matcher_is(dift: DiftMatcher) -> None:
    assert repr(dift) == "<dift on toy, float32 on cpu, preset published, samples=1>"
    reference = PromptMatcher.from_pretrained("toy", "reference", device="cpu", rounds=1)
    assert repr(MatcherWrapper(reference)) == "<prompt on toy, float32 on cpu, preset reference, rounds=1>"
    changes = {"block": 0, "t": 100, "samples": 2, "peak": "cell", "window": 7}
    many = dift.with_settings(override(dift.settings, **changes))
    assert repr(many).endswith("preset published, window=7, block=0, t=100, 1 more changed>")
    worded = dift.with_settings(override(dift.settings, prompt="a-long-word-" * 9))
    assert repr(worded).endswith(", samples=1, prompt=a-long-word-a-long-word-a-long-w…>")
    calibration = Calibration(
        method="dift", key="", confidence=(0.0,), probability=(0.5,), source={"dataset": "toy", "points": 9}
    )
    wrapped = CalibratedMatcher(MirrorMatcher(dift), calibration)
    assert repr(wrapped) == f"{repr(dift)[:-1]}, pose aligned, calibrated on 9 points of toy>"


def test_help_shows_types_by_name() -> None:
    """And not all that numpy can make an array of."""
    public = [getattr(semcorr, name) for name in semcorr.__all__]
    public += [getattr(one, name) for one in public if isclass(one) for name in vars(one) if not name.startswith("_")]
    shown = {one.__qualname__: str(signature(one)) for one in public if isfunction(one) or ismethod(one)}
    assert {"match", "Matcher.locate", "Query.load"} <= shown.keys()
    for name, text in shown.items():
        assert "numpy._typing" not in text, name
        assert "PIL.Image.Image |" not in text, name
