"""The optimization of one context over images without labels, until some of its tokens show key-points."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.matchers.prompt.descent import OptimizerState, Step, descend
from semcorr.matchers.prompt.discovery.settings import DiscoverySettings
from semcorr.matchers.prompt.discovery.tokens import choose_spread, equivariance_losses, locality_losses, most_local
from semcorr.matchers.prompt.discovery.view_queries import ViewQueries
from semcorr.matchers.seeds import seeded_generator
from semcorr.progress import Progress

_SAVED_EVERY = 20


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
        NumericsError: A loss, a gradient or the context is not finite.
    """

    def losses(step: int, context: Tensor) -> Iterator[Tensor]:
        generator = seeded_generator(f"discover-step|{settings.seed}|{step}")
        drawn = torch.randperm(images, generator=generator)[: settings.batch].tolist()
        view = int(torch.randint(1, settings.views, (), generator=generator))
        maps = queries.maps(drawn, 0, context)
        of_views = queries.maps(drawn, view, context)
        locality = locality_losses(maps, settings.sigma * queries.side)
        equivariance = equivariance_losses(maps, of_views, queries.matrices(drawn, view))
        candidates = most_local(locality.detach(), round(settings.candidates * count))
        chosen = choose_spread(heatmaps.peak(maps.detach()), locality.detach(), count, candidates)
        yield (locality[chosen].mean() + settings.equivariance * equivariance[chosen].mean())[None]

    def report(step: Step) -> None:
        if step.number % _SAVED_EVERY == 0 or step.number == settings.steps:
            save(step.state())
        if progress is not None:
            progress("optimize", step.number, settings.steps, loss=step.loss)

    start = torch.randn(1, *queries.context_shape, generator=seeded_generator(f"discover-start|{settings.seed}"))
    context, _ = descend(queries.model, state or start, losses, steps=settings.steps, lr=settings.lr, report=report)
    return context
