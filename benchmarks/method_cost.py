"""One way of matching under measurement: its describe and locate, timed or counted, for several numbers of points."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from benchmarks.inputs import query_points, sample_image
from benchmarks.partial_timing import Cost, Draws, Trace, corners, follow
from benchmarks.plain_method import Described, PlainMatcher
from semcorr.errors import ModelError
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, override, preset
from semcorr.matchers.prompt.crops import crop_range
from semcorr.models.diffusion import DiffusionModel
from semcorr.progress import Progress

Stage = Literal["describe", "locate"]
STAGES: tuple[Stage, ...] = ("describe", "locate")

PLAIN = "plain"
"""The name of the published procedure among the presets."""

_STAGE_NAMES = {"describe": "optimize", "locate": "locate"}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one stage takes for a number of points in one call.

    ``peak_bytes`` is None where no such call was made; ``others`` is the part of the processor's time that other
    programs took during the call.
    """

    method: str
    stage: Stage
    points: int
    cost: Cost
    peak_bytes: int | None
    others: float = 0.0


class Contestant:
    """A preset of the package, or the plain procedure, with one model.

    Every call is made on the same two images with the same points.
    """

    def __init__(self, name: str, matcher: PlainMatcher | PromptMatcher) -> None:
        self.name = name
        self.matcher = matcher
        self.model: DiffusionModel = matcher.model
        self.settings: PromptSettings = matcher.settings
        self.plain = isinstance(matcher, PlainMatcher)
        self._source, self._target = sample_image(self.model, 0), sample_image(self.model, 1)
        self._queries: dict[int, Any] = {}

    def draws(self, stage: Stage, points: int) -> Draws:
        """How many different crops the calls can draw."""
        settings = self.settings
        fraction = settings.optimize_crop if stage == "describe" else settings.locate_crop
        side = settings.resolution or self.model.resolution
        middle = crop_range(side / 2, side / 2, resolution=side, fraction=fraction, margin=settings.crop_margin)
        positions = (middle.left_max - middle.left_min + 1) * (middle.top_max - middle.top_min + 1)
        if stage == "describe" and settings.optimize_crops:
            positions = min(positions, settings.optimize_crops)
        alone = self.plain or stage == "describe" or settings.queries == "frozen"
        return Draws(
            positions=None if self.plain else positions,
            rows=points * settings.rounds,
            shared=0 if alone else corners(fraction),
            noise_shared=stage == "describe" and not self.plain and self._remembers_prefix(),
        )

    def _remembers_prefix(self) -> bool:
        return self.settings.queries == "live" and self.settings.optimize_noise == "shared"

    def measure(
        self,
        stage: Stage,
        counts: Sequence[int],
        *,
        longest: float,
        count_flops: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[Measured]:
        """Measure a stage for each number of points, from the fewest; see :func:`benchmarks.partial_timing.follow`.

        The plain procedure does one point after the other, so that more points are worked out from the fewest. So they
        are for another method where not even the readings needed could be had in ``longest`` seconds.
        """
        before: Trace | None = None
        of = 1
        for count in sorted(set(counts)):
            draws, peak, others = self.draws(stage, count), None, 0.0
            if before is not None and (self.plain or self._too_long(before, draws, longest)):
                cost = before.cost(draws, before.total * count // of)
            else:
                (before, result), of = self._follow(stage, count, draws, longest, count_flops, progress), count
                cost, peak, others = before.cost(draws), before.peak_bytes, before.others
                if stage == "describe" and result is not None:
                    self._queries[count] = result
            yield Measured(method=self.name, stage=stage, points=count, cost=cost, peak_bytes=peak, others=others)

    def _least_readings(self, draws: Draws) -> int:
        # The first reading holds what is done once; after the shared crops there must be two.
        return 1 if self.plain else draws.shared + 2

    def _too_long(self, trace: Trace, draws: Draws, longest: float) -> bool:
        """Whether the rest could not even be worked out by then, when a row takes what it took.

        A trace of one step does not tell what a row takes: all that is done once is in it too.
        """
        if trace.readings[0].done == trace.readings[-1].done:
            return False
        needed = draws.rows * self._least_readings(draws)
        return trace.cost(draws, needed).seconds > longest

    def _follow(
        self,
        stage: Stage,
        count: int,
        draws: Draws,
        longest: float,
        count_flops: bool,
        progress: Progress | None,
    ) -> tuple[Trace, Any]:
        query: Any = self._query(count) if stage == "locate" else None

        def call(tell: Progress) -> Any:
            if stage == "describe":
                return self.matcher.describe(self._source, query_points(count, self._source.size), progress=tell)
            return self.matcher.locate(query, self._target, progress=tell)

        return follow(
            call,
            _STAGE_NAMES[stage],
            self.model,
            longest=longest,
            least=self._least_readings(draws),
            draws=draws,
            count_flops=count_flops,
            startless=self.plain,
            progress=progress,
        )

    def _query(self, count: int) -> Any:
        """Something to locate: what was described, or else as many copies as needed of a point described in a hurry.

        Time does not depend on what the embeddings are, but draws depend on the points, which are therefore different.
        """
        if count not in self._queries:
            self._queries[count] = self._hurried(count)
        return self._queries[count]

    def _hurried(self, count: int) -> Any:
        points = query_points(count, self._source.size)
        if isinstance(self.matcher, PlainMatcher):
            shape = (count, self.settings.rounds, self.model.context_tokens, self.model.context_dim)
            generator = torch.Generator().manual_seed(0)
            return Described(
                points=points,
                embeddings=torch.randn(shape, generator=generator),
                losses=torch.zeros(*shape[:2], self.settings.steps),
            )
        quick = override(self.settings, steps=1)
        matcher = PromptMatcher(self.model, quick, memory_budget=self.matcher.memory_budget)
        one = matcher.describe(self._source, points[:1])
        return dataclasses.replace(one.take([0] * count), points=points)


def make(
    model: DiffusionModel,
    presets: Sequence[str],
    *,
    plain_model: DiffusionModel | None = None,
    exact: str,
    memory_budget: int | None = None,
    changes: Mapping[str, object] | None = None,
) -> list[Contestant]:
    """The plain procedure with the settings of preset ``exact``, and the presets.

    A model without a text encoder gets a context of zeros where a preset wants the empty prompt.

    Args:
        model: for the presets.
        presets: their names.
        plain_model: for the plain procedure, where ``model`` is in half precision.
        exact: whose settings the plain procedure has.
        memory_budget: bytes that a batch of a preset may take.
        changes: settings to replace in all of them.
    """

    def settings(name: str) -> PromptSettings:
        settings = override(preset(name, model.family), **(changes or {}))
        # The same work, but for one short text.
        return settings if settings.queries == "live" or _has_words(model) else override(settings, neutral="zeros")

    return [
        Contestant(PLAIN, PlainMatcher(plain_model or model, settings(exact))),
        *(Contestant(name, PromptMatcher(model, settings(name), memory_budget=memory_budget)) for name in presets),
    ]


def _has_words(model: DiffusionModel) -> bool:
    try:
        model.encode_text([""])
    except ModelError:
        return False
    return True
