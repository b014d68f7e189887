"""Training: every stage runs, goes on after a stop, and leaves a folder that loads."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from semcorr.errors import ModelError, SettingsError
from semcorr.models.diffusion import DiffusionModel
from tools.toy_model.__main__ import main
from tools.toy_model.autoencoder import train_vae
from tools.toy_model.denoiser import grounded_blocks
from tools.toy_model.recipe import Recipe, bundled_vae, save_model, train
from tools.toy_model.scene_cache import open_scenes, render_chunk
from tools.toy_model.state import TrainingState, averaged, schedule
from tools.toy_model.unet import UNetTraining, train_unet
from tools.toy_model.validation import inside_parts


class StoppedError(Exception):
    """Stands for whatever ends a run early."""


def test_schedule() -> None:
    """Linear from 1/10 of the peak, the peak, half way down the cosine, and the floor."""
    rates = [schedule(step, 110, 1.0, warm_up=10, floor=0.1) for step in (0, 9, 10, 60, 110)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.55, 0.1])
    assert schedule(5000, 110, 1.0, warm_up=10, anneal=False) == 1.0


def test_update_is_adamw_with_clipped_gradients_and_a_moving_average() -> None:
    torch.manual_seed(0)
    module, twin = nn.Linear(3, 2), nn.Linear(3, 2)
    twin.load_state_dict(module.state_dict())
    start = module.weight.detach().clone()
    state = TrainingState(module, learning_rate=0.1, average=0.5)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.1, betas=(0.9, 0.99), weight_decay=0.01)
    for m in (module, twin):
        (1000 * m(torch.ones(4, 3)).square().sum()).backward()
    nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
    state.update(0.1)
    optimizer.step()
    assert torch.equal(module.weight, twin.weight)
    decay = 2 / 11  # (1 + step) / (10 + step) at step 1, below the 0.5 asked for
    assert torch.allclose(state.average["weight"], decay * start + (1 - decay) * module.weight)


def test_checkpoint_restores_everything(tmp_path: Path) -> None:
    def run(state: TrainingState, steps: int) -> None:
        while state.step < steps:
            torch.manual_seed(state.step)
            state.module(torch.randn(5, 3)).square().sum().backward()
            state.update(0.05)

    torch.manual_seed(1)
    whole = TrainingState(nn.Linear(3, 2), learning_rate=0.05, average=0.9)
    first, second = (TrainingState(nn.Linear(3, 2), learning_rate=0.05, average=0.9) for _ in range(2))
    first.module.load_state_dict(whole.module.state_dict())
    first.average = {name: p.detach().clone() for name, p in first.module.named_parameters()}
    run(whole, 8)
    run(first, 4)
    first.save(tmp_path / "state.safetensors")
    second.load(tmp_path / "state.safetensors")
    run(second, 8)
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, second.module.state_dict()[name])
        assert torch.equal(whole.average[name], second.average[name])
    second.save(tmp_path / "end.safetensors")
    assert torch.equal(averaged(tmp_path / "end.safetensors")["weight"], whole.average["weight"])


def test_restart_takes_the_average_and_nothing_else(tmp_path: Path) -> None:
    torch.manual_seed(2)
    old, new = (TrainingState(nn.Linear(3, 2), learning_rate=0.05, average=0.9) for _ in range(2))
    for _ in range(3):
        old.module(torch.randn(5, 3)).square().sum().backward()
        old.update(0.05)
    old.save(tmp_path / "state.safetensors")
    new.restart(tmp_path / "state.safetensors")
    assert (new.step, new.seconds, len(new.optimizer.state)) == (0, 0.0, 0)
    assert torch.equal(new.module.weight, old.average["weight"])
    assert torch.equal(new.average["weight"], old.average["weight"])
    assert not torch.equal(old.module.weight, old.average["weight"])


@pytest.mark.slow
def test_scene_cache_of_other_settings_is_refused(tmp_path: Path) -> None:
    open_scenes(tmp_path, 4, "train", workers=1)
    with pytest.raises(ModelError, match="other settings"):
        open_scenes(tmp_path, 8, "train", workers=1)


@pytest.mark.slow
def test_autoencoder_stopped_and_continued_is_the_same(tmp_path: Path) -> None:
    scenes = open_scenes(tmp_path / "scenes", 8, "train", workers=1)

    def stop_at_two(stage: str, done: int, total: int, **info: object) -> None:
        if done == 2:
            raise StoppedError

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    train_vae(whole, scenes, 4)
    with pytest.raises(StoppedError):
        train_vae(parts, scenes, 4, progress=stop_at_two, checkpoint_every=2)
    train_vae(parts, scenes, 4)
    first, second = load_file(whole / "vae.safetensors"), load_file(parts / "vae.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("option", "message"), [("--scenes=-1", "--scenes: expected a number"), ("--scene", "--scenes")]
)
def test_options_are_checked(
    option: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["toy_model", str(tmp_path), option])
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({"scenes": 1}), encoding="utf-8")
    with pytest.raises(SettingsError, match="other settings"):
        train(tmp_path, Recipe())


def test_a_transformer_takes_steps_and_its_folder_loads_as_its_family(tmp_path: Path) -> None:
    """Of 4 blocks 1 and 2 are grounded: at the first step nothing else reaches the keys of a block."""
    assert [grounded_blocks(count) for count in (4, 6, 8)] == [range(1, 3), range(2, 5), range(3, 7)]
    threads = torch.get_num_threads()
    for name, values in render_chunk(("train", 0, 8)).items():
        np.save(tmp_path / f"{name}.npy", values)
    np.save(tmp_path / "latents.npy", np.random.default_rng(0).normal(size=(8, 8, 16, 16)).astype(np.float16))
    (tmp_path / "scenes.json").write_text(json.dumps({"count": 8, "split": "train", "done": 8}))
    sizes: dict[str, Any] = {"network": "transformer", "width": 16, "blocks": 4}
    one = {"folder": tmp_path / "final", "steps": 1, "batch": 8, "processes": 1, "grounding": 0.3}
    settings = UNetTraining(scenes=tmp_path, count=8, **one, **sizes)
    done: list[tuple[str, int]] = []

    def note(stage: str, step: int, total: int, **info: object) -> None:
        done.append((stage, step))

    try:
        checkpoint = train_unet(settings, note)
        moments = load_file(checkpoint)
        train_unet(replace(settings, steps=2), note)
    finally:
        torch.set_num_threads(threads)
    assert done == [("transformer", 1), ("transformer", 2)]
    keys = [moments[f"exp_avg/transformer.transformer_blocks.{block}.attn2.to_k.weight"] for block in range(4)]
    assert [bool(one.any()) for one in keys] == [False, True, True, False]
    folder = save_model(tmp_path / "model", bundled_vae(), {"final": checkpoint}, Recipe(**sizes), scenes=2)
    model = DiffusionModel.from_pretrained(folder, device="cpu")
    assert (model.family, model.resolution, model.context_tokens, model.context_dim) == ("toy-transformer", 64, 32, 128)
    own = averaged(checkpoint)["transformer.transformer_blocks.2.attn2.to_q.weight"]
    assert torch.allclose(model.network.module.transformer_blocks[2].attn2.to_q.weight, own, atol=1e-3)
    context = model.encode_text(["a cat with a red tail"])
    maps = model.attention(torch.randn(1, 8, 16, 16), 140, context, model.select_layers(), tokens=range(32))
    assert {m.shape[-2:] for m in maps.values()} == {(16, 16)}
    assert all(torch.allclose(m.sum(2), torch.ones(()), atol=1e-4) for m in maps.values())


def test_the_share_of_attention_inside_parts() -> None:
    """Token 1 names a part that covers the left half, with 3/4 of its attention there; token 0 names nothing."""
    attention = torch.tensor([[[[0.5, 0.5], [0.5, 0.5]], [[0.6, 0.2], [0.3, 0.1]]]])
    phrases = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
    coverage = torch.zeros(1, 2, 4, 4)
    coverage[:, 0, :, :2] = 1
    inside, size = inside_parts(attention, phrases, coverage)
    assert inside.tolist() == pytest.approx([0.75])
    assert size.tolist() == pytest.approx([0.5])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_stages_make_a_model_that_loads(tmp_path: Path) -> None:
    recipe = Recipe(scenes=64, vae_steps=2, unet_steps=2, final_steps=2, again_steps=2, bottom=160)
    stages: dict[str, int] = {}

    def note(stage: str, done: int, total: int, **info: object) -> None:
        assert done <= total
        stages[stage] = done

    folder = train(tmp_path, recipe, progress=note)
    assert {"render", "autoencoder", "encode", "U-Net"} <= set(stages)
    model = DiffusionModel.from_pretrained(folder, device="cpu")
    assert (model.family, model.resolution, model.context_tokens, model.context_dim) == ("toy", 64, 32, 128)
    assert model.encode_text(["a cat with a red tail"]).shape == (1, 32, 128)
    maps = model.attention(
        model.encode(torch.rand(1, 3, 64, 64)), 140, torch.randn(1, 32, 128), model.select_layers(["up/2", "up/1"])
    )
    assert {m.shape[-1] for m in maps.values()} == {8, 16}
    assert sum(f.stat().st_size for f in folder.rglob("*.safetensors")) < 26e6
    again: dict[str, int] = {}
    train(tmp_path, recipe, progress=lambda stage, done, total, **info: again.update({stage: done}))
    assert not again  # everything was there
