"""Matches: a query's points in another image."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.matchers import notebook
from semcorr.matchers.keypoint_matches import records_of
from semcorr.matchers.results.fields import checked_numbers, names_of, points_in_short, read_only, size_of
from semcorr.storage.safetensors import complete, read_tensors, warnings_of, write_tensors


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
            object.__setattr__(self, name, read_only(array, "float64"))

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
            object.__setattr__(self, name, read_only(getattr(self, name), kind))

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers that were read; none for methods that read no attention."""
        return () if self.diagnostics is None else self.diagnostics.layer_names

    def __repr__(self) -> str:
        width, height = self.image_size
        facts = [f"{points_in_short(len(self.points), self.names)} in an image of {width} × {height}"]
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
                image_size=size_of(header["image_size"]),
                image_sha256=str(header["image_sha256"]),
                names=names_of(header["names"], len(arrays["points"])),
                calibration=header.get("calibration"),  # files of an earlier version lack it
                warnings=warnings_of(header),
                diagnostics=Diagnostics(layer_names=layer_names, **own) if layer_names else None,
            )


_MATCH_ARRAYS = ("points", "confidence", "heatmaps", "query_points")
_DIAGNOSTIC_ARRAYS = ("layer_points", "round_points", "after_rounds", "after_crops")


def _check_shapes(arrays: Mapping[str, np.ndarray], layers: int) -> None:
    """Check that all arrays of matches are finite numbers and belong to the same points and layers."""
    count = len(arrays["points"])
    expected: dict[str, tuple[int | None, ...]] = dict.fromkeys(_DIAGNOSTIC_ARRAYS, (count, None, 2))
    expected |= {"points": (count, 2), "query_points": (count, 2), "confidence": (count,)}
    expected |= {"heatmaps": (count, None, None), "layer_points": (count, layers, 2)}
    for name in expected.keys() & arrays.keys():
        shape = checked_numbers(name, arrays[name], partial=name == "query_points").shape
        sizes = expected[name]
        if len(shape) != len(sizes) or any(a not in (None, b) for a, b in zip(sizes, shape, strict=True)):
            raise ValueError(f"{name} of shape {shape} for {count} points and {layers} layers")
