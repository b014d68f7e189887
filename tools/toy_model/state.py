"""State that the training stages share: module, optimizer, moving average, and their checkpoints."""

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from semcorr.storage.files import write_atomically


class TrainingState:
    """A module, its AdamW and the moving average of its weights, saved and restored together in one file."""

    def __init__(self, module: nn.Module, *, learning_rate: float, average: float, weight_decay: float = 0.01) -> None:
        self.module = module
        # The fused AdamW ignores strides of channels-last weights on CPUs; the loop over tensors does not.
        self.optimizer = torch.optim.AdamW(
            module.parameters(),
            lr=learning_rate,
            betas=(0.9, 0.99),
            weight_decay=weight_decay,
            foreach=False,
            fused=False,
        )
        self.average = {name: p.detach().clone() for name, p in module.named_parameters()}
        self.decay = average
        self.step = 0
        self.seconds = 0.0

    def update(self, learning_rate: float) -> None:
        """Take an AdamW step with the current gradients, then update the moving average."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        # A short memory at first, so that the average forgets the random initial weights.
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, p in self.module.named_parameters():
                self.average[name].lerp_(p, 1 - decay)

    def save(self, path: Path) -> None:
        """Write the checkpoint completely or not at all."""
        tensors: dict[str, torch.Tensor] = {}
        for name, p in self.module.named_parameters():
            tensors[f"weight/{name}"] = p.detach()
            tensors[f"average/{name}"] = self.average[name]
            state = self.optimizer.state.get(p, {})
            for key in ("exp_avg", "exp_avg_sq"):
                if key in state:
                    tensors[f"{key}/{name}"] = state[key]
        facts = {"step": str(self.step), "seconds": str(self.seconds)}
        write_atomically(path, save({k: v.contiguous() for k, v in tensors.items()}, metadata=facts))

    def restart(self, path: Path) -> None:
        """Start a new run, at step 0 and with a new optimizer, from the moving average of a checkpoint."""
        weights = averaged(path)
        with torch.no_grad():
            for name, p in self.module.named_parameters():
                p.copy_(weights[name])
                self.average[name].copy_(weights[name])

    def load(self, path: Path) -> None:
        """Restore a checkpoint that ``save`` wrote."""
        with safe_open(path, "pt") as file:
            facts = file.metadata()
            self.step, self.seconds = int(facts["step"]), float(facts["seconds"])
            names = set(file.keys())
            with torch.no_grad():
                for name, p in self.module.named_parameters():
                    p.copy_(file.get_tensor(f"weight/{name}"))
                    self.average[name].copy_(file.get_tensor(f"average/{name}"))
                    if f"exp_avg/{name}" in names:
                        self.optimizer.state[p] = {
                            "step": torch.tensor(float(self.step)),
                            **{
                                k: torch.empty_like(p).copy_(file.get_tensor(f"{k}/{name}"))
                                for k in ("exp_avg", "exp_avg_sq")
                            },
                        }


def mixed_precision() -> AbstractContextManager[object]:
    """Return autocast to bfloat16 on processors with 512-bit vectors; elsewhere bfloat16 is emulated, and slow."""
    native = torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2")
    return torch.autocast("cpu", torch.bfloat16, enabled=native)


def averaged(path: Path) -> dict[str, torch.Tensor]:
    """Return the moving average in a checkpoint that ``TrainingState.save`` wrote."""
    with safe_open(path, "pt") as file:
        return {key.removeprefix("average/"): file.get_tensor(key) for key in file.keys() if key.startswith("average/")}  # noqa: SIM118


def seconds_of(path: Path) -> float:
    """Return the seconds of training up to a checkpoint."""
    with safe_open(path, "pt") as file:
        return float(file.metadata()["seconds"])


def schedule(
    step: int, total: int, peak: float, *, warm_up: int = 100, anneal: bool = True, floor: float = 0.02
) -> float:
    """Return the learning rate: a linear warm-up to ``peak``, then a cosine to ``floor * peak``, or constant."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    if not anneal:
        return peak
    turn = math.pi * (step - warm_up) / max(1, total - warm_up)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(turn)))


def append_log(path: Path, row: Mapping[str, object]) -> None:
    """Append one JSON line."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
