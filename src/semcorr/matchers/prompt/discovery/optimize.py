"""The optimization of one context over images without labels, until some of its tokens show key-points."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import NumericsError
from semcorr.imaging import heatmaps
from semcorr.matchers.prompt.discovery.settings import DiscoverySettings
from semcorr.matchers.prompt.discovery.tokens import choose_spread, equivariance_losses, locality_losses, most_local
from semcorr.matchers.prompt.discovery.view_queries import ViewQueries
from semcorr.matchers.seeds import seeded_generator
from semcorr.progress import Progress

_SAVED_EVERY = 20


@dataclass(frozen=True, kw_only=True)
class OptimizerState:
    """A context and Adam's two means after some steps, on the CPU: all that the steps after them depend on."""

    step: int
    context: Float[Tensor, "1 tokens dim"]
    mean: Float[Tensor, "1 tokens dim"]
    squares: Float[Tensor, "1 tokens dim"]


def optimize_context(
    queries: ViewQueries,
    settings: DiscoverySettings,
    count: int,
    *,
    images: int,
    state: OptimizerState | None = None,
    save: Callable[[OptimizerState], None] = lambda _: None,
    progress: Progress | None = None,
) -> Float[Tensor, "1 tokens dim"]:
    """Optimize a context so that some of its tokens are local, apart, and move with the image under views of it.

    Every step draws images and one view for all of them, from the seed and the step's number alone, so that an
    optimization that was stopped continues with equal results.

    Args:
        queries: Of the images' views.
        settings: How.
        count: How many key-points are requested.
        images: How many of the images, the first ones, are used.
        state: Where an earlier call was stopped.
        save: Called with the state now and then.
        progress: Called as ``("optimize", steps done, steps in all, loss=...)``; raise from it to stop.

    Raises:
        NumericsError: The loss is not finite.
    """
    context, optimizer, first = _start(queries, settings, state)
    for step in range(first, settings.steps):
        generator = seeded_generator(f"discover-step|{settings.seed}|{step}")
        drawn = torch.randperm(images, generator=generator)[: settings.batch].tolist()
        view = int(torch.randint(1, settings.views, (), generator=generator))
        maps = queries.maps(drawn, 0, context)
        of_views = queries.maps(drawn, view, context)
        locality = locality_losses(maps, settings.sigma * queries.side)
        equivariance = equivariance_losses(maps, of_views, queries.matrices(drawn, view))
        candidates = most_local(locality.detach(), round(settings.candidates * count))
        chosen = choose_spread(heatmaps.peak(maps.detach()), locality.detach(), count, candidates)
        loss = locality[chosen].mean() + settings.equivariance * equivariance[chosen].mean()
        if not torch.isfinite(loss):
            raise NumericsError(
                f"The loss of step {step + 1} of {settings.steps} is not finite.",
                f"Lower the setting 'lr', which is {settings.lr:g}.",
                "float32",
            )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if (step + 1) % _SAVED_EVERY == 0 or step + 1 == settings.steps:
            save(_state(step + 1, context, optimizer))
        if progress is not None:
            progress("optimize", step + 1, settings.steps, loss=float(loss.detach()))
    return context.detach()


def _start(
    queries: ViewQueries, settings: DiscoverySettings, state: OptimizerState | None
) -> tuple[Tensor, torch.optim.Adam, int]:
    if state is None:
        generator = seeded_generator(f"discover-start|{settings.seed}")
        drawn = torch.randn(1, *queries.context_shape, generator=generator)
    else:
        drawn = state.context
    context = drawn.to(queries.device, torch.float32, copy=True).requires_grad_()
    optimizer = torch.optim.Adam([context], lr=settings.lr)
    if state is not None:
        optimizer.state[context] = {
            "step": torch.tensor(float(state.step)),
            "exp_avg": state.mean.to(context, copy=True),
            "exp_avg_sq": state.squares.to(context, copy=True),
        }
    return context, optimizer, 0 if state is None else state.step


def _state(step: int, context: Tensor, optimizer: torch.optim.Adam) -> OptimizerState:
    kept = optimizer.state[context]
    return OptimizerState(
        step=step,
        context=context.detach().cpu().clone(),
        mean=kept["exp_avg"].cpu().clone(),
        squares=kept["exp_avg_sq"].cpu().clone(),
    )
