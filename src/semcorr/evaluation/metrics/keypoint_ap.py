"""Predicted key-points against true ones, both COCO files: average precision, PCK, and quality of the confidence."""

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.errors import DatasetError, SettingsError
from semcorr.evaluation.metrics import confidence as confidence_metrics
from semcorr.evaluation.metrics import pck
from semcorr.keypoints.coco.document import PREDICTED_POINTS, CocoDocument, Entry, named, size_of
from semcorr.keypoints.file_reader import annotation_file

ALPHAS = (0.05, 0.1)
_FARTHEST = 1e9
"""Pixels: what lies beyond is no position in an image."""
SIGMA = 0.05
"""COCO's per-point constant for every key-point of any category: its own lie between 0.025 (eyes) and 0.107 (hips)."""

_Key = tuple[str, str]
"""The file name of an image, and a category."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KeypointScores:
    """How accurate predicted key-points are.

    Attributes:
        precision: COCO's key-point average precision over object key-point similarities of 0.5 to 0.95, 0.5 and 0.75,
            and its average recall, by name; the mean over categories.
        pck: By alpha, the fraction of true visible points within alpha times the longer side of the true box; per
            point.
        per_image: By alpha, the mean over objects of each one's fraction.
        objects: The number of true objects with visible points.
        points: The number of their visible points.
        predicted_points: The number of these that have a prediction.
        risk: Area under the risk-coverage curve at alpha 0.1, from 0, which is best.
        overall_risk: The fraction of wrong points: the area without any order.
        error: Expected calibration error of the confidence as a probability at alpha 0.1.
        images: The number of images that both files have.
        extra: By image and category, the number of predicted objects without a true one. They are in no PCK; average
            precision counts those of a category that has true objects anywhere.
        wrong_category: The number of these whose category the image does not show.
        surplus: The number of these of which the image shows fewer.
    """

    precision: Mapping[str, float]
    pck: Mapping[float, float]
    per_image: Mapping[float, float]
    objects: int
    points: int
    predicted_points: int
    risk: float
    overall_risk: float
    error: float
    images: int
    extra: Mapping[str, Mapping[str, int]]
    wrong_category: int
    surplus: int

    def to_dict(self) -> dict[str, Any]:
        """The scores for JSON."""
        return {
            **vars(self),
            "extra": {file: dict(kinds) for file, kinds in self.extra.items()},
            "extra_objects": self.wrong_category + self.surplus,
            "precision": dict(self.precision),
            "pck": {str(alpha): value for alpha, value in self.pck.items()},
            "per_image": {str(alpha): value for alpha, value in self.per_image.items()},
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Object:
    """An annotation with key-points. The third column is their mark, or their confidence if ``scored``."""

    file: str
    category: str
    keypoints: Float[np.ndarray, "keypoints 3"]
    box: list[float]
    score: float
    scored: bool
    crowd: bool

    @property
    def key(self) -> _Key:
        return self.file, self.category


@dataclass(frozen=True, kw_only=True, eq=False)
class _Document:
    """A COCO file. ``bare`` counts objects without key-points by image and category; ``sizes`` are declared ones."""

    categories: Mapping[str, tuple[str, ...]]
    objects: Sequence[_Object]
    files: Sequence[str]
    sizes: Mapping[str, tuple[int, int]]
    bare: Counter[_Key]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Compared:
    """The visible points of a true object; an error is a fraction of the longer side of its box."""

    errors: Float[np.ndarray, " visible"]
    confidence: Float[np.ndarray, " visible"]


def score(predictions: Path, truth: Path, *, sigma: float = SIGMA) -> KeypointScores:
    """Compare two COCO files; images are matched by file name, categories by name.

    Predicted points are those of ``keypoints_found`` where an object has it (``semcorr transfer`` writes it), whatever
    their confidence, else ``keypoints``. For PCK a true object is compared with the object of its category in the same
    image that overlaps it most, or is its only one. Predicted objects of the true file are not true: their presence is
    known, but not their points.

    Args:
        predictions: The file of predicted key-points.
        truth: The file of true key-points.
        sigma: COCO's constant, the same for every key-point.

    Raises:
        DatasetError: A file is missing or broken, the two declare different sizes of an image, or nothing in them
            can be compared.
        SettingsError: ``sigma`` is not above 0.
    """
    if not sigma > 0:
        raise SettingsError(f"Expected a sigma above 0, got {sigma}.")
    ours, real = _read(predictions), _read(truth, true=True)
    for file, size in real.sizes.items():
        other = ours.sizes.get(file, size)
        if other not in (size, size[::-1]):
            raise DatasetError(
                f"{str(predictions)!r} declares {other[0]} x {other[1]} pixels for {file!r}, and {str(truth)!r} "
                f"{size[0]} x {size[1]}: coordinates of one are wrong in the other. Both must be of the same images."
            )
    pairs = _pairs(ours, real)
    if not pairs:
        raise DatasetError(
            f"Nothing in {str(predictions)!r} belongs to anything in {str(truth)!r}: expected images of the same file "
            "names and categories of the same names with the same key-points."
        )
    objects = [compared for other, true in pairs if (compared := _compare(other, true)) is not None]
    if not objects:
        raise DatasetError(f"Expected key-points that can be seen (v = 2) in {str(truth)!r}, got none.")
    errors = np.concatenate([compared.errors for compared in objects])
    confidence = np.concatenate([compared.confidence for compared in objects])
    pair = np.repeat(np.arange(len(objects)), [len(compared.errors) for compared in objects])
    averages = pck.averages(pck.count(errors, pair, len(objects), ALPHAS))
    right = pck.is_correct(errors, 0.1)
    wrong, surplus = _extra(ours, real)
    return KeypointScores(
        precision=_precision(ours, real, sigma),
        pck=dict(zip(ALPHAS, averages.per_point.tolist(), strict=True)),
        per_image=dict(zip(ALPHAS, averages.per_image.tolist(), strict=True)),
        objects=len(objects),
        points=len(errors),
        predicted_points=int(np.isfinite(errors).sum()),
        risk=confidence_metrics.risk_coverage_area(confidence, right),
        overall_risk=float(1 - right.mean()),
        error=confidence_metrics.calibration_error(confidence, right),
        images=len(set(ours.files) & set(real.files)),
        extra=_by_image(wrong + surplus),
        wrong_category=wrong.total(),
        surplus=surplus.total(),
    )


def _read(path: Path, *, true: bool = False) -> _Document:
    document = CocoDocument(annotation_file(path, "COCO annotations"))
    field = document.file.field
    files = {number: str(field(image, "file_name", str)) for number, image in document.images.items()}
    sizes = {files[number]: size for number, image in document.images.items() if (size := size_of(image)) is not None}
    kinds = {
        number: (str(field(category, "name", str)), document.keypoint_names(category))
        for number, category in document.categories.items()
    }
    objects, bare = [], Counter[_Key]()
    for annotation in document.entries("annotations", required=False):
        name, keypoints = kinds[document.category_id(annotation)]
        file = files[document.image_id(annotation)]
        has_points = bool(annotation.get(PREDICTED_POINTS) or annotation.get("keypoints"))
        if not keypoints or not has_points or (true and document.is_predicted(annotation)):
            bare[file, name] += 1
        else:
            read_points = document.keypoints if true else document.predicted_keypoints
            objects.append(_object(document, annotation, file, name, read_points(annotation, keypoints)))
    # Of two categories of a name, one with key-points counts: some exports have a root of the same name.
    categories = dict(sorted(kinds.values(), key=lambda kind: bool(kind[1])))
    return _Document(categories=categories, objects=objects, files=list(files.values()), sizes=sizes, bare=bare)


def _object(
    document: CocoDocument, annotation: Entry, file: str, name: str, keypoints: Float[np.ndarray, "keypoints 3"]
) -> _Object:
    box = document.bbox(annotation)
    if box is None:
        raise document.file.error(f"a 'bbox' of every {name!r} with key-points", f"none of {named(annotation)}")
    if not all(abs(value) <= _FARTHEST for value in box) or (np.abs(keypoints) > _FARTHEST).any():
        raise document.file.error(f"positions in an image of {named(annotation)}", "numbers that are beyond any image")
    (score,) = document.file.numbers([annotation.get("score", 1.0)], 1, f"'score' of {named(annotation)}")
    return _Object(
        file=file,
        category=name,
        keypoints=keypoints,
        box=list(box),
        score=score,
        scored=PREDICTED_POINTS in annotation,
        crowd=document.is_crowd(annotation),
    )


def _extra(ours: _Document, real: _Document) -> tuple[Counter[_Key], Counter[_Key]]:
    """Predicted objects without a true one, by image and category: of a wrong category, and too many of a true one.

    A true object takes one predicted one, also where it has no key-points; a crowd takes any number. A category that
    both files define, but with other key-points, cannot be compared.
    """
    other = {name for name, points in ours.categories.items() if real.categories.get(name, points) != points}
    both = set(real.files) & set(ours.files)
    predicted = Counter(
        one.key
        for one in ours.objects
        if one.file in both and one.category not in other and (one.scored or (one.keypoints[:, 2] > 0).any())
    )
    true = real.bare + Counter(one.key for one in real.objects)
    crowds = {one.key for one in real.objects if one.crowd}
    wrong = Counter({key: count for key, count in predicted.items() if not true[key]})
    surplus = Counter({key: count - true[key] for key, count in predicted.items() if true[key] and key not in crowds})
    return wrong, +surplus


def _by_image(extra: Counter[_Key]) -> dict[str, dict[str, int]]:
    images: dict[str, dict[str, int]] = {}
    for (file, category), count in sorted(extra.items()):
        images.setdefault(file, {})[category] = count
    return images


def _pairs(ours: _Document, real: _Document) -> list[tuple[_Object | None, _Object]]:
    """Every true object with its prediction; objects of images that are not in the other file do not count."""
    by_key: dict[_Key, list[_Object]] = {}
    for one in ours.objects:
        by_key.setdefault(one.key, []).append(one)
    # Predictions of wrong categories alone count as predictions too.
    if not any(one.file in real.files for one in ours.objects):
        return []
    pairs: list[tuple[_Object | None, _Object]] = []
    for true in real.objects:
        if ours.categories.get(true.category) == real.categories[true.category] and true.file in ours.files:
            others = by_key.get(true.key, [])
            pairs.append((max(others, key=lambda other: _overlap(other.box, true.box), default=None), true))
    return pairs


def _compare(other: _Object | None, true: _Object) -> _Compared | None:
    seen = true.keypoints[:, 2] == 2
    count = int(seen.sum())
    if not count:
        return None
    if other is None:
        return _Compared(errors=np.full(count, np.inf), confidence=np.zeros(count))
    offsets = other.keypoints[seen, :2] - true.keypoints[seen, :2]
    # Of a box without extent there are no fractions: only exact points are right.
    side = max(*true.box[2:], 1e-9)
    errors = np.nan_to_num(np.hypot(*offsets.T) / side, nan=np.inf)
    # In a file without confidences a marked point has confidence 1.
    marks = other.keypoints[seen, 2]
    confidence = np.nan_to_num(marks if other.scored else (marks > 0).astype(float), nan=0.0)
    return _Compared(errors=errors, confidence=np.clip(confidence, 0, 1))


def _overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Intersection over union of two (x, y, width, height)."""
    across = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    down = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(across, 0) * max(down, 0)
    union = first[2] * first[3] + second[2] * second[3] - common
    return common / union if union > 0 else 0.0


def _precision(ours: _Document, real: _Document, sigma: float) -> dict[str, float]:
    """COCO's own evaluation (pycocotools), one category at a time, since each has another number of key-points."""
    files = set(ours.files)
    # Without annotated points (v > 0) there is no precision.
    annotated = {one.category for one in real.objects if one.file in files and (one.keypoints[:, 2] > 0).any()}
    rows = [
        _precision_of(ours, real, name, len(keypoints), sigma)
        for name, keypoints in real.categories.items()
        if ours.categories.get(name) == keypoints and name in annotated
    ]
    return dict(zip(("AP", "AP50", "AP75", "AR"), np.mean(rows, axis=0).tolist(), strict=True))


def _precision_of(ours: _Document, real: _Document, name: str, keypoints: int, sigma: float) -> Float[np.ndarray, " 4"]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise SettingsError('Average precision needs pycocotools: pip install "semcorr[eval]"') from error
    compared = set(ours.files)
    images = {file: number for number, file in enumerate(dict.fromkeys(real.files), 1) if file in compared}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = COCO()
        truth.dataset = {
            "images": [{"id": number} for number in images.values()],
            "categories": [{"id": 1, "name": name, "keypoints": [str(n) for n in range(keypoints)]}],
            "annotations": _entries(real.objects, name, images),
        }
        truth.createIndex()
        detected = _entries(ours.objects, name, images)
        if not detected:
            return np.zeros(4)
        evaluation = COCOeval(truth, truth.loadRes(detected), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.full(keypoints, sigma)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = np.array(evaluation.stats)[[0, 1, 2, 5]]
    return np.maximum(values, 0.0)


def _entries(objects: Sequence[_Object], name: str, images: Mapping[str, int]) -> list[dict[str, Any]]:
    """The annotations of a category for pycocotools."""
    entries: list[dict[str, Any]] = []
    for one in objects:
        if one.category == name and one.file in images:
            points = np.nan_to_num(one.keypoints, nan=0.0)
            entries.append(
                {
                    "id": len(entries) + 1,
                    "image_id": images[one.file],
                    "category_id": 1,
                    "keypoints": points.ravel().tolist(),
                    "num_keypoints": int((points[:, 2] > 0).sum()),
                    "bbox": one.box,
                    "area": one.box[2] * one.box[3],
                    "iscrowd": 0,
                    "score": one.score,
                }
            )
    return entries
