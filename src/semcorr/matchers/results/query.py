"""Queries, which describe points of one image or several."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.errors import QueryError
from semcorr.matchers import notebook
from semcorr.matchers.results.fields import checked_numbers, names_of, points_in_short, read_only, size_of
from semcorr.storage.safetensors import complete, read_tensors, warnings_of, write_tensors

_PREFIX = "tensor."
_SHARED = "shared."


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """One of several images that points were described from.

    Attributes:
        points: (x, y) in pixels of the image (continuous; (0, 0) is its top-left corner); NaN where it does not show a
            point.
        image_size: Its (width, height).
        image_sha256: Hash of its content.
    """

    points: Float[np.ndarray, "points 2"]
    image_size: tuple[int, int]
    image_sha256: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", read_only(self.points, "float64"))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """Points of one image or several, described so that a method can locate them in others.

    Attributes:
        method: Name of the method that made it ("prompt").
        model_id, model_revision, model_fingerprint: The network it belongs to.
        settings: The method's complete settings, as JSON holds them.
        points: (x, y) in pixels of the source image (continuous; (0, 0) is its top-left corner). Of several images it
            is the first; NaN where it does not show a point that another one shows.
        names: A name for each point, or None.
        image_size: (width, height) of the source image.
        image_sha256: Hash of the source image's content (:attr:`semcorr.imaging.image.Image.sha256`).
        tensors: What the method keeps of each point, points first; "prompt" keeps "embeddings" (points, rounds, tokens,
            dim) and "losses" (points, rounds, steps).
        shared: What it keeps of the whole image, whatever the points.
        warnings: What users should know of how it was made
            (:mod:`semcorr.matchers.wrappers.float32_fallback`).
        source_statistics: What kind of image the source is (:func:`semcorr.imaging.domain.statistics`), by which a
            calibration decides whether it holds; empty where it is not known, as in files of an earlier version.
        further_examples: The other images, where several were described together.
    """

    method: str
    model_id: str
    model_revision: str | None
    model_fingerprint: str
    settings: Mapping[str, Any]
    points: Float[np.ndarray, "points 2"]
    names: tuple[str, ...] | None = None
    image_size: tuple[int, int]
    image_sha256: str
    tensors: Mapping[str, np.ndarray]
    shared: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    source_statistics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    further_examples: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", read_only(self.points, "float64"))
        for kind in ("tensors", "shared"):
            object.__setattr__(self, kind, {name: read_only(value) for name, value in getattr(self, kind).items()})
        if self.names is not None and len(self.names) != len(self.points):
            raise QueryError(f"Expected one name for each of the {len(self.points)} points, got {len(self.names)}.")

    def __repr__(self) -> str:
        width, height = self.image_size
        points = points_in_short(len(self.points), self.names)
        where = f"{len(self.examples)} images, the first" if self.further_examples else "an image"
        return f"<Query of {self.method} on {self.model_id}: {points} in {where} of {width} × {height}>"

    def _repr_html_(self) -> str:
        columns = {"x, y": lambda index: notebook.position(self.points[index])}
        return notebook.point_table(repr(self)[1:-1], len(self.points), self.names, columns)

    @property
    def examples(self) -> tuple[Example, ...]:
        """All images that points were described from, the source first."""
        first = Example(points=self.points, image_size=self.image_size, image_sha256=self.image_sha256)
        return (first, *self.further_examples)

    def take(self, indices: Sequence[int]) -> "Query":
        """Return a query of some of the points, in the order given.

        Their matches are the same, unless the method locates points together (:attr:`Matcher.points_together`).
        """
        chosen = list(indices)
        return dataclasses.replace(
            self,
            points=self.points[chosen],
            names=None if self.names is None else tuple(self.names[index] for index in chosen),
            tensors={name: value[chosen] for name, value in self.tensors.items()},
            further_examples=tuple(
                dataclasses.replace(one, points=one.points[chosen]) for one in self.further_examples
            ),
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the query to a ``.safetensors`` file, whole or not at all, and return its path."""
        header = {
            name: getattr(self, name)
            for name in (
                "method",
                "model_id",
                "model_revision",
                "model_fingerprint",
                "settings",
                "names",
                "image_size",
                "image_sha256",
                "warnings",
                "source_statistics",
            )
        }
        arrays = {"points": self.points, **_prefixed(_PREFIX, self.tensors), **_prefixed(_SHARED, self.shared)}
        if self.further_examples:
            header["examples"] = [[one.image_sha256, *one.image_size] for one in self.further_examples]
            arrays["examples"] = np.stack([one.points for one in self.further_examples])
        return write_tensors(Path(path), "query", header, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Query":
        """Read a query that :meth:`save` wrote.

        Raises:
            QueryError: The file is missing, broken, or something else.
        """
        header, arrays = read_tensors(Path(path), "query")
        with complete(Path(path), "query"):
            further = _further_examples(header, arrays)
            points = checked_numbers("points", arrays["points"], partial=bool(further)).reshape(-1, 2)
            if further and further[0].points.shape != points.shape:
                raise ValueError(f"examples of {len(further[0].points)} points for {len(points)} points")
            for name, array in _with_prefix(_PREFIX, arrays).items():
                if array.shape[:1] != (len(points),):
                    raise ValueError(f"{name} of shape {array.shape} for {len(points)} points")
            method = str(header["method"])
            if ":" in method:  # it would be imported where a method is loaded by the query's name of it
                raise ValueError(f"the method {method!r:.60}, which is no name")
            return cls(
                method=method,
                model_id=str(header["model_id"]),
                model_revision=None if header["model_revision"] is None else str(header["model_revision"]),
                model_fingerprint=str(header["model_fingerprint"]),
                settings=dict(header["settings"]),
                points=points,
                names=names_of(header["names"], len(points)),
                image_size=size_of(header["image_size"]),
                image_sha256=str(header["image_sha256"]),
                tensors=_with_prefix(_PREFIX, arrays),
                shared=_with_prefix(_SHARED, arrays),
                warnings=warnings_of(header),
                source_statistics=_shares(header.get("source_statistics", {})),
                further_examples=further,
            )


def _prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {prefix + name: value for name, value in arrays.items()}


def _with_prefix(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _shares(values: Mapping[str, object]) -> dict[str, float]:
    shares = {str(name): float(value) for name, value in values.items()}  # type: ignore[arg-type]
    if not all(0 <= value <= 1 for value in shares.values()):
        raise ValueError(f"statistics of the source {values!r:.60}")
    return shares


def _further_examples(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> tuple[Example, ...]:
    """The examples after the first; none in files of one image."""
    if "examples" not in header:
        return ()
    points = checked_numbers("examples", arrays["examples"], partial=True)
    if points.ndim != 3 or points.shape[2] != 2:
        raise ValueError(f"examples of shape {points.shape}")
    return tuple(
        Example(points=own, image_size=size_of(size), image_sha256=str(sha256))
        for own, (sha256, *size) in zip(points, header["examples"], strict=True)
    )
