"""Found key-points against true ones, both COCO files: average precision, PCK, and what confidence is worth."""

import contextlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.errors import DatasetError, SettingsError
from semcorr.evaluation.metrics import confidence as trust
from semcorr.evaluation.metrics import pck
from semcorr.keypoints.coco.document import key_points, predicted, size_of
from semcorr.keypoints.file_reader import Folder

ALPHAS = (0.05, 0.1)
_FARTHEST = 1e9
"""Pixels: what lies beyond is no place in a picture."""
SIGMA = 0.05
"""COCO's per-point constant for every key-point of any category: its own lie between 0.025 (eyes) and 0.107 (hips)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KeypointScores:
    """How well key-points were found.

    Attributes:
        precision: COCO's key-point average precision over object key-point similarities of 0.5 to 0.95, 0.5 and 0.75,
            and its average recall, by name; the mean over categories.
        pck: by alpha, the share of true visible points within alpha times the longer side of the true box; per point.
        per_image: the mean over things of each one's share.
        points: true visible points, ``found`` of them have an answer.
        risk: area under the risk-coverage curve at alpha 0.1: 0 is the best there is, ``overall_risk`` what no order
        gives. error: of confidence as a probability at alpha 0.1 (expected calibration error).
        images: those that both files have.
        extra: by image and category, predicted objects that belong to no true one: of a category that the image does
            not show (``wrong_category`` in all), or more of one than it shows (``surplus`` in all). They are in no PCK;
            average precision counts those of a category that has true objects anywhere.
    """

    precision: Mapping[str, float]
    pck: Mapping[float, float]
    per_image: Mapping[float, float]
    things: int
    points: int
    found: int
    risk: float
    overall_risk: float
    error: float
    images: int
    extra: Mapping[str, Mapping[str, int]]
    wrong_category: int
    surplus: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **vars(self),
            "extra": {file: dict(kinds) for file, kinds in self.extra.items()},
            "extra_objects": self.wrong_category + self.surplus,
            "precision": dict(self.precision),
            "pck": {str(alpha): value for alpha, value in self.pck.items()},
            "per_image": {str(alpha): value for alpha, value in self.per_image.items()},
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Thing:
    """A true thing and what was found for it; an error is a distance as a part of the true box's longer side."""

    errors: Float[np.ndarray, " visible"]
    confidence: Float[np.ndarray, " visible"]


def score(found: Path, truth: Path, *, sigma: float = SIGMA) -> KeypointScores:
    """Compare two COCO files; pictures are matched by file name, categories by name.

    Found points are those of ``keypoints_found`` where a thing has it (``semcorr transfer`` writes it), whatever their
    confidence, else ``keypoints``. For PCK a true thing is compared with the thing of its category in the same picture
    that overlaps it most, or is its only one. Predicted objects of the true file are no truth: that they are there is
    known, not where their points are.

    Args:
        found: what was found.
        truth: what is true.
        sigma: COCO's constant, the same for every key-point.

    Raises:
        DatasetError: a file is missing or broken, the two declare different sizes of an image, or nothing in them
            belongs together.
        SettingsError: ``sigma`` is not above 0.
    """
    if not sigma > 0:
        raise SettingsError(f"Expected a sigma above 0, got {sigma}.")
    ours, real = _read(found), _read(truth, true=True)
    for file, size in real["sizes"].items():
        other = ours["sizes"].get(file, size)
        if other not in (size, size[::-1]):
            raise DatasetError(
                f"{str(found)!r} declares {other[0]} x {other[1]} pixels for {file!r}, and {str(truth)!r} {size[0]} x "
                f"{size[1]}: coordinates of one are wrong in the other. Both must be of the same images."
            )
    pairs = _pairs(ours, real)
    if not pairs:
        raise DatasetError(
            f"Nothing in {str(found)!r} belongs to anything in {str(truth)!r}: expected pictures of the same file "
            "names and categories of the same names with the same key-points."
        )
    things = [thing for _, other, true in pairs if (thing := _compare(other, true)) is not None]
    if not things:
        raise DatasetError(f"Expected key-points that can be seen (v = 2) in {str(truth)!r}, got none.")
    errors = np.concatenate([thing.errors for thing in things])
    confidence = np.concatenate([thing.confidence for thing in things])
    pair = np.repeat(np.arange(len(things)), [len(thing.errors) for thing in things])
    counts = pck.count(errors, pair, len(things), ALPHAS)
    both = pck.averages(counts)
    right = pck.is_correct(errors, 0.1)
    wrong, surplus = _extra(ours, real)
    return KeypointScores(
        precision=_precision(ours, real, sigma),
        pck=dict(zip(ALPHAS, both.per_point.tolist(), strict=True)),
        per_image=dict(zip(ALPHAS, both.per_image.tolist(), strict=True)),
        things=len(things),
        points=len(errors),
        found=int(np.isfinite(errors).sum()),
        risk=trust.risk_coverage_area(confidence, right),
        overall_risk=float(1 - right.mean()),
        error=trust.calibration_error(confidence, right),
        images=len(set(ours["files"]) & set(real["files"])),
        extra=_by_image(wrong + surplus),
        wrong_category=wrong.total(),
        surplus=surplus.total(),
    )


def _read(path: Path, *, true: bool = False) -> dict[str, Any]:
    folder = Folder(root=path.parent, title="COCO annotations", advice="Correct the file, or name another.")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        kinds = {kind["id"]: (str(kind["name"]), tuple(kind.get("keypoints", ()))) for kind in content["categories"]}
        sizes = {str(image["file_name"]): size for image in content["images"] if (size := size_of(image)) is not None}
        things, bare = [], Counter[tuple[str, str]]()
        for record in content.get("annotations") or ():
            name, keypoints = kinds[record["category_id"]]
            values = record.get("keypoints_found") or record.get("keypoints")
            if not keypoints or not values or (true and predicted(folder, path, record)):
                bare[names[record["image_id"]], name] += 1
                continue
            array = np.array([np.nan if value is None else value for value in values], dtype=float).reshape(-1, 3)
            if true:
                array = key_points(folder, path, record, keypoints)
            if len(array) != len(keypoints):
                raise ValueError(f"{len(array)} key-points of {name!r} instead of {len(keypoints)}")
            box = [float(value) for value in record["bbox"]]
            if len(box) != 4 or not all(abs(value) <= _FARTHEST for value in box) or (np.abs(array) > _FARTHEST).any():
                raise ValueError(f"numbers of a {name!r} that are no places in a picture")
            things.append(
                {
                    "file": names[record["image_id"]],
                    "category": name,
                    "keypoints": array,
                    "box": box,
                    "score": float(record.get("score", 1.0)),
                    "sure": "keypoints_found" in record,
                    "crowd": bool(int(record.get("iscrowd") or 0)),
                }
            )
    except OSError as error:
        raise DatasetError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
    except (LookupError, ValueError, OverflowError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{str(path)!r} is no COCO key-points file ({type(error).__name__}: {error}). Expected images, annotations "
            "and categories."
        ) from error
    # Of two categories of a name, one with key-points counts: some exports have a root of the same name.
    by_name = dict(sorted(kinds.values(), key=lambda kind: bool(kind[1])))
    return {"kinds": by_name, "things": things, "files": list(names.values()), "bare": bare, "sizes": sizes}


def _extra(ours: dict[str, Any], real: dict[str, Any]) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """Predicted objects that belong to no true one, by image and category: of a wrong one, and too many of a true one.

    A true object takes one predicted one, also where it has no key-points; a crowd takes any number. A category that
    both files define, but with other key-points, cannot be compared.
    """
    other = {name for name, points in ours["kinds"].items() if real["kinds"].get(name, points) != points}
    both = set(real["files"]) & set(ours["files"])
    predicted = Counter(
        (thing["file"], thing["category"])
        for thing in ours["things"]
        if thing["file"] in both
        and thing["category"] not in other
        and (thing["sure"] or (thing["keypoints"][:, 2] > 0).any())
    )
    true = real["bare"] + Counter((thing["file"], thing["category"]) for thing in real["things"])
    crowds = {(thing["file"], thing["category"]) for thing in real["things"] if thing["crowd"]}
    wrong = Counter({key: count for key, count in predicted.items() if not true[key]})
    surplus = Counter({key: count - true[key] for key, count in predicted.items() if true[key] and key not in crowds})
    return wrong, +surplus


def _by_image(extra: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (file, category), count in sorted(extra.items()):
        found.setdefault(file, {})[category] = count
    return found


def _pairs(ours: dict[str, Any], real: dict[str, Any]) -> list[tuple[str, dict[str, Any] | None, dict[str, Any]]]:
    """Every true thing with what was found for it; things of pictures that nobody looked at do not count."""
    there: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for thing in ours["things"]:
        there.setdefault((thing["file"], thing["category"]), []).append(thing)
    pairs: list[tuple[str, dict[str, Any] | None, dict[str, Any]]] = []
    # What is of wrong categories alone is an answer as well.
    matched = any(thing["file"] in real["files"] for thing in ours["things"])
    for true in real["things"]:
        if ours["kinds"].get(true["category"]) != real["kinds"][true["category"]] or true["file"] not in ours["files"]:
            continue
        others = there.get((true["file"], true["category"]), [])
        best = max(others, key=lambda other: _overlap(other["box"], true["box"]), default=None)
        pairs.append((true["category"], best, true))
    return pairs if matched else []


def _compare(found: dict[str, Any] | None, true: dict[str, Any]) -> _Thing | None:
    seen = true["keypoints"][:, 2] == 2
    if not seen.any():
        return None
    count = int(seen.sum())
    if found is None:
        return _Thing(errors=np.full(count, np.inf), confidence=np.zeros(count))
    apart = found["keypoints"][seen, :2] - true["keypoints"][seen, :2]
    # Of a box without a size nothing is a part: only what is exact is right.
    side = max(*true["box"][2:], 1e-9)
    errors = np.nan_to_num(np.hypot(*apart.T) / side, nan=np.inf)
    # Of a file without confidences a point counts as sure where it is marked.
    marks = found["keypoints"][seen, 2]
    sure = np.nan_to_num(marks if found["sure"] else (marks > 0).astype(float), nan=0.0)
    return _Thing(errors=errors, confidence=np.clip(sure, 0, 1))


def _overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Intersection over union of two (x, y, width, height)."""
    across = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    down = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(across, 0) * max(down, 0)
    union = first[2] * first[3] + second[2] * second[3] - common
    return common / union if union > 0 else 0.0


def _precision(ours: dict[str, Any], real: dict[str, Any], sigma: float) -> dict[str, float]:
    """COCO's own evaluation (pycocotools), a category at a time, since each has another number of key-points."""
    columns = ("AP", "AP50", "AP75", "AR")
    rows = []
    looked_at = set(ours["files"])
    # Where nothing is annotated (v > 0) there is no precision.
    there = {t["category"] for t in real["things"] if t["file"] in looked_at and (t["keypoints"][:, 2] > 0).any()}
    for name, keypoints in real["kinds"].items():
        if ours["kinds"].get(name) == keypoints and name in there:
            rows.append(_one_precision(ours, real, name, len(keypoints), sigma))
    return dict(zip(columns, np.mean(rows, axis=0).tolist(), strict=True))


def _one_precision(
    ours: dict[str, Any], real: dict[str, Any], name: str, keypoints: int, sigma: float
) -> Float[np.ndarray, " 4"]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise SettingsError('Average precision needs pycocotools: pip install "semcorr[eval]"') from error
    looked_at = set(ours["files"])
    files = {file: number for number, file in enumerate(dict.fromkeys(real["files"]), 1) if file in looked_at}

    def entries(things: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for number, thing in enumerate((t for t in things if t["category"] == name and t["file"] in files), start=1):
            points = np.nan_to_num(thing["keypoints"], nan=0.0)
            width, height = thing["box"][2:]
            found.append(
                {
                    "id": number,
                    "image_id": files[thing["file"]],
                    "category_id": 1,
                    "keypoints": points.ravel().tolist(),
                    "num_keypoints": int((points[:, 2] > 0).sum()),
                    "bbox": thing["box"],
                    "area": width * height,
                    "iscrowd": 0,
                    "score": thing["score"],
                }
            )
        return found

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints what it does
        truth = COCO()
        truth.dataset = {
            "images": [{"id": number} for number in files.values()],
            "categories": [{"id": 1, "name": name, "keypoints": [str(n) for n in range(keypoints)]}],
            "annotations": entries(real["things"]),
        }
        truth.createIndex()
        detected = entries(ours["things"])
        if not detected:
            return np.zeros(4)
        evaluation = COCOeval(truth, truth.loadRes(detected), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.full(keypoints, sigma)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = np.array(evaluation.stats)[[0, 1, 2, 5]]
    return np.maximum(values, 0.0)
