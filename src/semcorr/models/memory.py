"""Batch sizes from a memory budget, halved when memory runs out all the same."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import psutil
import torch
from torch import Tensor

from semcorr.errors import OutOfMemoryError

FREE_SHARE = 0.5
"""Share of the free memory that is used without a budget; estimates count only large tensors."""

# The last two are oneDNN's, which gives no reason; a smaller batch is worth trying.
_SIGNS = (
    "DefaultCPUAllocator",
    "out of memory",
    "std::bad_alloc",
    "could not create a primitive",
    "could not create a memory",
)

_ADVICE = (
    "Use a machine with more free memory, half precision (dtype='float16' or 'bfloat16', on a GPU), or a smaller "
    "'resolution' or, for regions and collections, 'grid'."
)

Row = TypeVar("Row")
Result = TypeVar("Result")


def default_budget(device: torch.device) -> int:
    """Return the bytes that may be used on a device: a share of its free memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # Memory that torch has reserved but does not use is free too, although the driver does not count it.
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    elif device.type == "mps":
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    else:
        free = min(psutil.virtual_memory().available, _control_group_free())
    return max(0, int(free * FREE_SHARE))


def total_bytes(device: torch.device) -> int:
    """Return the memory of a device, free or not."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # no limit
        limit = 2**63 - 1
    return min(psutil.virtual_memory().total, limit)


def _control_group_free(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes left under a container's limit, which the machine's own figure does not include."""
    try:
        return int((root / "memory.max").read_text()) - int((root / "memory.current").read_text())
    except (OSError, ValueError):  # no limit: the file is absent, or says "max"
        return 2**63 - 1


def stored_parts(tensor: Tensor) -> list[Tensor]:
    """Return the tensors that hold a quantised tensor's values; any other tensor itself."""
    parts = getattr(tensor, "__tensor_flatten__", None)
    if parts is None:
        return [tensor]
    return [part for name in parts()[0] for part in stored_parts(getattr(tensor, name))]


def stored_bytes(tensor: Tensor) -> int:
    """Return the bytes that a tensor takes; of a quantised one not those of what it stands for."""
    return sum(part.nbytes for part in stored_parts(tensor))


def storage_addresses(tensors: Iterable[Tensor]) -> set[int]:
    """Return the addresses of all storages that hold values of tensors."""
    return {part.untyped_storage().data_ptr() for tensor in tensors for part in stored_parts(tensor)}


def batch_rows(budget: int, bytes_per_row: int, rows: int) -> int:
    """Return how many of ``rows`` fit into ``budget`` bytes at once, at least 1."""
    return max(1, min(rows, budget // max(1, bytes_per_row)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error comes from a memory allocator; torch reports that in several ways."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError | OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


def out_of_memory_message(error: BaseException) -> str | None:
    """Return the message for an allocator's error that has none yet; None for any other error."""
    if not is_out_of_memory(error) or isinstance(error, OutOfMemoryError):
        return None
    return f"Memory ran out ({_first_line(error)}). {_ADVICE}"


def in_batches(
    rows: Sequence[Row], size: int, work: Callable[[Sequence[Row]], Result], *, stage: str
) -> Iterator[tuple[Sequence[Row], Result]]:
    """Run ``work`` on ``size`` rows at a time and yield each batch with its result, in order.

    When memory runs out, the batch is run again with half as many rows, and the smaller size is kept. ``work`` must
    therefore be repeatable. ``stage`` names the work in the error message.

    Raises:
        OutOfMemoryError: Not even one row fits.
    """
    start = 0
    while start < len(rows):
        batch = rows[start : start + size]
        try:
            result = work(batch)
        except (RuntimeError, MemoryError, OutOfMemoryError) as error:
            if not is_out_of_memory(error) or (len(batch) == 1 and isinstance(error, OutOfMemoryError)):
                raise
            if len(batch) == 1:
                where = f"in stage {stage!r} with a single row in the batch"
                raise OutOfMemoryError(f"Memory ran out {where} ({_first_line(error)}). {_ADVICE}") from error
            size = len(batch) // 2
        else:
            start += len(batch)
            yield batch, result
            continue
        # Only here, without the error and its frames, can their tensors be freed.
        _free_cached_memory()


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _free_cached_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
