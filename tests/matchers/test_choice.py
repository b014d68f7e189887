"""What "auto" stands for: the choice as a table, and what it depends on, found on real folders and caches."""

from pathlib import Path

import pytest
import torch

import semcorr
from models.cached_repository import cache_repository
from models.diffusion.networks import save_checkpoint
from models.dino.networks import save_folder
from semcorr.errors import ModelError, SettingsError
from semcorr.matchers.choice import Choice, Situation, Task, choose, has_checkpoint, situation_of
from semcorr.matchers.registry import AUTO, load_class, methods
from semcorr.matchers.spec import MatcherSpec
from semcorr.models.device import device_traits, fastest_dtype
from semcorr.models.names import PHOTO_MODEL


@pytest.mark.parametrize(
    ("situation", "points", "grid"),
    [
        (Situation(), "hypercolumn", "hypercolumn"),
        (Situation(cpu_requested=True), "hypercolumn", "hypercolumn"),
        (Situation(gpu=True), "hypercolumn", "hypercolumn"),
        (Situation(gpu=True, checkpoint=True), "attention-dift", "dift"),
        (Situation(kind="diffusion"), "attention-dift", "dift"),
        (Situation(kind="diffusion", gpu=True), "attention-dift", "dift"),
        (Situation(kind="vision"), "dino", "dino"),
        (Situation(kind="convolutional", gpu=True, checkpoint=True), "hypercolumn", "hypercolumn"),
        (Situation(kind="collection", gpu=True, checkpoint=True), "asic", "asic"),
    ],
)
def test_the_method_fits_the_model_or_else_the_machine(situation: Situation, points: str, grid: str) -> None:
    assert (choose(situation).method, choose(situation, "grid").method) == (points, grid)


@pytest.mark.parametrize("task", ["points", "grid"])
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("gpu", [False, True])
def test_the_choice_says_why_and_how_to_get_another(gpu: bool, checkpoint: bool, task: Task) -> None:
    choice = choose(Situation(gpu=gpu, checkpoint=checkpoint), task)
    names = [word.strip(":;.") for word in choice.instead.split()]
    other = names[names.index("--method") + 1]
    assert other in methods()
    assert other != choice.method
    assert "GPU" in choice.reason or PHOTO_MODEL in choice.reason
    assert load_class(choice.method).capabilities.optimizes <= (task == "points")
    assert str(choice) == f"{choice.reason}; {choice.instead}"


def test_without_a_gpu_it_is_the_bundled_network_and_nothing_else_is_examined() -> None:
    assert situation_of(None, device="cpu") == Situation(cpu_requested=True)
    spec = MatcherSpec(method=AUTO, options={"device": "cpu"}).chosen()
    assert (spec.method, spec.model, spec.preset) == ("hypercolumn", "lite0", "photographs")


def test_the_default_checkpoint_counts_when_it_is_whole(
    tmp_path: Path, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert not has_checkpoint()
    snapshot = cache_repository(tmp_path / "cache", PHOTO_MODEL, tiny_sd)
    assert has_checkpoint()
    (snapshot / "unet" / "diffusion_pytorch_model.safetensors").unlink()  # as a download that was stopped
    assert not has_checkpoint()
    (tmp_path / "CompVis" / "stable-diffusion-v1-4").mkdir(parents=True)  # which the loader prefers
    assert has_checkpoint()


def test_a_named_model_has_its_own_method(tmp_path: Path, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    vision = save_folder(tmp_path / "vision", "dinov2")
    cache_repository(tmp_path / "cache", "tiny/sd", save_checkpoint(tmp_path / "sd", "sd1"))
    cache_repository(tmp_path / "cache", "tiny/dino", vision)
    for model, method in (
        ("toy", "attention-dift"),
        (tiny_sd, "attention-dift"),
        ("tiny/sd", "attention-dift"),
        ("lite0", "hypercolumn"),
        (vision, "dino"),
        ("tiny/dino", "dino"),
    ):
        spec = MatcherSpec(model=model).chosen()
        assert (spec.method, spec.model) == (method, model)
        assert spec.preset == methods()[method].presets[0]
    assert MatcherSpec(model=tiny_sd).chosen("grid").method == "dift"


def test_a_revision_or_variant_alone_is_of_the_default_checkpoint() -> None:
    for options in ({"revision": "v2"}, {"variant": "fp16"}):
        spec = MatcherSpec(options=options).chosen()
        assert (spec.method, spec.model) == ("attention-dift", PHOTO_MODEL)


def test_a_preset_of_another_method_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'hypercolumn' here .* no preset 'paper'.* prompt, attention-dift"):
        MatcherSpec(preset="paper", options={"device": "cpu"}).chosen()
    assert MatcherSpec(model="toy", preset="paper").chosen().preset == "paper"


def test_what_is_chosen_is_said_in_one_sentence() -> None:
    said: list[str] = []
    MatcherSpec(method="prompt", model="toy").chosen(note=said.append)
    MatcherSpec(model="toy").chosen(note=said.append)
    MatcherSpec(options={"device": "cpu"}).chosen(note=said.append)
    assert said == [
        "Matching with prompt (preset paper) on toy.",
        "Matching with attention-dift (preset fast) on toy: recommended for diffusion models; the paper's: --method "
        "prompt.",
        "Matching with hypercolumn (preset photographs) on lite0: on the processor, as requested; for the paper's "
        "method: --method prompt --model CHECKPOINT.",
    ]


def test_auto_is_no_method_where_the_machine_must_not_decide() -> None:
    with pytest.raises(SettingsError, match="'auto' depends on the machine: name the method here"):
        MatcherSpec().capabilities()


def test_what_is_loaded_knows_its_method_and_precision(tiny_sd: Path) -> None:
    spec = MatcherSpec(model=tiny_sd, options={"device": "cpu", "dtype": "auto"})
    matcher = semcorr.load_matcher(model=tiny_sd, device="cpu")
    dtype = fastest_dtype(*device_traits("cpu"))
    assert (matcher.method, matcher.identity()["dtype"]) == ("attention-dift", dtype)
    pinned = spec.as_loaded(matcher)
    assert (pinned.method, pinned.model, pinned.preset) == ("attention-dift", tiny_sd, "fast")
    assert pinned.options == {"device": "cpu", "dtype": dtype}
    for bundled in ("toy", "lite0"):
        assert semcorr.load_matcher(model=bundled, device="cpu").identity()["dtype"] == "float32"


@pytest.mark.skipif(torch.cuda.is_available(), reason="it is here")
def test_a_device_that_is_not_here_is_an_error() -> None:
    with pytest.raises(ModelError, match="'cuda' was requested, but torch finds only"):
        MatcherSpec(options={"device": "cuda"}).chosen()


def test_a_choice_is_a_value() -> None:
    assert choose(Situation()) == choose(Situation(checkpoint=True))
    assert isinstance(choose(Situation()), Choice)
