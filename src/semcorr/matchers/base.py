"""What all methods share: the interface of a matcher, and the network that its results depend on."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import ArrayLike

from semcorr.errors import PointError, QueryError
from semcorr.imaging.image import ImageSource
from semcorr.matchers.results import Matches, Query
from semcorr.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which network results depend on; see :class:`Query`."""

    model_id: str
    model_revision: str | None
    model_fingerprint: str
    dtype: str = "float32"

    @classmethod
    def of(cls, network: Any) -> "ModelIdentity":
        """The identity of a loaded model, which has ``model_id``, ``revision``, ``fingerprint`` and ``dtype``."""
        return cls(
            model_id=network.model_id,
            model_revision=network.revision,
            model_fingerprint=network.fingerprint,
            dtype=str(network.dtype).removeprefix("torch."),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dataclasses.asdict(self)

    def check(self, query: Query, method: str) -> None:
        """Insist that a query was made by ``method`` with this network.

        Raises:
            QueryError: it was not.
        """
        if query.method != method:
            raise QueryError(f"The query was made by method {query.method!r}, expected {method!r}.")
        if query.model_fingerprint != self.model_fingerprint:
            theirs = _model_name(query.model_id, query.model_revision, query.model_fingerprint)
            ours = _model_name(self.model_id, self.model_revision, self.model_fingerprint)
            raise QueryError(
                f"The query was learned with model {theirs}, but this is model {ours}. What one model learned means "
                "nothing to another: load the query's model, or describe the points again."
            )


def _model_name(model_id: str, revision: str | None, fingerprint: str) -> str:
    at = f" at {revision}" if revision else ""
    return f"{model_id!r}{at} (fingerprint {fingerprint[:12]})"


def check_names(names: Sequence[str] | None, points: int) -> None:
    """Insist on one name for each point, where there are names.

    Raises:
        PointError: there are more or fewer.
    """
    if names is not None and len(names) != points:
        raise PointError(f"Expected one name for each of the {points} points, got {len(names)}.")


@runtime_checkable
class Matcher(Protocol):
    """A method: the slow half is done once for a source image, the fast half for every further image."""

    def identity(self) -> dict[str, Any]:
        """All that results depend on, as JSON holds it: ``model_id``, ``model_fingerprint``, ``settings``, ..."""
        ...

    def describe(
        self,
        image: ImageSource,
        points: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Query:
        """Learn the points (x, y), in pixels of ``image``."""
        ...

    def locate(
        self, query: Query, image: ImageSource, *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        """Find a query's points in another image; ``trace`` asks for ``Matches.after_crops`` where there are crops."""
        ...


def innermost(matcher: object) -> object:
    """The method itself, without its wrappers (:mod:`semcorr.matchers.wrappers`)."""
    while hasattr(matcher, "matcher"):
        matcher = matcher.matcher
    return matcher
