"""Annotate once, transfer everywhere: the key-points of a few pictures, found in all the others."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.errors import ImageError, NumericsError, OutOfMemoryError, PointError
from semcorr.imaging.image import Image, load_image
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.declared_size import declared_scale, declared_swap, reaches_outside, wrong_orientation
from semcorr.keypoints.predictions import PredictedObject, TransferRecord, scaled_box
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.registry import DEFAULT_METHOD
from semcorr.matchers.results import Matches
from semcorr.models.memory import out_of_memory_message
from semcorr.progress import Progress
from semcorr.transfer.category_choice import Levels, exclusive_groups, measure_levels, resemblance
from semcorr.transfer.plan import Plan, TransferSettings, plan_transfer
from semcorr.transfer.supports import DescribedSupport, Supports, can_join, locate_all, view, vote
from semcorr.transfer.targets import Place, Target, select_targets

_USUAL = TransferSettings()
_LATER = ("rescale", "redo_below")
"""Settings that came later: where they have their default, transfers begun before go on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Transferred:
    """What was found.

    Attributes:
        annotations: What it was found from.
        records: One a target, in order; points are in pixels of the image itself.
        unreadable: Annotated images that could not be read, and so were no supports, with messages.
        notes: What was left out or is doubtful, a sentence each.
    """

    annotations: Annotations
    records: Sequence[TransferRecord]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

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
        plan: What :func:`semcorr.transfer.plan.plan_transfer` gave for these; None: it is asked now.

    Raises:
        TransferError: As :func:`semcorr.transfer.plan.plan_transfer`.
    """

    def __init__(
        self,
        matcher: Matcher,
        annotations: Annotations,
        settings: TransferSettings | None = None,
        *,
        folder: Path | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.matcher, self.annotations = matcher, annotations
        self.settings = settings or TransferSettings()
        self.plan = plan or plan_transfer(annotations, self.settings)
        self.supports_of: Mapping[str, int] = {name: len(found) for name, found in self.plan.supports.items()}
        self.groups = exclusive_groups(self.plan.supports)
        self._levels: Levels | None = None
        self._supports = Supports(matcher, self.plan.supports, margin=self.settings.margin, folder=folder)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that are looked for."""
        return tuple(self.supports_of)

    def identity(self) -> dict[str, Any]:
        """All that results depend on, as JSON holds it."""
        content = hashlib.sha256(self.annotations.path.read_bytes()).hexdigest()
        usual = _USUAL.to_dict()
        settings = {
            name: value for name, value in self.settings.to_dict().items() if name not in _LATER or value != usual[name]
        }
        # Supports that cannot be read are replaced by others.
        without = {"unreadable": sorted(self.plan.unreadable)} if self.plan.unreadable else {}
        chosen = {"chosen": [list(group) for group in self.groups]} if len(self.groups) > 1 else {}
        return {"matcher": self.matcher.identity(), "settings": settings, "annotations": content, **without, **chosen}

    def prepare(self, targets: Sequence[Target], *, progress: Progress | None = None) -> None:
        """Describe the supports that targets ask for; otherwise the first target that asks does.

        Raises:
            TransferError: a support cannot be used.
        """
        asked = {(place.category, place.box is not None) for target in targets for place in target.places}
        for category, cut in sorted(asked):
            self._supports.described(category, cut=cut, progress=progress)
        if any(self._is_open(target) for target in targets):
            self._measured(progress)

    def find(self, target: Target, *, progress: Progress | None = None) -> TransferRecord:
        """Find the points of a target's places in it; one that cannot be done becomes a record with a message.

        ``progress`` is told of supports that are described on the way ("supports", and the method's own stages).

        Raises:
            TransferError: a support cannot be used.
        """
        try:
            image = load_image(target.path)
            target = self._in_own_pixels(target, image.size)
            whole = [place for place in target.places if place.box is None]
            parts = [*([whole] if whole else []), *([place] for place in target.places if place.box is not None)]
            found: dict[Place, PredictedObject] = {}
            remarks: list[str] = []
            doubtful: tuple[str, ...] = ()
            calibrations: set[str | None] = set()
            for places in parts:
                objects, remarked, measures, calibration = self._find(image, places, progress)
                calibrations.add(calibration)
                remarks += remarked
                found |= zip(places, objects, strict=True)
                if places is whole and self._is_open(target):
                    chosen = self._measured(progress).choose(self.groups, measures)
                    doubtful = () if chosen is not None else self.categories
                    found = {place: one for place, one in found.items() if place.category in (chosen or ())}
        except (ImageError, PointError, OutOfMemoryError, NumericsError) as error:
            return TransferRecord(file=target.file, path=target.path, error=str(error))
        except (MemoryError, RuntimeError) as error:
            message = out_of_memory_message(error)
            if message is None:
                raise
            return TransferRecord(file=target.file, path=target.path, error=message)
        return TransferRecord(
            file=target.file,
            path=target.path,
            size=image.size,
            objects=tuple(found[place] for place in target.places if place in found),
            warnings=tuple(dict.fromkeys(remarks)),
            doubtful=doubtful,
            calibration=calibrations.pop() if len(calibrations) == 1 else None,
        )

    def _is_open(self, target: Target) -> bool:
        """Whether an image may show any of several categories, and nothing says which."""
        sought = {place.category for place in target.places if place.box is None and place.id is None}
        return len(self.groups) > 1 and sought == set(self.categories)

    def _measured(self, progress: Progress | None) -> Levels:
        """What each category's supports give on annotated images, worked out when it is first asked for."""
        if self._levels is None:
            chosen = self.plan.supports
            described = {name: self._supports.described(name, cut=False, progress=progress) for name in chosen}
            self._levels = measure_levels(
                chosen, described, self._locate, lambda support: load_image(support.picture.path)
            )
        return self._levels

    def _locate(self, image: Image, supports: Sequence[DescribedSupport]) -> list[Matches]:
        joined = can_join([support.query for support in supports], self.matcher)
        return locate_all(self.matcher, supports, image, together=joined)

    def _in_own_pixels(self, target: Target, size: tuple[int, int]) -> Target:
        """The target with its boxes in pixels of its image, which is ``size`` (width, height).

        Raises:
            ImageError: The annotations declare another size.
        """
        scale = declared_scale(target.file, target.size, size, rescale=self.settings.rescale)
        places = tuple(replace(place, box=scaled_box(place.box, scale)) for place in target.places)
        if declared_swap(target.file, target.size, size) is not None:
            corners = [place.box for place in places if place.box is not None]
            if reaches_outside(np.array(corners).reshape(-1, 2), size):
                raise ImageError(wrong_orientation(target.file, target.size, size))
        return replace(target, places=places)

    def _find(
        self, image: Image, places: Sequence[Place], progress: Progress | None
    ) -> tuple[list[PredictedObject], list[str], dict[str, float], str | None]:
        """All places share one part of the image, which the method reads once.

        Also what the method remarked, how much the part resembles each place's category, and what the confidence of all
        matches was calibrated on (None if any is uncalibrated).
        """
        box = places[0].box
        part, corner = view(image, box, self.settings.margin)
        groups = [self._supports.described(place.category, cut=box is not None, progress=progress) for place in places]
        supports = [support for group in groups for support in group]
        located = self._locate(part, supports)
        matches = iter(located)
        found, measures = [], {}
        for place, group in zip(places, groups, strict=True):
            names = self.annotations.categories[place.category].keypoints
            own = [next(matches) for _ in group]
            result = vote(group, own, len(names), part.size)
            measures[place.category] = resemblance(own)
            found.append(
                PredictedObject(
                    category=place.category,
                    names=names,
                    points=result.points + np.array(corner),
                    confidence=result.confidence,
                    box=place.box,
                    id=place.id,
                )
            )
        described = [remark for support in supports for remark in support.query.remarks]
        calibrations = {one.calibration for one in located}
        calibration = calibrations.pop() if len(calibrations) == 1 else None
        return found, [*described, *(remark for one in located for remark in one.remarks)], measures, calibration


def transfer_annotations(
    annotations: str | os.PathLike[str] | Annotations,
    targets: Sequence[str | os.PathLike[str]] = (),
    *,
    images: str | os.PathLike[str] | None = None,
    method: str = DEFAULT_METHOD,
    model: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    matcher: Matcher | None = None,
    support: int = 5,
    margin: float = 0.2,
    categories: Sequence[str] = (),
    rescale: bool = False,
    redo_below: float | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Transferred:
    """Find the key-points of annotated pictures in others.

    Args:
        annotations: a file that :func:`semcorr.transfer.read_annotations` takes, or what it gives.
        targets: files and folders; by default the annotations' pictures without points, or else all others of
            ``images``.
        images: folder of the pictures that the annotations name.
        method: as in :func:`semcorr.load_matcher`, whose defaults these are.
        model: as in :func:`semcorr.load_matcher`.
        preset: as in :func:`semcorr.load_matcher`.
        matcher: a loaded method, in their place.
        support: as in :class:`TransferSettings`.
        margin: as in :class:`TransferSettings`.
        categories: as in :class:`TransferSettings`.
        rescale: As in :class:`TransferSettings`.
        redo_below: As in :class:`TransferSettings`.
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
    settings = TransferSettings(
        support=support, margin=margin, categories=tuple(categories), rescale=rescale, redo_below=redo_below
    )
    plan = plan_transfer(known, settings)
    selection = select_targets(
        known,
        tuple(plan.supports),
        images=folder,
        paths=[Path(target) for target in targets],
        redo_below=redo_below,
    )
    used = matcher or load_matcher(method, model, preset, progress=progress, **options)
    work = Transferrer(used, known, settings, plan=plan)
    records = []
    for number, target in enumerate(selection.targets):
        records.append(work.find(target, progress=progress))
        if progress is not None:
            progress("transfer", number + 1, len(selection.targets), image=target.file)
    return Transferred(
        annotations=known, records=records, unreadable=plan.unreadable, notes=plan.notes + selection.notes
    )
