"""Calibration: from a method's own confidence to the probability that a point is right.

A method's confidence orders its matches, but 0.8 need not mean right in 8 of 10 cases. A calibration is a curve that
was fitted on pairs with ground truth (:mod:`semcorr.evaluation.fit_calibration`) for one method with one model and one
set of settings. It is used for these alone, and records its origin. Without one, confidence is called uncalibrated.

A curve holds for the data set that it was fitted to (:meth:`Calibration.holds_for`), and elsewhere for pairs whose
source and target are both like the images of that data set (:mod:`semcorr.imaging.domain`). Where it does not hold,
confidence is the method's own, and called uncalibrated.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from semcorr.errors import CalibrationError
from semcorr.imaging.domain import Domain, statistics
from semcorr.imaging.geometry import PointsLike
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.base import Matcher, PointsAndConfidence
from semcorr.matchers.results import LocatedTogether, Matches, Query
from semcorr.matchers.wrappers.base import MatcherWrapper
from semcorr.progress import Progress
from semcorr.settings import earlier_names
from semcorr.storage.files import write_atomically

_FORMAT = 2
_READ = (1, 2)
"""Files of version 1 lack the kind of images that they were fitted on."""
_OWN = "calibrations"
OWN_DATA = "own"
"""The name of data sets that are a folder of the user's own (:mod:`semcorr.datasets.own`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """A curve from confidence to probability, and what it holds for.

    Attributes:
        method: The method's name.
        key: A hash of the method, model and settings; see :func:`key_of`.
        confidence, probability: Corners of the curve, which is straight between them and level beyond its ends; the
            first rise, the second do not fall.
        source: Its origin: the model's name, the pairs, the rule by which a point was right, the fit.
        domain: The kind of images that it was fitted on; None if unknown, as in files of an earlier version: it holds
            for its own data set alone then.
    """

    method: str
    key: str
    confidence: tuple[float, ...]
    probability: tuple[float, ...]
    source: Mapping[str, Any]
    domain: Domain | None = None

    def __post_init__(self) -> None:
        x, y = np.array(self.confidence, dtype=float), np.array(self.probability, dtype=float)
        # Between -1e100 and 1e100: differences of numbers are numbers.
        near = x.ndim == y.ndim == 1 and bool((np.abs(x) < 1e100).all() and (np.abs(y) <= 1).all())
        rising = near and bool((np.diff(x) > 0).all()) and bool((np.diff(y) >= 0).all())
        if not (rising and len(x) == len(y) > 0 and y.min() >= 0):
            raise CalibrationError(
                "Expected a calibration's confidence to rise, its probability not to fall, from 0 to 1, and as many of "
                f"one as of the other; got {self.confidence} and {self.probability}."
            )

    def __str__(self) -> str:
        """Return the origin of the curve, for people."""
        origin = " ".join(str(self.source[name]) for name in ("dataset", "split") if self.source.get(name))
        count = self.source.get("points", 0)
        return f"{count if isinstance(count, int) else 0:,} points of {origin or 'unknown origin'}"

    @property
    def fingerprint(self) -> str:
        """A hash of the curve, on which results depend."""
        curve = json.dumps([self.confidence, self.probability])
        return hashlib.sha256(curve.encode()).hexdigest()[:16]

    def holds_for(self, dataset: str) -> bool:
        """Whether it was fitted to this data set. All folders of users share a name, and are not one data set."""
        return dataset == self.source.get("dataset") and dataset != OWN_DATA

    def has(self, query: Query) -> bool:
        """Whether a query's image is like those that it was fitted on; of an earlier version's that is not known."""
        return self.domain is not None and self.domain.contains(query.source_statistics)

    def holds_between(self, query: Query, target: Image) -> bool:
        """Whether a query's image and another one are both like those that it was fitted on."""
        return self.has(query) and self.domain is not None and self.domain.contains(statistics(target))

    def apply(self, confidence: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """Return the probability that each point is right."""
        return np.interp(confidence, self.confidence, self.probability)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a JSON file, whole or not at all, and return its path."""
        domain = None if self.domain is None else self.domain.to_dict()
        document = {"semcorr": "calibration", "version": _FORMAT, **dataclasses.asdict(self), "domain": domain}
        return write_atomically(Path(path), (json.dumps(document, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Calibration":
        """Read what :meth:`save` wrote.

        Raises:
            CalibrationError: The file is missing, broken, or something else.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            if document["semcorr"] != "calibration" or document["version"] not in _READ:
                raise ValueError(f"it says {document['semcorr']!r}, version {document['version']!r}")
            return cls(
                method=str(document["method"]),
                key=str(document["key"]),
                confidence=tuple(float(value) for value in document["confidence"]),
                probability=tuple(float(value) for value in document["probability"]),
                source=dict(document["source"]),
                domain=Domain.from_dict(document["domain"]) if document.get("domain") is not None else None,
            )
        except (
            *(OSError, KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError),
            CalibrationError,
        ) as error:
            raise CalibrationError(
                f"Cannot read the calibration {os.fspath(path)!r}: {type(error).__name__}: {error}. Expected a file "
                "that `semcorr calibrate` wrote."
            ) from error


def key_of(method: str, identity: Mapping[str, Any]) -> str:
    """Return a hash of the method, the model's weights, all settings but the seed, and pose alignment.

    ``identity`` is what :meth:`semcorr.matchers.base.Matcher.identity` returns. Precision does not count: it changes
    confidence less than images do. Nor does how a peak is refined where the confidence is the same with and without,
    that is, with attention: a point then moves by less than a cell of it.
    """
    # Keys are hashed from the names of version 0.1, so that its calibrations still hold. Methods of other packages may
    # give no settings.
    settings = earlier_names(identity.get("settings", {}))
    settings.pop("seed", None)
    refined = settings.pop("peak", None)
    if "window" in settings:  # methods on features, whose calibrations of version 0.1 call a cell a pixel
        settings["peak"] = "pixel" if refined == "cell" else refined
    if settings.get("prior") == "none":  # there was none when calibrations of version 0.1 were made
        settings = {name: value for name, value in settings.items() if name != "turns" and not name.startswith("prior")}
    for name in ("turns", "enlarge"):
        if settings.get(name) in ("auto", 1):  # what "auto" became is in a query's settings
            del settings[name]
    parts = [method, identity.get("model_fingerprint"), settings, bool(identity.get("align_pose", False))]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def bundled(method: str, key: str) -> Calibration | None:
    """The calibration that comes with the package, if there is one."""
    file = Path(str(resources.files("semcorr.matchers.wrappers"))) / _OWN / f"{method}-{key}.json"
    return Calibration.load(file) if file.is_file() else None


class CalibratedMatcher(MatcherWrapper):
    """Any method, its confidence replaced by the probability of being right.

    Args:
        matcher: The method.
        calibration: The curve that was fitted for it.
        everywhere: Every pair of images is known to be of the calibration's data set; otherwise each pair is checked.
    """

    def __init__(self, matcher: Matcher, calibration: Calibration, *, everywhere: bool = False) -> None:
        super().__init__(matcher)
        self.calibration, self.everywhere = calibration, everywhere

    def _facts(self) -> list[str]:
        return [*super()._facts(), f"calibrated on {self.calibration}"]

    def identity(self) -> dict[str, Any]:
        """Return the method's own, and the fingerprint of the calibration."""
        return {**self.matcher.identity(), "calibration": self.calibration.fingerprint}

    def describe(
        self,
        image: "ImageSource | Sequence[ImageSource]",
        points: "PointsLike",
        *,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Query:
        """Describe points as the method does; see :meth:`semcorr.Matcher.describe`."""
        if isinstance(image, list | tuple):
            return self.matcher.describe(image, points, names=names, progress=progress)
        source = load_image(cast("ImageSource", image))
        query = self.matcher.describe(source, points, names=names, progress=progress)
        # Another package's method may not add them.
        known = query.source_statistics or statistics(source)
        return dataclasses.replace(query, source_statistics=known)

    def holds(self, query: Query, target: Image) -> bool:
        """Whether confidence between a query's image and another is a probability.

        Not where the method adapted its settings to the query's image, or to the supports of a transfer, nor where
        several images were described together: the curve of these is not known.
        """
        if query.further_examples:
            return False
        made = {**self.matcher.identity(), "settings": dict(query.settings)}
        if key_of(self.calibration.method, made) != self.calibration.key:
            return False
        return self.everywhere or self.calibration.holds_between(query, target)

    def locate(
        self, query: Query, image: "ImageSource", *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        """Locate as the method does, with a confidence that is a probability where the calibration holds.

        See :meth:`semcorr.Matcher.locate`.
        """
        target = load_image(image)
        return self._apply(query, target, self.matcher.locate(query, target, trace=trace, progress=progress))

    def locate_each(
        self, queries: Sequence[Query], image: "ImageSource", *, progress: Progress | None = None
    ) -> list[Matches]:
        """Locate as the method does, with a confidence that is a probability where the calibration holds.

        See :meth:`semcorr.Matcher.locate_each`.
        """
        target = load_image(image)
        results = self.matcher.locate_each(queries, target, progress=progress)
        return [self._apply(query, target, matches) for query, matches in zip(queries, results, strict=True)]

    def locate_together(
        self,
        queries: Sequence[Query],
        keypoints: Sequence[Sequence[int]],
        count: int,
        image: "ImageSource",
        *,
        progress: Progress | None = None,
    ) -> LocatedTogether | None:
        """Locate as the method does. What several supports say together is another confidence than was calibrated."""
        target = load_image(image)
        located = self.matcher.locate_together(queries, keypoints, count, target, progress=progress)
        if located is None or len(queries) > 1 or not self.holds(queries[0], target):
            return located
        return dataclasses.replace(
            located, confidence=self.calibration.apply(located.confidence), calibration=str(self.calibration)
        )

    def _apply(self, query: Query, target: Image, matches: Matches) -> Matches:
        if not self.holds(query, target):
            return matches
        return dataclasses.replace(
            matches, confidence=self.calibration.apply(matches.confidence), calibration=str(self.calibration)
        )

    def locate_points(
        self, query: Query, image: "ImageSource", *, progress: Progress | None = None
    ) -> PointsAndConfidence:
        """Locate points as the method does, with a confidence that is a probability where the calibration holds.

        See :meth:`semcorr.Matcher.locate_points`.
        """
        target = load_image(image)
        points, confidence = self.matcher.locate_points(query, target, progress=progress)
        return points, self.calibration.apply(confidence) if self.holds(query, target) else confidence


def calibrated(matcher: Matcher, method: str, calibration: str | os.PathLike[str] | None = None) -> Matcher:
    """Return a matcher with its calibration: the one in a file, or the package's own, or the matcher as it is.

    Args:
        matcher: The method.
        method: Its name.
        calibration: A file; None for the package's own, where there is one; ``"none"`` for none.

    Raises:
        CalibrationError: The file cannot be read, or is for another method, model or settings.
    """
    if calibration == "none":
        return matcher
    key = key_of(method, matcher.identity())
    if calibration is None:
        own = bundled(method, key)
        return matcher if own is None else CalibratedMatcher(matcher, own)
    read = Calibration.load(calibration)
    if read.key != key:
        raise CalibrationError(
            f"The calibration {os.fspath(calibration)!r} is of method {read.method!r} with model "
            f"{read.source.get('model')!r} and certain settings, and this is another method, model or setting (not the "
            "seed): it does not hold here. Run `semcorr calibrate` for these, or leave it out."
        )
    return CalibratedMatcher(matcher, read)


def for_data_set(matcher: Matcher | None, holds: bool) -> Matcher | None:
    """Return a matcher whose calibration is applied to every pair of a data set, or to none, whatever the images.

    Args:
        matcher: The method; without a calibration it is returned unchanged, as is None, a baseline.
        holds: Whether the calibration holds for the data set.
    """
    if not isinstance(matcher, CalibratedMatcher):
        return matcher
    return CalibratedMatcher(matcher.matcher, matcher.calibration, everywhere=True) if holds else matcher.matcher
