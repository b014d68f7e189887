"""The points of one query in many images, in several processes or on a Ray cluster.

In this process it is :meth:`semcorr.Matcher.locate_many`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from operator import length_hint
from typing import Any

from semcorr.errors import ImageError
from semcorr.executors import run_units
from semcorr.imaging.image import ImageSource
from semcorr.matchers.results import Matches, Query
from semcorr.progress import Progress

_NumberedImage = tuple[int, ImageSource]
"""An image, and its position among the images."""


@dataclass(frozen=True, kw_only=True)
class RemoteLocator:
    """Locates the points of a query in other processes (:class:`semcorr.executors.Job`).

    Attributes:
        load: Loads the :class:`semcorr.Matcher`, once in each process; what can be pickled.
        query: The query.
        workers: Number of processes; see :func:`semcorr.executors.run_units`.
        ray: Address of a Ray cluster; see there.
    """

    load: Callable[[], Any]
    query: Query
    workers: int
    ray: str | None = None

    def start(self) -> Callable[[_NumberedImage, Progress | None], Iterator[tuple[int, Matches | ImageError]]]:
        """Load the matcher in a worker process, and return what handles an image."""
        matcher = self.load()

        def locate(image: _NumberedImage, progress: Progress | None) -> Iterator[tuple[int, Matches | ImageError]]:
            number, source = image
            (located,) = matcher.locate_many(self.query, [source], progress=progress)
            yield number, located

        return locate

    def locate(
        self, images: "Iterable[ImageSource]", progress: Progress | None = None
    ) -> Iterator[Matches | ImageError]:
        """Yield the matches in each image, or its error, in order, each once all before it are done.

        ``progress`` is called as ``("images", done, in all)``.
        """
        waiting: dict[int, Matches | ImageError] = {}
        total, done = length_hint(images), 0
        # Closed, whatever ends this: only then do the processes end.
        with closing(run_units(self, enumerate(images), workers=self.workers, ray=self.ray)) as results:
            for count, (number, matches) in enumerate(results, start=1):
                if progress:
                    progress("images", count, max(total, count))
                waiting[number] = matches
                while done in waiting:
                    yield waiting.pop(done)
                    done += 1
