"""Which network results depend on."""

import dataclasses
from typing import Any

from semcorr.errors import QueryError
from semcorr.matchers.regions.results import RegionQuery
from semcorr.matchers.results import Query


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which network results depend on; see :class:`Query`. What is not quantised does not say so."""

    model_id: str
    model_revision: str | None
    model_fingerprint: str
    dtype: str = "float32"
    quantize: str | None = None

    @classmethod
    def of(cls, network: Any) -> "ModelIdentity":
        """The identity of a loaded model, which has ``model_id``, ``revision``, ``fingerprint`` and ``dtype``."""
        return cls(
            model_id=network.model_id,
            model_revision=network.revision,
            model_fingerprint=network.fingerprint,
            dtype=str(network.dtype).removeprefix("torch."),
            quantize=getattr(network, "quantize", None),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the identity as JSON holds it."""
        values = dataclasses.asdict(self)
        if self.quantize is None:  # as before there was a choice
            del values["quantize"]
        return values

    def check(self, query: Query | RegionQuery) -> None:
        """Refuse a query that was made with another network.

        Raises:
            QueryError: It was.
        """
        if query.model_fingerprint != self.model_fingerprint:
            theirs = _model_name(query.model_id, query.model_revision, query.model_fingerprint)
            ours = _model_name(self.model_id, self.model_revision, self.model_fingerprint)
            raise QueryError(
                f"The query was made with model {theirs}, but this is model {ours}. A query means nothing to another "
                "model: load the query's model, or describe the points again."
            )


def _model_name(model_id: str, revision: str | None, fingerprint: str) -> str:
    at = f" at {revision}" if revision else ""
    return f"{model_id!r}{at} (fingerprint {fingerprint[:12]})"
