"""What comes before the first cross-attention is worked out once for a latent, and changes nothing."""

from collections.abc import Sequence

import pytest
from torch import Tensor, nn

from closeness import assert_close_to_scale
from models.diffusion.networks import inputs
from semcorr.models.diffusion import DiffusionModel, PrefixCache
from semcorr.models.diffusion.prefix_cache import prefix_modules


def _maps_and_gradient(
    model: DiffusionModel, noisy: Tensor, context: Tensor, memory: PrefixCache | None, keys: Sequence[int]
) -> tuple[dict[str, Tensor], Tensor]:
    leaf = context.clone().requires_grad_()
    layers = model.select_layers()
    if memory is None:
        maps = model.attention(noisy, 140, leaf, layers)
    else:
        with memory.use(keys):
            maps = model.attention(noisy, 140, leaf, layers)
    sum(map_.square().sum() for map_ in maps.values()).backward()
    assert leaf.grad is not None
    return {name: map_.detach() for name, map_ in maps.items()}, leaf.grad


def _agree(actual: tuple[dict[str, Tensor], Tensor], expected: tuple[dict[str, Tensor], Tensor]) -> None:
    for name, maps in expected[0].items():
        assert_close_to_scale(actual[0][name], maps)
    assert_close_to_scale(actual[1], expected[1])


class _Rows:
    """Rows that went through each module before the first cross-attention."""

    def __init__(self, model: DiffusionModel) -> None:
        self.rows: dict[nn.Module, int] = dict.fromkeys(prefix_modules(model.unet), 0)
        self._hooks = [module.register_forward_pre_hook(self._count) for module in self.rows]

    def _count(self, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        self.rows[module] += len(given[0])

    def so_far(self) -> set[int]:
        return set(self.rows.values())

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()


def test_maps_and_gradients_are_those_without_a_memory_and_known_rows_are_not_worked_out_again(model: DiffusionModel):
    noisy, context = inputs(model, batch=4)
    expected = _maps_and_gradient(model, noisy, context, None, ())
    memory, rows = PrefixCache(), _Rows(model)
    try:
        first = _maps_and_gradient(model, noisy[:2], context[:2], memory, (10, 11))
        assert rows.so_far() == {2}
        # One row that is known, two that are not, in another order.
        mixed = _maps_and_gradient(model, noisy[[3, 1, 2]], context[[3, 1, 2]], memory, (13, 11, 12))
        assert rows.so_far() == {4}
        again = _maps_and_gradient(model, noisy, context.flip(0), memory, (10, 11, 12, 13))
        assert rows.so_far() == {4}
        other = _maps_and_gradient(model, noisy, context.flip(0), None, ())
        assert rows.so_far() == {8}
    finally:
        rows.remove()
    _agree(first, ({name: maps[:2] for name, maps in expected[0].items()}, expected[1][:2]))
    _agree(mixed, ({name: maps[[3, 1, 2]] for name, maps in expected[0].items()}, expected[1][[3, 1, 2]]))
    _agree(again, other)


def test_a_memory_that_is_full_keeps_no_more_and_gives_the_same(models: dict[str, DiffusionModel]):
    model = models["sd1"]
    noisy, context = inputs(model)
    expected = _maps_and_gradient(model, noisy, context, None, ())
    memory, rows = PrefixCache(limit_bytes=0), _Rows(model)
    try:
        for times in (1, 2):
            _agree(_maps_and_gradient(model, noisy, context, memory, (0, 1)), expected)
            assert rows.so_far() == {2 * times}
    finally:
        rows.remove()


def test_equal_keys_in_one_pass_are_kept_once(models: dict[str, DiffusionModel]):
    model = models["sd1"]
    noisy, context = inputs(model)
    memory = PrefixCache()
    same = noisy[[0, 0]]
    _agree(_maps_and_gradient(model, same, context, memory, (7, 7)), _maps_and_gradient(model, same, context, None, ()))
    _agree(_maps_and_gradient(model, same, context, memory, (7, 7)), _maps_and_gradient(model, same, context, None, ()))


def test_the_memory_is_asked_inside_its_block_alone(models: dict[str, DiffusionModel]):
    model = models["sd1"]
    noisy, context = inputs(model)
    memory = PrefixCache()
    with pytest.raises(KeyboardInterrupt), memory.use((0, 1)):
        raise KeyboardInterrupt
    rows = _Rows(model)
    try:
        for _ in range(2):
            _maps_and_gradient(model, noisy, context, None, ())
    finally:
        rows.remove()
    assert rows.so_far() == {4}
