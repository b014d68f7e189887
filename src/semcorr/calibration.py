"""From a method's own confidence to the probability that a point is right, measured on pairs whose truth is known.

A method's number orders its matches, but 0.8 need not mean right in 8 of 10 cases. A calibration is a curve that
was fitted (:mod:`semcorr.evaluation.calibrate`) for one method with one model and one set of settings, and is used for
these alone; it keeps where it is from. What has none is called uncalibrated.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from semcorr.errors import CalibrationError
from semcorr.files import write_whole
from semcorr.images import ImageSource
from semcorr.matching import Matcher, Matches, Query
from semcorr.progress import Progress

_FORMAT = 1
_OWN = "calibrations"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """A curve from confidence to probability, and what it is for.

    Attributes:
        method: the method's name.
        key: what it holds for, see :func:`key_of`.
        confidence, probability: corners of the curve, which is straight between them and level beyond its ends; the
            first rise, the second do not fall.
        source: where it is from: the model's name, the pairs, the rule by which a point was right, the fit.
    """

    method: str
    key: str
    confidence: tuple[float, ...]
    probability: tuple[float, ...]
    source: Mapping[str, Any]

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
        """In words, for people."""
        told = " ".join(str(self.source[name]) for name in ("dataset", "split") if self.source.get(name))
        count = self.source.get("points", 0)
        return f"{count if isinstance(count, int) else 0:,} points of {told or 'unknown origin'}"

    def apply(self, confidence: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """Return the probability that each point is right."""
        return np.interp(confidence, self.confidence, self.probability)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a JSON file, whole or not at all, and return its path."""
        document = {"semcorr": "calibration", "version": _FORMAT, **dataclasses.asdict(self)}
        return write_whole(Path(path), (json.dumps(document, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Calibration":
        """Read what :meth:`save` wrote.

        Raises:
            CalibrationError: the file is missing, broken, or something else.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            if document["semcorr"] != "calibration" or document["version"] != _FORMAT:
                raise ValueError(f"it says {document['semcorr']!r}, version {document['version']!r}")
            return cls(
                method=str(document["method"]),
                key=str(document["key"]),
                confidence=tuple(float(value) for value in document["confidence"]),
                probability=tuple(float(value) for value in document["probability"]),
                source=dict(document["source"]),
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
    """What a calibration holds for: a method, the model's weights, all settings but the seed, pose alignment.

    ``identity`` is what :meth:`semcorr.matching.Matcher.identity` returns. Precision does not count: it changes
    confidence less than pictures do. Nor does how a peak is refined where the confidence is the same with and without,
    that is, with attention: a point then moves by less than a cell of it.
    """
    # Another package's method may say less of itself.
    settings = {name: value for name, value in identity.get("settings", {}).items() if name != "seed"}
    refined = settings.pop("peak", None)
    if "window" in settings:  # methods on features, whose calibrations of version 0.1 call a cell a pixel
        settings["peak"] = "pixel" if refined == "cell" else refined
    parts = [method, identity.get("model_fingerprint"), settings, bool(identity.get("align_pose", False))]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def bundled(method: str, key: str) -> Calibration | None:
    """The calibration that comes with the package, if there is one."""
    file = Path(str(resources.files("semcorr"))) / _OWN / f"{method}-{key}.json"
    return Calibration.load(file) if file.is_file() else None


class CalibratedMatcher:
    """Any method, its confidence replaced by the probability of being right.

    Args:
        matcher: the method.
        calibration: what was measured for it.
    """

    def __init__(self, matcher: Matcher, calibration: Calibration) -> None:
        self.matcher, self.calibration = matcher, calibration

    def identity(self) -> dict[str, Any]:
        """The method's own, and the calibration's curve."""
        curve = json.dumps([self.calibration.confidence, self.calibration.probability])
        return {**self.matcher.identity(), "calibration": hashlib.sha256(curve.encode()).hexdigest()[:16]}

    def describe(
        self,
        image: ImageSource,
        points: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Query:
        """As the method does."""
        return self.matcher.describe(image, points, names=names, progress=progress)

    def locate(
        self, query: Query, image: ImageSource, *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        """As the method does, with a confidence that is a probability."""
        found = self.matcher.locate(query, image, trace=trace, progress=progress)
        return dataclasses.replace(
            found, confidence=self.calibration.apply(found.confidence), calibration=str(self.calibration)
        )


def calibrated(matcher: Matcher, method: str, calibration: str | os.PathLike[str] | None = None) -> Matcher:
    """Return a matcher with its calibration: the one in a file, or the package's own, or the matcher as it is.

    Args:
        matcher: the method.
        method: its name.
        calibration: a file; None for the package's own, where there is one; ``"none"`` for none.

    Raises:
        CalibrationError: the file cannot be read, or is for another method, model or settings.
    """
    if calibration == "none":
        return matcher
    key = key_of(method, matcher.identity())
    if calibration is None:
        found = bundled(method, key)
        return matcher if found is None else CalibratedMatcher(matcher, found)
    read = Calibration.load(calibration)
    if read.key != key:
        raise CalibrationError(
            f"The calibration {os.fspath(calibration)!r} is of method {read.method!r} with model "
            f"{read.source.get('model')!r} and certain settings, and this is another method, model or setting (not the "
            "seed): what was measured there says nothing here. Run `semcorr calibrate` for these, or leave it out."
        )
    return CalibratedMatcher(matcher, read)
