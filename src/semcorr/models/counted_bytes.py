"""Count the bytes that tensors take while a network runs, on any device: on "meta" without computing anything."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


def most_bytes(work: Callable[[], object], network: nn.Module) -> int:
    """Return the most bytes that tensors which some work makes take at once; they need not have data.

    The weights of ``network``, and views of them, do not count.
    """
    with _Counted([*network.parameters(), *network.buffers()]) as counted, FusedAttention():
        work()
    return counted.most


class _Counted(TorchDispatchMode):
    def __init__(self, ignored: Iterable[Tensor]) -> None:
        super().__init__()
        self.most, self._now = 0, 0
        ours = (StorageWeakRef(tensor.untyped_storage()) for tensor in ignored)
        # Its references are kept, so that no address is used again.
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {reference.cdata: (reference, 0) for reference in ours}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, Tensor):
                storage = one.untyped_storage()
                reference = StorageWeakRef(storage)
                if reference.cdata not in self._alive:
                    self._alive[reference.cdata] = reference, storage.nbytes()
                    self._now += storage.nbytes()
        if self._now > 1.005 * self.most:  # half a percent: else all that is alive is looked through at every step
            self._alive = {key: pair for key, pair in self._alive.items() if not pair[0].expired()}
            self._now = sum(size for _, size in self._alive.values())
            self.most = max(self.most, self._now)
        return result


class FusedAttention(TorchFunctionMode):
    """Attention as devices compute it: without a matrix of all scores, which it has on the device "meta"."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        return _fused(*args, **(kwargs or {}))


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: object,
) -> Tensor:
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    mask = None if attn_mask is None or attn_mask.dtype == torch.bool else attn_mask
    result: Tensor = fused(query, key, value, dropout_p, is_causal, attn_mask=mask, scale=scale)[0]
    return result
