"""The points of one query in many images, in several processes or on a Ray cluster.

In this process it is :meth:`semcorr.Matcher.locate_many`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from semcorr.errors import ImageError
from semcorr.executors import run_units
from semcorr.matchers.results import Matches, Query
from semcorr.matchers.spec import MatcherSpec
from semcorr.progress import Progress

NumberedTarget = tuple[int, str]
"""A target's position in the list of targets, and its path."""


@dataclass(frozen=True, kw_only=True)
class RemoteLocator:
    """Locates the points of a query in other processes (:class:`semcorr.executors.Job`).

    Attributes:
        spec: What to match with.
        query: File of the query.
        workers: Number of processes; see :func:`semcorr.executors.run_units`.
        ray: Address of a Ray cluster; see there.
    """

    spec: MatcherSpec
    query: Path
    workers: int
    ray: str | None

    def start(self) -> Callable[[NumberedTarget, Progress | None], Iterator[tuple[int, Matches | ImageError]]]:
        """Load matcher and query in a worker process, and return what handles a target."""
        matcher, query = self.spec.load(), Query.load(self.query)

        def locate(target: NumberedTarget, progress: Progress | None) -> Iterator[tuple[int, Matches | ImageError]]:
            number, path = target
            (located,) = matcher.locate_many(query, [path], progress=progress)
            yield number, located

        return locate

    def locate(self, targets: Sequence[str], progress: Progress | None = None) -> Iterator[Matches | ImageError]:
        """Yield the matches in each target, or its error, in order, each once all before it are done."""
        waiting: dict[int, Matches | ImageError] = {}
        done = 0
        results = run_units(self, list(enumerate(targets)), workers=self.workers, ray=self.ray)
        for count, (number, matches) in enumerate(results, start=1):
            if progress:
                progress("locate", count, len(targets))
            waiting[number] = matches
            while done in waiting:
                yield waiting.pop(done)
                done += 1
