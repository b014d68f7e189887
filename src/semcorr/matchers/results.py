"""Queries, which describe points of one image, and matches: the same points in another."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from semcorr.errors import QueryError
from semcorr.matchers import notebook
from semcorr.matchers.keypoint_matches import records_of
from semcorr.storage.safetensors import complete, read_tensors, warnings_of, write_tensors

_PREFIX = "tensor."
_SHARED = "shared."


def _read_only(array: ArrayLike, dtype: str | None = None) -> np.ndarray:
    # A private copy: results are immutable, and so must be what they hold.
    result = np.array(array, dtype=dtype, order="C")
    result.flags.writeable = False
    return result


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
        object.__setattr__(self, "points", _read_only(self.points, "float64"))


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
        object.__setattr__(self, "points", _read_only(self.points, "float64"))
        for kind in ("tensors", "shared"):
            object.__setattr__(self, kind, {name: _read_only(value) for name, value in getattr(self, kind).items()})
        if self.names is not None and len(self.names) != len(self.points):
            raise QueryError(f"Expected one name for each of the {len(self.points)} points, got {len(self.names)}.")

    def __repr__(self) -> str:
        width, height = self.image_size
        points = _points_in_short(len(self.points), self.names)
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
            points = _numbers("points", arrays["points"], partial=bool(further)).reshape(-1, 2)
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
                names=_names(header["names"], len(points)),
                image_size=_size(header["image_size"]),
                image_sha256=str(header["image_sha256"]),
                tensors=_with_prefix(_PREFIX, arrays),
                shared=_with_prefix(_SHARED, arrays),
                warnings=warnings_of(header),
                source_statistics=_shares(header.get("source_statistics", {})),
                further_examples=further,
            )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LocatedTogether:
    """An object's key-points, located by several supports at once (:meth:`Matcher.locate_together`).

    Attributes:
        points: (x, y) in pixels of the target, NaN where no support has the key-point.
        confidence: In [0, 1], NaN likewise.
        votes: The similarity of each support's description with what is at the point, in [0, 1]; NaN where it lacks the
            key-point. None where the method does not say.
        warnings: As in :class:`Matches`.
        calibration: As in :class:`Matches`.
    """

    points: Float[np.ndarray, "keypoints 2"]
    confidence: Float[np.ndarray, " keypoints"]
    votes: Float[np.ndarray, "supports keypoints"] | None = None
    warnings: tuple[str, ...] = ()
    calibration: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Diagnostics:
    """Where the paper's method would have located the points with less than all that it read.

    All points are (x, y) in pixels of the target.

    Attributes:
        layer_names: The layers that were read.
        layer_points: From each layer alone: the centre of its map's largest pixel, even if the setting ``peak`` makes
            ``Matches.points`` finer.
        round_points: From each round alone, likewise.
        after_rounds: From the first 1, 2, ... rounds together; the last is ``Matches.points``.
        after_crops: From the first 1, 2, ... crops; without columns unless ``locate`` was asked to trace them.
    """

    layer_names: tuple[str, ...]
    layer_points: Float[np.ndarray, "points layers 2"]
    round_points: Float[np.ndarray, "points rounds 2"]
    after_rounds: Float[np.ndarray, "points traced_rounds 2"] | None = None
    after_crops: Float[np.ndarray, "points traced_crops 2"] | None = None

    def __post_init__(self) -> None:
        for name in _DIAGNOSTIC_ARRAYS:
            array = getattr(self, name)
            array = np.zeros((len(self.round_points), 0, 2)) if array is None else array
            object.__setattr__(self, name, _read_only(array, "float64"))

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> "Diagnostics":
        """Return the same with every array of points, (points, n, 2), changed."""
        changed: dict[str, Any] = {name: change(getattr(self, name)) for name in _DIAGNOSTIC_ARRAYS}
        return dataclasses.replace(self, **changed)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """Where a query's points are in one target image.

    Attributes:
        points: (x, y) in pixels of the target image (continuous; (0, 0) is its top-left corner).
        confidence: A number in [0, 1] for each point, to sort results by. With a ``calibration`` it is the probability
            that the point is right (within 0.1 of the object's size, if nothing else is said there); without one, 0.8
            does not mean right in 8 of 10 cases.
        heatmaps: One map a point; each covers the whole target, whatever the target's own proportions.
        image_size, image_sha256: The target's (width, height) and the hash of its content.
        query_points: The query's own points, in pixels of the source; NaN where it has none (:class:`Query`).
        names: The query's names, or None.
        calibration: The data that the confidence was calibrated on, for people; None if it is not calibrated.
        similarity: The highest cosine similarity of each point's features with the target's, where a method compares
            features and its heat maps are not that similarity itself; else None. It is not saved.
        warnings: What users should know of how the points were located
            (:mod:`semcorr.matchers.wrappers.float32_fallback`).
        diagnostics: Locations from parts of what was read; None for methods that read no attention.
    """

    points: Float[np.ndarray, "points 2"]
    confidence: Float[np.ndarray, " points"]
    heatmaps: Float[np.ndarray, "points height width"]
    image_size: tuple[int, int]
    image_sha256: str
    query_points: Float[np.ndarray, "points 2"]
    names: tuple[str, ...] | None = None
    calibration: str | None = None
    similarity: Float[np.ndarray, " points"] | None = None
    warnings: tuple[str, ...] = ()
    diagnostics: Diagnostics | None = None

    def __post_init__(self) -> None:
        for name in _MATCH_ARRAYS:
            kind = "float32" if name == "heatmaps" else "float64"
            object.__setattr__(self, name, _read_only(getattr(self, name), kind))

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers that were read; none for methods that read no attention."""
        return () if self.diagnostics is None else self.diagnostics.layer_names

    def __repr__(self) -> str:
        width, height = self.image_size
        facts = [f"{_points_in_short(len(self.points), self.names)} in an image of {width} × {height}"]
        if len(self.points):
            low, high = f"{self.confidence.min():.2f}", f"{self.confidence.max():.2f}"
            facts.append(f"confidence {low}" + (f" to {high}" if high != low else ""))
        facts.append(f"calibrated on {self.calibration}" if self.calibration else "uncalibrated")
        if self.warnings:
            facts.append(f"{len(self.warnings)} warning{'s' * (len(self.warnings) > 1)}")
        return f"<Matches: {', '.join(facts)}>"

    def _repr_html_(self) -> str:
        columns = {
            "source x, y": lambda index: notebook.position(self.query_points[index]),
            "target x, y": lambda index: notebook.position(self.points[index]),
            "confidence" if self.calibration else "confidence (uncalibrated)": lambda index: (
                f"{self.confidence[index]:.2f}"
            ),
            "heat map": lambda index: notebook.heatmap_cell(self.heatmaps[index], self.points[index], self.image_size),
        }
        return notebook.point_table(repr(self)[1:-1], len(self.points), self.names, columns)

    def take(self, indices: Sequence[int]) -> "Matches":
        """Return some of the points' matches, in the order given."""
        chosen = list(indices)
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[chosen] for name in _MATCH_ARRAYS},
            names=None if self.names is None else tuple(self.names[index] for index in chosen),
            similarity=None if self.similarity is None else self.similarity[chosen],
            diagnostics=None if self.diagnostics is None else self.diagnostics.map(lambda points: points[chosen]),
        )

    def to_records(self) -> list[dict[str, Any]]:
        """Return a record for each point, as ``pandas.DataFrame`` and ``csv.DictWriter`` take them.

        Each has ``name`` (None without names), ``x`` and ``y`` in pixels of the target, ``confidence``, ``calibrated``
        (whether that is a probability), and ``source_x`` and ``source_y``, the query's point in pixels of the source
        (NaN where it does not show it).
        """
        names = self.names or [None] * len(self.points)
        numbers = np.column_stack((self.points, self.confidence, self.query_points)).tolist()
        return [
            {
                "name": name,
                "x": x,
                "y": y,
                "confidence": confidence,
                "calibrated": self.calibration is not None,
                "source_x": source_x,
                "source_y": source_y,
            }
            for name, (x, y, confidence, source_x, source_y) in zip(names, numbers, strict=True)
        ]

    def to_keypoint_matches(self) -> list[dict[str, Any]]:
        """Return a record for each point as transformers' key-point matching pipeline does, the most confident first.

        See :mod:`semcorr.matchers.keypoint_matches`. ``score`` is the confidence; names are lost, and points that the
        source does not show.
        """
        shown = np.isfinite(self.query_points[:, 0])
        return records_of(self.query_points[shown], self.points[shown], self.confidence[shown])

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the heat maps as plain lists and numbers, for JSON."""
        # A method without diagnostics counts as one round that reads no layers.
        rounds = self.points[:, None] if self.diagnostics is None else self.diagnostics.round_points
        layers = np.zeros((len(rounds), 0, 2)) if self.diagnostics is None else self.diagnostics.layer_points
        return {
            "image_size": list(self.image_size),
            "image_sha256": self.image_sha256,
            "layer_names": list(self.layer_names),
            "calibration": self.calibration or "uncalibrated",
            "warnings": list(self.warnings),
            "points": [
                {
                    "name": self.names[index] if self.names else None,
                    "source": None if np.isnan(self.query_points[index, 0]) else self.query_points[index].tolist(),
                    "target": self.points[index].tolist(),
                    "confidence": float(self.confidence[index]),
                    "rounds": rounds[index].tolist(),
                    "layers": layers[index].tolist(),
                }
                for index in range(len(self.points))
            ],
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the matches to a ``.safetensors`` file, whole or not at all, and return its path."""
        names = ("image_size", "image_sha256", "names", "layer_names", "calibration", "warnings")
        arrays = {name: getattr(self, name) for name in _MATCH_ARRAYS}
        if self.diagnostics is not None:
            arrays |= {name: getattr(self.diagnostics, name) for name in _DIAGNOSTIC_ARRAYS}
        return write_tensors(Path(path), "matches", {name: getattr(self, name) for name in names}, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Matches":
        """Read matches that :meth:`save` wrote.

        Raises:
            QueryError: The file is missing, broken, or something else.
        """
        header, arrays = read_tensors(Path(path), "matches")
        with complete(Path(path), "matches"):
            layer_names = tuple(map(str, header["layer_names"]))
            _check_shapes(arrays, len(layer_names))
            # Version 0.1 wrote arrays of no layers for methods without diagnostics, and at first no "after_..." arrays.
            own: dict[str, Any] = {name: arrays.get(name) for name in _DIAGNOSTIC_ARRAYS}
            return cls(
                **{name: arrays[name] for name in _MATCH_ARRAYS},
                image_size=_size(header["image_size"]),
                image_sha256=str(header["image_sha256"]),
                names=_names(header["names"], len(arrays["points"])),
                calibration=header.get("calibration"),  # files of an earlier version lack it
                warnings=warnings_of(header),
                diagnostics=Diagnostics(layer_names=layer_names, **own) if layer_names else None,
            )


_MATCH_ARRAYS = ("points", "confidence", "heatmaps", "query_points")
_DIAGNOSTIC_ARRAYS = ("layer_points", "round_points", "after_rounds", "after_crops")


def _points_in_short(count: int, names: Sequence[str] | None) -> str:
    first = ", ".join((names or ())[:3]) + (", …" if count > 3 else "")
    return f"{count:,} point{'s' * (count != 1)}" + (f" ({first})" if names else "")


def _prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {prefix + name: value for name, value in arrays.items()}


def _with_prefix(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _size(values: Sequence[int]) -> tuple[int, int]:
    width, height = values
    if min(int(width), int(height)) < 1:
        raise ValueError(f"an image of {width} x {height} pixels")
    return int(width), int(height)


def _shares(values: Mapping[str, object]) -> dict[str, float]:
    shares = {str(name): float(value) for name, value in values.items()}  # type: ignore[arg-type]
    if not all(0 <= value <= 1 for value in shares.values()):
        raise ValueError(f"statistics of the source {values!r:.60}")
    return shares


def _names(values: Sequence[object] | None, points: int) -> tuple[str, ...] | None:
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != points:
        raise ValueError(f"names {values!r:.60} for {points} points")
    return tuple(map(str, values))


def _numbers(name: str, array: np.ndarray, *, partial: bool = False) -> np.ndarray:
    """Return an array of numbers that are finite, or with ``partial`` NaN."""
    if array.dtype.kind != "f":
        raise ValueError(f"{name} of type {array.dtype}")
    if not (np.isfinite(array) | (partial & np.isnan(array))).all():
        raise ValueError(f"{name} that are not finite")
    return array


def _further_examples(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> tuple[Example, ...]:
    """The examples after the first; none in files of one image."""
    if "examples" not in header:
        return ()
    points = _numbers("examples", arrays["examples"], partial=True)
    if points.ndim != 3 or points.shape[2] != 2:
        raise ValueError(f"examples of shape {points.shape}")
    return tuple(
        Example(points=own, image_size=_size(size), image_sha256=str(sha256))
        for own, (sha256, *size) in zip(points, header["examples"], strict=True)
    )


def _check_shapes(arrays: Mapping[str, np.ndarray], layers: int) -> None:
    """Check that all arrays of matches are finite numbers and belong to the same points and layers."""
    count = len(arrays["points"])
    expected: dict[str, tuple[int | None, ...]] = dict.fromkeys(_DIAGNOSTIC_ARRAYS, (count, None, 2))
    expected |= {"points": (count, 2), "query_points": (count, 2), "confidence": (count,)}
    expected |= {"heatmaps": (count, None, None), "layer_points": (count, layers, 2)}
    for name in expected.keys() & arrays.keys():
        shape = _numbers(name, arrays[name], partial=name == "query_points").shape
        sizes = expected[name]
        if len(shape) != len(sizes) or any(a not in (None, b) for a, b in zip(sizes, shape, strict=True)):
            raise ValueError(f"{name} of shape {shape} for {count} points and {layers} layers")
