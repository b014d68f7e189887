"""Which images to annotate next: those that the others resemble, by facility location on their features.

Each image is described by the means of the method's own feature map over its four quarters, which say what it shows
and roughly where. Images are chosen one after the other, each the one after which the squared distances of all images
to the nearest one that is annotated or chosen have the smallest sum (the greedy way of Cornuejols, Fisher and Nemhauser
1977, "Location of bank accounts to optimize float"). An image whose predicted points are certain counts less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float

from semcorr.errors import ImageError, PointError, SettingsError, TransferError, suggest
from semcorr.imaging.geometry import Box, scaled_box
from semcorr.imaging.image import Image, load_image
from semcorr.keypoints.base import AnnotatedImage, Annotations
from semcorr.keypoints.declared_size import declared_scale
from semcorr.matchers.base import Matcher
from semcorr.progress import Progress
from semcorr.transfer.support_queries import crop_to_box
from semcorr.transfer.targets import files_in, output_name

_EQUAL = 1e-9
"""Sums that differ by less, as part of the largest distance, are equal: on every processor the same image is first."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An image that may be annotated, or is.

    Attributes:
        file: Its name in the annotations or below the folder of images.
        path: Its path.
        annotated: Whether a person annotated an object in it.
        box: The extent of its objects' boxes, in the frame that the annotations declare; None for the whole image.
        size: The (width, height) that the annotations declare, or None.
        score: The mean score of its predicted objects in [0, 1], or None.
    """

    file: str
    path: Path
    annotated: bool = False
    box: Box | None = None
    size: tuple[int, int] | None = None
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """An image to annotate.

    Attributes:
        image: Which.
        stands_for: How many of the images without annotations, itself included, resemble it more than any other that
            is annotated or suggested.
    """

    image: Candidate
    stands_for: int


@dataclass(frozen=True, kw_only=True)
class Suggestions:
    """Images to annotate, the most useful first; how many were considered and annotated; what could not be read."""

    images: Sequence[Suggestion]
    considered: int
    annotated: int
    unreadable: Mapping[str, str]


def suggest_images(
    matcher: Matcher,
    candidates: Sequence[Candidate],
    count: int,
    *,
    margin: float = 0.2,
    rescale: bool = False,
    progress: Progress | None = None,
) -> Suggestions:
    """Choose the images whose annotation would help most.

    Args:
        matcher: A method that compares features.
        candidates: What :func:`candidates_of` returned.
        count: How many are chosen, at most.
        margin: Room around a box, on every side, as a fraction of its longer side.
        rescale: Whether boxes are scaled where an image's size is not the one that the annotations declare.
        progress: Called as ``("features", images done, images in all, image=name)``; raise from it to stop.

    Raises:
        SettingsError: ``count`` is less than 1, or the method compares no features.
        TransferError: No image without annotations can be read.
    """
    if count < 1:
        raise SettingsError(f"Expected at least 1 image to suggest, got {count}.")
    known: list[Candidate] = []
    descriptors: list[Float[np.ndarray, " dim"]] = []
    unreadable: dict[str, str] = {}
    # Annotated images are described as the others are: an annotated object has a box nearly always.
    cut = any(one.box is not None and not one.annotated for one in candidates)
    for done, one in enumerate(candidates, start=1):
        try:
            descriptors.append(describe(matcher, _part(one, margin if cut else None, rescale=rescale)))
            known.append(one)
        except (ImageError, PointError) as error:
            unreadable[one.file] = str(error)
        if progress is not None:
            progress("features", done, len(candidates), image=one.file)
    annotated = [number for number, one in enumerate(known) if one.annotated]
    if len(annotated) == len(known):
        raise TransferError(
            "Expected images without annotations that can be read, got none. " + next(iter(unreadable.values()), "")
        )
    others = [number for number, one in enumerate(known) if not one.annotated]
    described = np.stack(descriptors)
    own = described[others]
    near = distances(own, described[annotated]).min(axis=1, initial=np.inf)
    scores = [known[number].score for number in others]
    weights = np.array([1.0 if score is None else 1 - score for score in scores])
    chosen = choose_representative(distances(own, own), count, near, weights)
    centres = np.array([*annotated, *(others[one] for one in chosen)])
    nearest = centres[distances(own, described[centres]).argmin(axis=1)]
    # Of equal images the first would be the nearest of all.
    nearest[chosen] = centres[len(annotated) :]
    return Suggestions(
        images=[
            Suggestion(image=known[one], stands_for=int((nearest == one).sum()))
            for one in centres[len(annotated) :].tolist()
        ],
        considered=len(others),
        annotated=len(annotated),
        unreadable=unreadable,
    )


def describe(matcher: Matcher, image: Image) -> Float[np.ndarray, " dim"]:
    """Return the means of an image's feature map over its four quarters.

    Raises:
        SettingsError: The method compares no features.
        ImageError: The image cannot be used.
    """
    (features,) = matcher.feature_maps([image])
    return F.adaptive_avg_pool2d(features, 2).flatten().double().cpu().numpy()


def distances(
    first: Float[np.ndarray, "images dim"], second: Float[np.ndarray, "candidates dim"]
) -> Float[np.ndarray, "images candidates"]:
    """Return the squared Euclidean distances of descriptors."""
    squares, others = (first**2).sum(axis=1), (second**2).sum(axis=1)
    return np.maximum(squares[:, None] + others - 2 * first @ second.T, 0)


def choose_representative(
    distance: Float[np.ndarray, "images candidates"],
    count: int,
    near: Float[np.ndarray, " images"] | None = None,
    weights: Float[np.ndarray, " images"] | None = None,
) -> list[int]:
    """Choose ``count`` candidates, at most, one after the other: each the one that brings all images nearest.

    Args:
        distance: Of each image to each candidate.
        count: How many.
        near: Of each image to the nearest that is annotated already; none is if None.
        weights: How much an image's distance counts; 1 if None.

    Returns:
        Numbers of candidates, in the order in which they were chosen; of equals the first.
    """
    weights = np.ones(len(distance)) if weights is None else weights
    near = np.full(len(distance), np.inf) if near is None else near
    chosen: list[int] = []
    equal = _EQUAL * distance.max(initial=0)
    while len(chosen) < min(count, distance.shape[1]):
        left = weights @ np.minimum(near[:, None], distance)
        left[chosen] = np.inf
        chosen.append(int((left <= left.min() + equal).argmax()))
        near = np.minimum(near, distance[:, chosen[-1]])
    return chosen


def candidates_of(
    annotations: Annotations | None, *, images: Path | None, paths: Sequence[Path] = (), categories: Sequence[str] = ()
) -> list[Candidate]:
    """Return the images that may be annotated, and those that are.

    Without annotations are those of ``paths`` (files, and all images below folders) if there are any; else all that
    the annotations name, and every other image below ``images``.

    Args:
        annotations: What is known; None if nothing is.
        images: Folder of the images.
        paths: Files and folders, in place of the annotations' own images.
        categories: Only objects of these count; all if empty.

    Raises:
        TransferError: A category is unknown, or no image is without annotations.
    """
    named = {} if annotations is None else {one.path.resolve(): one for one in annotations.images}
    _check_categories(annotations, categories)
    of_file = [_candidate(one, categories) for one in named.values()]
    further = [path for path in files_in(paths or ([] if images is None else [images])) if path.resolve() not in named]
    if paths:
        chosen = {path.resolve() for path in files_in(paths)}
        of_file = [one for one in of_file if one.annotated or one.path.resolve() in chosen]
    result = [*of_file, *(Candidate(file=output_name(path, images), path=path) for path in dict.fromkeys(further))]
    if all(one.annotated for one in result):
        raise TransferError(
            "Expected images without annotations, got none. Name files or folders after the annotations, or a folder "
            "with --images."
        )
    return result


def _check_categories(annotations: Annotations | None, categories: Sequence[str]) -> None:
    known = [] if annotations is None else list(annotations.categories)
    for name in categories:
        if name not in known:
            raise TransferError(
                f"Expected a category of the annotations, got {name!r}.{suggest(name, known)} There are: "
                f"{', '.join(known) or 'none'}."
            )


def _candidate(image: AnnotatedImage, categories: Sequence[str]) -> Candidate:
    objects = [one for one in image.instances if not categories or one.category in categories]
    corners = np.array([one.drawn_box for one in objects if one.drawn_box is not None]).reshape(-1, 4)
    scores = [one.score for one in objects if one.predicted and one.score is not None]
    box = (*corners[:, :2].min(axis=0).tolist(), *corners[:, 2:].max(axis=0).tolist()) if len(corners) else None
    return Candidate(
        file=image.file,
        path=image.path,
        annotated=any(one.annotated for one in objects),
        box=box,
        size=image.size,
        score=float(np.mean(scores)) if scores else None,
    )


def _part(one: Candidate, margin: float | None, *, rescale: bool) -> Image:
    """The part of an image that shows its objects, with a margin; the whole image without one."""
    image = load_image(one.path)
    if one.box is None or margin is None:
        return image
    box = scaled_box(one.box, declared_scale(one.file, one.size, image.size, rescale=rescale))
    return crop_to_box(image, box, margin)[0]
