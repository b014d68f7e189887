"""Annotate once, transfer everywhere: the key-points of a few pictures, found in all the others."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from semcorr.annotations.base import Annotations
from semcorr.annotations.formats import read_annotations
from semcorr.annotations.records import FoundObject, TransferRecord
from semcorr.annotations.supports import Supports, can_join, choose_supports, locate_all, view, vote
from semcorr.annotations.targets import Place, Target, find_targets
from semcorr.errors import ImageError, NumericsError, OutOfMemoryError, PointError, TransferError, suggest
from semcorr.images import Image, load_image
from semcorr.matching import Matcher
from semcorr.memory import told
from semcorr.methods import load_matcher
from semcorr.progress import Progress
from semcorr.settings import Settings


@dataclass(frozen=True, kw_only=True)
class TransferSettings(Settings):
    """How points are carried over.

    Attributes:
        support: annotated things of each category that points are taken from, at most.
        margin: room around a box, on every side, as a part of its longer side.
        categories: only these; empty: all that have points.
    """

    support: Annotated[int, Field(ge=1)] = 5
    margin: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 0.2
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Transferred:
    """What was found: a record a target, in order; ``annotations`` is what it was found from."""

    annotations: Annotations
    records: Sequence[TransferRecord]

    def __iter__(self) -> Iterator[TransferRecord]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)


class Transferrer:
    """Finds the annotated points of some categories in one target after the other; it keeps nothing of them.

    Args:
        matcher: the method.
        annotations: what is known.
        settings: how points are carried over.
        folder: where descriptions of supports are kept for another start; None: nowhere.

    Raises:
        TransferError: an unknown category, or one without any annotated point.
    """

    def __init__(
        self,
        matcher: Matcher,
        annotations: Annotations,
        settings: TransferSettings | None = None,
        *,
        folder: Path | None = None,
    ) -> None:
        self.matcher, self.annotations = matcher, annotations
        self.settings = settings or TransferSettings()
        chosen = {
            name: choose_supports(annotations, annotations.categories[name], self.settings.support)
            for name in wanted_categories(annotations, self.settings)
        }
        self.supports_of: Mapping[str, int] = {name: len(found) for name, found in chosen.items()}
        self._supports = Supports(matcher, chosen, margin=self.settings.margin, folder=folder)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that are looked for."""
        return tuple(self.supports_of)

    def identity(self) -> dict[str, Any]:
        """All that results depend on, as JSON holds it."""
        content = hashlib.sha256(self.annotations.path.read_bytes()).hexdigest()
        return {"matcher": self.matcher.identity(), "settings": self.settings.to_dict(), "annotations": content}

    def prepare(self, targets: Sequence[Target], *, progress: Progress | None = None) -> None:
        """Describe the supports that targets ask for; otherwise the first target that asks does.

        Raises:
            TransferError: a support cannot be used.
        """
        asked = {(place.category, place.box is not None) for target in targets for place in target.places}
        for category, cut in sorted(asked):
            self._supports.described(category, cut=cut, progress=progress)

    def find(self, target: Target, *, progress: Progress | None = None) -> TransferRecord:
        """Find the points of a target's places in it; one that cannot be done becomes a record with a message.

        ``progress`` is told of supports that are described on the way ("supports", and the method's own stages).

        Raises:
            TransferError: a support cannot be used.
        """
        try:
            image = load_image(target.path)
            whole = [place for place in target.places if place.box is None]
            parts = [*([whole] if whole else []), *([place] for place in target.places if place.box is not None)]
            found: dict[Place, FoundObject] = {}
            remarks: list[str] = []
            for places in parts:
                objects, remarked = self._find(image, places, progress)
                found |= zip(places, objects, strict=True)
                remarks += remarked
        except (ImageError, PointError, OutOfMemoryError, NumericsError) as error:
            return TransferRecord(file=target.file, path=target.path, error=str(error))
        except (MemoryError, RuntimeError) as error:
            message = told(error)
            if message is None:
                raise
            return TransferRecord(file=target.file, path=target.path, error=message)
        return TransferRecord(
            file=target.file,
            path=target.path,
            size=image.size,
            objects=tuple(found[place] for place in target.places),
            remarks=tuple(dict.fromkeys(remarks)),
        )

    def _find(
        self, image: Image, places: Sequence[Place], progress: Progress | None
    ) -> tuple[list[FoundObject], list[str]]:
        """All places share one part of the image, which the method reads once. Also what the method remarked."""
        box = places[0].box
        part, corner = view(image, box, self.settings.margin)
        groups = [self._supports.described(place.category, cut=box is not None, progress=progress) for place in places]
        supports = [support for group in groups for support in group]
        queries = [support.query for support in supports]
        joined = can_join(queries, self.matcher)
        located = locate_all(self.matcher, supports, part, together=joined)
        matches = iter(located)
        found = []
        for place, group in zip(places, groups, strict=True):
            names = self.annotations.categories[place.category].keypoints
            result = vote(group, [next(matches) for _ in group], len(names), part.size)
            found.append(
                FoundObject(
                    category=place.category,
                    names=names,
                    points=result.points + np.array(corner),
                    confidence=result.confidence,
                    box=place.box,
                    id=place.id,
                )
            )
        described = [remark for query in queries for remark in query.remarks]
        return found, [*described, *(remark for one in located for remark in one.remarks)]


def transfer(
    annotations: str | os.PathLike[str] | Annotations,
    targets: Sequence[str | os.PathLike[str]] = (),
    *,
    images: str | os.PathLike[str] | None = None,
    method: str = "attention-dift",
    model: str | os.PathLike[str] = "toy",
    preset: str | None = None,
    matcher: Matcher | None = None,
    support: int = 5,
    margin: float = 0.2,
    categories: Sequence[str] = (),
    progress: Progress | None = None,
    **options: Any,
) -> Transferred:
    """Find the key-points of annotated pictures in others.

    Args:
        annotations: a file that :func:`semcorr.annotations.read_annotations` takes, or what it gives.
        targets: files and folders; by default the annotations' pictures without points, or else all others of
            ``images``.
        images: folder of the pictures that the annotations name.
        method: as in :func:`semcorr.load_matcher`.
        model: as in :func:`semcorr.load_matcher`.
        preset: as in :func:`semcorr.load_matcher`.
        matcher: a loaded method, in their place.
        support: as in :class:`TransferSettings`.
        margin: as in :class:`TransferSettings`.
        categories: as in :class:`TransferSettings`.
        progress: called as ``("transfer", targets done, targets in all, image=name)`` and with the stages of describing
            supports; raise from it to stop.
        **options: as in :func:`semcorr.load_matcher`.

    Raises:
        DatasetError: the annotations are missing or broken.
        TransferError: there is nothing to carry over, or nowhere to carry it.
        SemcorrError: as :func:`semcorr.load_matcher`.
    """
    folder = None if images is None else Path(images)
    known = annotations if isinstance(annotations, Annotations) else read_annotations(annotations, folder)
    settings = TransferSettings(support=support, margin=margin, categories=tuple(categories))
    places = find_targets(
        known, wanted_categories(known, settings), images=folder, paths=[Path(target) for target in targets]
    )
    used = matcher or load_matcher(method, model, preset, progress=progress, **options)
    work = Transferrer(used, known, settings)
    records = []
    for number, place in enumerate(places):
        records.append(work.find(place, progress=progress))
        if progress is not None:
            progress("transfer", number + 1, len(places), image=place.file)
    return Transferred(annotations=known, records=records)


def wanted_categories(annotations: Annotations, settings: TransferSettings) -> list[str]:
    """The wanted categories, each of which has points.

    Raises:
        TransferError: one is unknown, or has none.
    """
    annotated = {
        instance.category for picture in annotations.pictures for instance in picture.instances if instance.annotated
    }
    for name in settings.categories:
        if name not in annotated:
            known = sorted(annotated)
            raise TransferError(
                f"Expected a category with annotated points, got {name!r}.{suggest(name, known)} There are: "
                f"{', '.join(known) or 'none'}."
            )
    if not annotated:
        raise TransferError(
            f"Expected at least one thing with visible key-points in {str(annotations.path)!r}, got none: annotate a "
            "few pictures first."
        )
    return list(settings.categories) or [name for name in annotations.categories if name in annotated]
