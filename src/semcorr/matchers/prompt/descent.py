"""The loop in which embeddings are optimized, whatever their loss: Adam, checks of its numbers, and its state."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import NumericsError
from semcorr.matchers.prompt.attention_reader import Row, naming
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.finite import all_finite, largest, precision_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerState:
    """Embeddings and Adam's two means after some steps, on the CPU: all that the steps after them depend on."""

    step: int
    embeddings: Float[Tensor, "rows tokens dim"]
    mean: Float[Tensor, "rows tokens dim"]
    squares: Float[Tensor, "rows tokens dim"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A step that was taken.

    Attributes:
        number: Counted from 1.
        loss: The mean over rows, before the step.
        embeddings: After the step; the next one changes them.
    """

    number: int
    loss: float
    embeddings: Float[Tensor, "rows tokens dim"]
    _adam: torch.optim.Adam

    def state(self) -> OptimizerState:
        """Return a copy of all that further steps depend on."""
        means = self._adam.state[self.embeddings]
        values = (self.embeddings, means["exp_avg"], means["exp_avg_sq"])
        embeddings, mean, squares = (value.detach().cpu().clone() for value in values)
        return OptimizerState(step=self.number, embeddings=embeddings, mean=mean, squares=squares)


def descend(
    model: DiffusionModel,
    start: Float[Tensor, "rows tokens dim"] | OptimizerState,
    losses: Callable[[int, Tensor], Iterable[Float[Tensor, " rows"]]],
    *,
    steps: int,
    lr: float,
    report: Callable[[Step], None],
    rows: Sequence[Row] = (),
) -> tuple[Float[Tensor, "rows tokens dim"], Float[Tensor, "rows taken"]]:
    """Optimize embeddings, each row by itself.

    Args:
        model: The frozen network, whose device and precision count.
        start: Where embeddings start; or where an earlier call was stopped.
        losses: Of a step, counted from 0, and the embeddings: summands of each row's loss. The gradient of one is
            taken before the next is asked for, so that they need no more memory than one.
        steps: How many.
        lr: Adam's learning rate.
        report: Called after every step.
        rows: What rows are, for messages.

    Returns:
        The embeddings, and the loss before each step that was taken here; on the CPU.

    Raises:
        NumericsError: A loss, a gradient or an embedding is not finite.
    """
    precision, advice = precision_of(model.network.module), f"Lower the setting 'lr', which is {lr:g}."
    embeddings, adam, first = _started(start, lr, model.device)
    # float16 would round small gradients to zero on their way through the network.
    scale = 4096.0 if model.dtype == torch.float16 else 1.0
    history = []
    for step in range(first, steps):
        with naming(f"step {step + 1} of {steps}", rows):
            total = torch.zeros(len(embeddings), device=embeddings.device)
            for loss in losses(step, embeddings):
                # The sum over rows, not the mean: a row's gradient must not depend on how many others there are.
                torch.autograd.backward(scale * loss.sum())
                total = total + loss.detach()
            mean = _checked_mean(total, embeddings, precision, advice)
        if scale != 1.0 and embeddings.grad is not None:
            embeddings.grad /= scale
        adam.step()
        adam.zero_grad()
        history.append(total)
        report(Step(number=step + 1, loss=mean, embeddings=embeddings, _adam=adam))
    with naming(f"the last of {steps} steps", rows):
        if not all_finite([embeddings]):
            raise NumericsError("Embeddings are not finite.", advice, precision)
    taken = torch.stack(history, dim=1) if history else torch.empty(len(embeddings), 0)
    return embeddings.detach().cpu(), taken.cpu()


def _started(start: Tensor | OptimizerState, lr: float, device: torch.device) -> tuple[Tensor, torch.optim.Adam, int]:
    """Return embeddings, their optimizer, and how many steps were taken before."""
    values = start.embeddings if isinstance(start, OptimizerState) else start
    embeddings = values.to(device, torch.float32, copy=True).requires_grad_()
    # Adam updates every number by itself, so one optimizer over the batch is one optimizer for each row.
    adam = torch.optim.Adam([embeddings], lr=lr)
    if not isinstance(start, OptimizerState):
        return embeddings, adam, 0
    means = {"exp_avg": start.mean.to(embeddings, copy=True), "exp_avg_sq": start.squares.to(embeddings, copy=True)}
    adam.state[embeddings] = {"step": torch.tensor(float(start.step)), **means}
    return embeddings, adam, start.step


def _checked_mean(loss: Float[Tensor, " rows"], embeddings: Tensor, precision: str, advice: str) -> float:
    """Return the mean loss; insist that it and the gradient are finite, with one synchronisation of the device."""
    assert embeddings.grad is not None  # noqa: S101  # the maps depend on them
    mean, steepest = torch.stack((loss.mean(), largest(embeddings.grad))).tolist()
    for name, number in (("loss", mean), ("gradient to the embeddings", steepest)):
        if not math.isfinite(number):
            instead = advice if precision == "float32" else "Use dtype='float32'."
            raise NumericsError(f"The {name} is not finite, in {precision}.", instead, precision)
    return float(mean)
