"""The protocol of a measurement: the size that the threshold is a fraction of, and the frame of distances.

Published figures differ in both, and are not comparable across rules:

=================== ===========================================================================================
``target-box``      longer side of the target's box: SPair-71k, AP-10K
``source-box``      longer side of the source's box, in pixels of the source
``image``           longer side of the target image: PF-PASCAL
``keypoints``       largest extent, over x and y, of the target's key-points: PF-WILLOW's "bbox-kp"
``reference-spair`` what the paper's authors' code does on SPair-71k: ``source-box``, after squashing (a slip)
``reference-willow`` what it does on PF-WILLOW: the largest coordinate of the target's key-points, plus 1: it takes
                    the extent of key-points that are padded with -1
``reference-cub``   what it does on CUB: the longer side of the target's box in pixels of the image, times side / the
                    image's width, whichever side is longer
=================== ===========================================================================================

Frame ``original`` is the images' own pixels. Points and sizes never leave it, so resizing and padding inside a method
cannot change a score. Frame ``squash`` is that of the authors' code: both images scaled to side x side without padding,
which changes distances along x and y differently if an image is not square.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from semcorr.errors import SettingsError, suggest
from semcorr.evaluation.runs.records import PairRecord

Threshold = Literal[
    "target-box", "source-box", "image", "keypoints", "reference-spair", "reference-willow", "reference-cub"
]
Frame = Literal["original", "squash"]

_WORDS: dict[str, str] = {
    "target-box": "target box",
    "source-box": "source box",
    "image": "image side",
    "keypoints": "extent of the key-points",
    "reference-spair": "reference-spair (source box)",
    "reference-willow": "reference-willow (largest coordinate + 1)",
    "reference-cub": "reference-cub (target box, scaled by the width)",
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A threshold rule and a frame.

    ``frame`` None stands for the rule's own: "squash" for the reference rules, "original" for the others.
    ``side`` is that of the squashed frame, in pixels.

    Raises:
        SettingsError: An unknown rule or frame, or a side that is not positive.
    """

    threshold: Threshold = "target-box"
    frame: Frame | None = None
    side: int = 512

    def __post_init__(self) -> None:
        if self.frame is None:
            own: Frame = "squash" if self.threshold.startswith("reference") else "original"
            object.__setattr__(self, "frame", own)
        for what, value, known in (
            ("threshold", self.threshold, get_args(Threshold)),
            ("frame", self.frame, get_args(Frame)),
        ):
            if value not in known:
                raise SettingsError(f"Unknown {what} {value!r}.{suggest(str(value), known)} Known: {', '.join(known)}.")
        if self.side < 1:
            raise SettingsError(f"Expected a squashed side of at least 1 pixel, got {self.side}.")

    def __str__(self) -> str:
        frame = f"squashed to {self.side} × {self.side}" if self.squashed else "original pixels"
        return f"{_WORDS[self.threshold]}, {frame}"

    @property
    def squashed(self) -> bool:
        """Whether distances are measured in the squashed frame."""
        return self.frame == "squash"


def named(threshold: str, frame: str | None = None, *, side: int = 512) -> Protocol:
    """Return a protocol by the names in a command or a file.

    Raises:
        SettingsError: As :class:`Protocol`.
    """
    known: tuple[Threshold, ...] = get_args(Threshold)
    frames: tuple[Frame, ...] = get_args(Frame)
    for rule in known:
        for own in (None, *frames):
            if (rule, own) == (threshold, frame):
                return Protocol(threshold=rule, frame=own, side=side)
    wrong, names = ("frame", frames) if threshold in known else ("threshold", known)
    value = str(frame if wrong == "frame" else threshold)
    raise SettingsError(f"Unknown {wrong} {value!r}.{suggest(value, names)} Known: {', '.join(names)}.")


def target_scales(records: Sequence[PairRecord], protocol: Protocol) -> Float[np.ndarray, "pairs 2"]:
    """The factors for x and y of every target that bring them into the protocol's frame."""
    return _scales([record.target_size for record in records], protocol)


def threshold_sizes(records: Sequence[PairRecord], protocol: Protocol) -> Float[np.ndarray, " pairs"]:
    """The size that alpha is multiplied by for every pair, in pixels of the protocol's frame.

    It is 0 for the key-point rules where a pair has no points.

    Raises:
        SettingsError: The rule needs a box that a pair does not have.
    """
    rule, scales = protocol.threshold, target_scales(records, protocol)
    if rule in ("keypoints", "reference-willow"):
        extents = [_extent(record.truth * scale, rule) for record, scale in zip(records, scales, strict=True)]
        return np.array(extents, dtype=np.float64)
    if rule == "image":
        sizes = np.array([record.target_size for record in records], dtype=np.float64).reshape(-1, 2)
        return (sizes * scales).max(axis=1)
    if rule in ("source-box", "reference-spair"):
        scales = _scales([record.source_size for record in records], protocol)
    elif rule == "reference-cub":
        scales = scales[:, :1]
    boxes = np.array([_box(record, rule) for record in records], dtype=np.float64).reshape(-1, 4)
    return ((boxes[:, 2:] - boxes[:, :2]) * scales).max(axis=1)


def _scales(sizes: Sequence[tuple[int, int]], protocol: Protocol) -> Float[np.ndarray, "pairs 2"]:
    pixels = np.array(sizes, dtype=np.float64).reshape(-1, 2)
    return protocol.side / pixels if protocol.squashed else np.ones_like(pixels)


def _extent(points: Float[np.ndarray, "points 2"], rule: str) -> float:
    if not len(points):
        return 0.0
    return float((points.max(axis=0) + 1 if rule == "reference-willow" else np.ptp(points, axis=0)).max())


def _box(record: PairRecord, rule: str) -> tuple[float, float, float, float]:
    of_target = rule in ("target-box", "reference-cub")
    side, box = ("target", record.target_box) if of_target else ("source", record.source_box)
    if box is None:
        raise SettingsError(
            f"The threshold {rule} needs the {side}'s box, and the pair {record.pair} has none. Rules that need none: "
            "keypoints (PF-WILLOW's), image (PF-PASCAL's), reference-willow (the authors' code on PF-WILLOW)."
        )
    return box
