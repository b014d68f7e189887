import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import semcorr
from deadline import DEADLINE
from semcorr.cli.app import AppOptions
from semcorr.cli.evaluate import AblationOptions, MethodOptions
from semcorr.cli.options import FeatureOptions, MatcherOptions, ToyOptions
from semcorr.cli.plan import PlanOptions
from semcorr.errors import ModelError, SettingsError
from semcorr.matchers.registry import DEFAULT_METHOD, methods
from semcorr.matchers.spec import MatcherSpec
from semcorr.models.names import PHOTO_MODEL, VISION_MODEL


def test_both_halves_in_one_call_are_what_they_are_apart(tiny_sd: Path):
    rng = np.random.default_rng(0)
    source, target = (rng.integers(0, 255, (20, 30, 3), dtype=np.uint8) for _ in range(2))
    small = {"resolution": 64, "steps": 2, "rounds": 1, "locate_crops": 4, "device": "cpu"}
    seen: list[str] = []

    def progress(stage: str, done: int, total: int, **info: object) -> None:
        seen.append(stage)

    once = semcorr.match(
        source, target, [(3, 4)], method="prompt", model=tiny_sd, names=["tip"], progress=progress, **small
    )
    matcher = semcorr.load_matcher("prompt", tiny_sd, "paper", **small)
    again = matcher.locate(matcher.describe(source, [(3, 4)]), target)
    assert np.array_equal(once.points, again.points)
    assert np.array_equal(once.heatmaps, again.heatmaps)
    assert once.names == ("tip",)
    assert list(dict.fromkeys(seen)) == ["optimize", "locate"]


def test_python_and_the_shell_have_one_default() -> None:
    for function in (semcorr.load_matcher, semcorr.match, semcorr.transfer_annotations):
        named = inspect.signature(function).parameters
        assert named["method"].default == DEFAULT_METHOD == "auto"
        assert named["model"].default is None
    for options in (MatcherOptions(), FeatureOptions(), AppOptions(), PlanOptions()):
        assert (options.method, options.dtype) == (DEFAULT_METHOD, "auto")
    assert inspect.signature(semcorr.load_matcher).parameters["dtype"].default == "auto"
    # The exceptions, which the documentation names.
    assert (ToyOptions().method, ToyOptions().model) == ("attention-dift", "toy")
    for options in (MethodOptions(), AblationOptions(method="attention-dift")):
        assert (options.method, options.dtype) == ("attention-dift", "float32")
        assert str(options.spec().model_name) == PHOTO_MODEL == "CompVis/stable-diffusion-v1-4"
    assert AblationOptions().method == ""  # the command takes the paper's; with --taps DIFT
    assert MethodOptions().chosen("toy").model == "toy"
    assert MatcherOptions(method="dino").spec().model_name == VISION_MODEL


def test_without_a_model_and_a_network_the_message_says_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for method, model in (("attention-dift", PHOTO_MODEL), ("dino", VISION_MODEL)):
        with pytest.raises(ModelError, match=f"The checkpoint {model} is not on this machine") as caught:
            semcorr.load_matcher(method)
        assert str(caught.value).endswith(f"No model was named, so it is the default of {method!r}: {model}.")


def test_what_is_matched_with_is_said_in_one_line() -> None:
    assert str(MatcherSpec(method="attention-dift", model="toy")) == "attention-dift (preset fast) on toy"
    assert str(MatcherSpec(method="prompt", model="toy", preset="reference")) == "prompt (preset reference) on toy"
    assert str(MatcherSpec(method="random", model="toy")) == "random on toy"


@pytest.mark.parametrize("name", methods())
def test_the_registry_says_what_a_methods_class_says(name: str) -> None:
    method = methods()[name]
    loaded = method.load_class()
    assert loaded.method == name
    assert tuple(loaded.presets) == method.presets
    assert loaded.default_model == method.default_model


def test_an_unknown_method_names_those_there_are():
    with pytest.raises(SettingsError, match=r"Unknown method 'promt'. Did you mean 'prompt'\? Methods are: prompt"):
        semcorr.load_matcher("promt")


@pytest.mark.parametrize("name", semcorr.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(semcorr, name).__module__.startswith("semcorr.")
    assert name in dir(semcorr)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'matches'"):
        _ = semcorr.matches
    assert isinstance(semcorr.__version__, str)


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'torch', 'diffusers', 'numpy', 'PIL', 'pydantic'}"
    program = f"import sys, semcorr; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=DEADLINE)
    assert done.stdout.strip() == "[]"
