"""Checking annotations before something is trained on them."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semcorr.keypoints.base import MISSING, VISIBLE, Annotations
from semcorr.keypoints.check.entries import category_findings, file_findings, image_findings, object_findings
from semcorr.keypoints.check.finding import Finding
from semcorr.keypoints.check.geometry import LEAST_OBJECTS, LEAST_POINTS
from semcorr.keypoints.check.shape_findings import shape_findings, usable
from semcorr.keypoints.contents import contents
from semcorr.keypoints.convert import without_advice
from semcorr.keypoints.read import read_annotations
from semcorr.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was checked, and what is suspicious.

    Attributes:
        path: The file or folder.
        sources: All files that were read; nothing may be written to them.
        format: Its format's name.
        contents: What it holds, counted (:func:`semcorr.keypoints.contents.contents`).
        findings: The most suspicious first; those that are equally so in the order of the file.
        notes: What is to be known and is no fault, a sentence each.
    """

    path: Path
    sources: tuple[Path, ...]
    format: str
    contents: Mapping[str, int]
    findings: Sequence[Finding]
    notes: tuple[str, ...]


def check_annotations(
    path: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    further: Callable[[Annotations], Iterable[Finding]] | None = None,
    progress: Progress | None = None,
) -> Report:
    """List what is suspicious in a file of annotations, in any format that is read.

    Args:
        path: The file, or the folder of a project.
        images: Folder of the images that it names.
        further: Checks that are made besides, such as :func:`semcorr.transfer.check_matches.match_findings`.
        progress: Called as ``("check", done, total)``.

    Raises:
        DatasetError: It is missing, broken, or in no known format.
    """
    annotations = read_annotations(path, images)
    with np.errstate(over="ignore", invalid="ignore"):  # coordinates that no image has are outside, and that is listed
        findings = [
            *category_findings(annotations),
            *file_findings(annotations),
            *image_findings(annotations),
            *object_findings(annotations),
            *shape_findings(annotations, progress),
            *(further(annotations) if further else ()),
        ]
    order = {image.file: number for number, image in enumerate(annotations.images)}
    findings.sort(key=lambda one: (-one.suspicion, order.get(one.file or "", -1), one.position or 0))
    return Report(
        path=annotations.path,
        sources=annotations.sources,
        format=annotations.format,
        contents=contents(annotations),
        findings=findings,
        notes=(*map(without_advice, annotations.notes), *_notes(annotations)),
    )


def _notes(annotations: Annotations) -> Iterator[str]:
    objects = [one for image in annotations.images for one in image.instances]
    marks = Counter(mark for one in objects for mark in one.visibility.tolist())
    if any(marks) and not marks[VISIBLE]:
        yield "no point is marked as visible (v = 2), only as covered (v = 1): some trainers ignore such points"
    for name in annotations.categories:
        marked = [one for one in objects if one.category == name and (one.visibility > MISSING).any()]
        count = sum(map(usable, marked))
        if marked and count < LEAST_OBJECTS:
            yield (
                f"{name!r} has {count} objects with at least {LEAST_POINTS} points: from {LEAST_OBJECTS} on their "
                "shapes are compared"
            )
