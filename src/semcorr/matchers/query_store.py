"""Queries kept as files, so that each source image is described once, whatever stops the work on its targets."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from jaxtyping import Float

from semcorr.errors import QueryError
from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import Query
from semcorr.progress import Progress
from semcorr.storage.record_store import writing

Points = Float[np.ndarray, "points 2"]
"""(x, y) in pixels of an image."""


@dataclass(frozen=True)
class QueryStore:
    """A folder of ``.safetensors`` files, one query each.

    Attributes:
        folder: Made when the first query is saved.
    """

    folder: Path

    def load(self, name: str, image: Image | Sequence[Image], points: Points | Sequence[Points]) -> Query | None:
        """The query of a name.

        None if there is none, or it is damaged, of another version, of other images or of other points: it is to be
        described anew.
        """
        images = [image] if isinstance(image, Image) else list(image)
        each = [points] if isinstance(image, Image) else list(points)
        with contextlib.suppress(QueryError):
            query = Query.load(self._path(name))
            known = [(one.image_sha256, one.points) for one in query.examples]
            if [sha256 for sha256, _ in known] == [one.sha256 for one in images] and all(
                np.array_equal(own, other, equal_nan=True) for (_, own), other in zip(known, each, strict=True)
            ):
                return query
        return None

    def save(self, name: str, query: Query) -> None:
        """Keep a query under a name.

        Raises:
            RunError: It cannot be written.
        """
        path = self._path(name)
        with writing(path):
            query.save(path)

    def remove(self, name: str) -> None:
        """Delete the query of a name, if there is one."""
        self._path(name).unlink(missing_ok=True)

    def describe(
        self,
        name: str,
        matcher: Matcher,
        image: Image | Sequence[Image],
        points: Points | Sequence[Points],
        *,
        progress: Progress | None = None,
    ) -> Query:
        """The query of a name, described now if it is not there.

        Of several processes that ask at the same time one describes, and the others wait for it.

        Args:
            name: What the query is kept under; it must be a file's name.
            matcher: The method. It is not compared with the one that made a query that is there.
            image: The source image, or several that are described together.
            points: (x, y) in pixels of the image; of several, those of each.
            progress: As for :meth:`semcorr.matchers.base.Matcher.describe`.

        Raises:
            RunError: The query cannot be written.
            SemcorrError: As the method's ``describe``.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path(name).with_suffix(".lock")):
            query = self.load(name, image, points)
            if query is None:
                query = matcher.describe(image, points, progress=progress)
                self.save(name, query)
            return query

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"
