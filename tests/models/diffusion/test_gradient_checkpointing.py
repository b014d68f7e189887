"""Gradient checkpointing gives the same maps and gradients, in less memory, and leaves the whole U-Net as it was."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from closeness import assert_close_to_scale
from models.diffusion.networks import inputs
from semcorr.models.diffusion import DiffusionModel, PrefixCache
from semcorr.models.diffusion.prefix_cache import prefix_modules


def _maps_and_gradient(
    model: DiffusionModel, noisy: Tensor, context: Tensor, checkpointing: bool
) -> tuple[dict[str, Tensor], Tensor]:
    leaf = context.clone().requires_grad_()
    maps = model.attention(noisy, 140, leaf, model.select_layers(), gradient_checkpointing=checkpointing)
    sum(map_.square().sum() for map_ in maps.values()).backward()
    assert leaf.grad is not None
    return {name: map_.detach() for name, map_ in maps.items()}, leaf.grad


class _Runs:
    """How often some modules of the whole network have run, in whichever view."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self.rows = dict.fromkeys(modules, 0)
        self._hooks = [module.register_forward_pre_hook(self._count) for module in modules]

    def _count(self, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        self.rows[module] += len(given[0])

    def __enter__(self) -> "_Runs":
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()


class _MostBytes(TorchDispatchMode):
    """The most bytes that tensors which were made inside the block took at once."""

    def __init__(self, model: DiffusionModel) -> None:
        super().__init__()
        self.most = 0
        self._weights = {weight.untyped_storage().data_ptr() for weight in model.unet.parameters()}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            storage = one.untyped_storage() if isinstance(one, Tensor) else None
            if storage is not None and storage.data_ptr() not in self._weights:
                self._alive[storage.data_ptr()] = (StorageWeakRef(storage), storage.nbytes())
        self._alive = {address: pair for address, pair in self._alive.items() if not pair[0].expired()}
        self.most = max(self.most, sum(size for _, size in self._alive.values()))
        return result


def test_maps_and_gradients_are_the_same(model: DiffusionModel) -> None:
    noisy, context = inputs(model)
    plain, checkpointed = (_maps_and_gradient(model, noisy, context, choice) for choice in (False, True))
    assert plain[1].abs().max() > 1e-3
    for name, maps in plain[0].items():
        assert_close_to_scale(checkpointed[0][name], maps)
    assert_close_to_scale(checkpointed[1], plain[1])


def test_parts_run_again_for_the_gradient_and_only_then(models: dict[str, DiffusionModel]) -> None:
    model = models["sd1"]
    noisy, context = inputs(model)
    parts = [model.unet.up_blocks[1].resnets[0], model.unet.mid_block.attentions[0].transformer_blocks[0]]
    with _Runs(parts) as runs, torch.no_grad():
        model.attention(noisy, 140, context, model.select_layers(), gradient_checkpointing=True)
    assert set(runs.rows.values()) == {2}
    for checkpointing, rows in ((False, 2), (True, 4)):
        with _Runs(parts) as runs:
            _maps_and_gradient(model, noisy, context, checkpointing)
        assert set(runs.rows.values()) == {rows}


def test_the_whole_network_is_not_touched(model: DiffusionModel) -> None:
    before = dict(model.unet.named_modules())
    noisy, context = inputs(model)
    _maps_and_gradient(model, noisy, context, True)
    model.saved_bytes_per_row(model.select_layers(), gradient_checkpointing=True)
    assert dict(model.unet.named_modules()) == before
    assert not model.unet.is_gradient_checkpointing
    for module in before.values():
        assert getattr(module, "_gradient_checkpointing_func", None) is None
    part = model.unet.mid_block.resnets[1]
    with _Runs([part]) as runs:
        _maps_and_gradient(model, noisy, context, False)
    assert runs.rows[part] == 2  # nor is the view that does not checkpoint


def test_what_is_remembered_before_the_first_cross_attention_is_not_worked_out_again(model: DiffusionModel) -> None:
    noisy, context = inputs(model)
    expected = _maps_and_gradient(model, noisy, context, False)[1]
    memory = PrefixCache()
    with _Runs(prefix_modules(model.unet)) as runs:
        for _ in range(2):
            leaf = context.clone().requires_grad_()
            with memory.use((0, 1)):
                maps = model.attention(noisy, 140, leaf, model.select_layers(), gradient_checkpointing=True)
            sum(map_.square().sum() for map_ in maps.values()).backward(retain_graph=True)
            sum(map_.square().sum() for map_ in maps.values()).backward()
            assert_close_to_scale(leaf.grad, 2 * expected)
    assert set(runs.rows.values()) == {2}


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_measured_bytes_are_those_that_a_row_takes(model: DiffusionModel, checkpointing: bool) -> None:
    size = (32, 32)
    measured = model.saved_bytes_per_row(model.select_layers(), latent_size=size, gradient_checkpointing=checkpointing)
    noisy, context = inputs(model, *size, batch=4)
    with _MostBytes(model) as bytes_:
        _maps_and_gradient(model, noisy, context, checkpointing)
    # What passes, and the gradients, come on top of what is kept.
    assert 0.85 * 4 * measured < bytes_.most < 1.35 * 4 * measured


def test_fewer_bytes_are_kept(model: DiffusionModel) -> None:
    layers = model.select_layers()
    plain, checkpointed = (
        model.saved_bytes_per_row(layers, latent_size=(32, 32), gradient_checkpointing=choice)
        for choice in (False, True)
    )
    assert 0 < checkpointed < 0.6 * plain
