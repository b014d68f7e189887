"""The key-points of a few annotated images, predicted in one target after the other."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.errors import SettingsError, TransferError
from semcorr.imaging.geometry import scaled_box
from semcorr.imaging.image import Image, load_image
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.declared_size import declared_scale, swap_warning
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import LocatedTogether, Matches
from semcorr.progress import Progress
from semcorr.transfer.category_choice import ReferenceLevels, exclusive_groups, measure_levels, resemblance
from semcorr.transfer.failures import failure_message
from semcorr.transfer.fusion import fuse, fuse_near, locate_optimized, locate_supports
from semcorr.transfer.plan import Plan, TransferSettings, plan_transfer
from semcorr.transfer.suited import with_turns
from semcorr.transfer.support_queries import DescribedSupport, SupportQueries, crop_to_box
from semcorr.transfer.targets import Region, Target

_DEFAULTS = TransferSettings()
_LATER = ("rescale", "redo_below", "fuse")
"""Settings that came later. They are left out of the identity where they have their default, so that transfers that
were begun before can be continued."""


@dataclass(frozen=True, kw_only=True)
class _Predicted:
    """What is predicted in one part of a target.

    Attributes:
        objects: By region.
        resemblances: How much the part resembles the supports of each category.
        warnings: The method's.
        calibrations: What the confidence of each match was calibrated on; None if it is uncalibrated.
    """

    objects: Mapping[Region, PredictedObject]
    resemblances: Mapping[str, float]
    warnings: Sequence[str]
    calibrations: frozenset[str | None]


class Transferrer:
    """Predicts the annotated points of some categories in one target after the other; it keeps nothing of a target.

    Args:
        matcher: The method.
        annotations: What is known.
        settings: How points are carried over.
        folder: Where queries of supports are kept for another start; None for nowhere.
        plan: The result of :func:`semcorr.transfer.plan.plan_transfer` for these; it is called if None.

    Attributes:
        matcher: The method, with the settings that suit the supports.
        notes: What the user should know of that, a sentence each.
        supports_of: How many supports there are, by category.

    Raises:
        TransferError: As :func:`semcorr.transfer.plan.plan_transfer`.
        SettingsError: The method cannot ``fuse`` so.
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
        self.annotations, self.settings = annotations, settings or TransferSettings()
        self._optimizes = self.settings.fuse == "optimize"
        if self._optimizes and not matcher.capabilities.examples:
            raise SettingsError(
                f"Method {matcher.method!r} describes points of one image at a time, and cannot optimize over several "
                "annotated images. Use --fuse vote, or a method that can: prompt or attention-dift."
            )
        self.plan = plan or plan_transfer(annotations, self.settings)
        self.matcher, self.notes = with_turns(matcher, self.plan.supports)
        self.supports_of: Mapping[str, int] = {name: len(chosen) for name, chosen in self.plan.supports.items()}
        self.groups = exclusive_groups(self.plan.supports)
        self._levels: ReferenceLevels | None = None
        self._queries = SupportQueries(self.matcher, self.plan.supports, margin=self.settings.margin, folder=folder)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that are predicted."""
        return tuple(self.supports_of)

    def identity(self) -> dict[str, Any]:
        """All that results depend on, as JSON holds it."""
        content = hashlib.sha256(b"".join(path.read_bytes() for path in self.annotations.sources)).hexdigest()
        defaults = _DEFAULTS.to_dict()
        settings = {
            name: value
            for name, value in self.settings.to_dict().items()
            if name not in _LATER or value != defaults[name]
        }
        # Supports that cannot be read are replaced by others.
        unreadable = {"unreadable": sorted(self.plan.unreadable)} if self.plan.unreadable else {}
        groups = {"chosen": [list(group) for group in self.groups]} if len(self.groups) > 1 else {}
        matcher = self.matcher.identity()
        return {"matcher": matcher, "settings": settings, "annotations": content, **unreadable, **groups}

    def prepare(self, targets: Sequence[Target], *, progress: Progress | None = None) -> None:
        """Describe the supports that targets need; otherwise the first target that needs them does.

        Args:
            targets: The targets.
            progress: Called with "supports", and with the method's own stages.

        Raises:
            TransferError: A support cannot be used.
        """
        needed = {(region.category, region.box is not None) for target in targets for region in target.regions}
        for category, cut in sorted(needed):
            if self._optimizes:
                self._queries.together(category, cut=cut, progress=progress)
            else:
                self._queries.described(category, cut=cut, progress=progress)
        if any(self._is_open(target) for target in targets):
            self._reference_levels(progress)

    def do(self, target: Target, progress: Progress | None) -> Iterator[TransferRecord]:
        """Do a target as a unit of work (:class:`semcorr.executors.Job`)."""
        yield self.predict(target, progress=progress)

    def predict(self, target: Target, *, progress: Progress | None = None) -> TransferRecord:
        """Predict the points of a target's regions; a target that fails becomes a record with an error message.

        Args:
            target: The target.
            progress: Called with stages of supports that are described on the way.

        Raises:
            TransferError: A support cannot be used.
        """
        try:
            return self._predict(target, progress)
        except Exception as error:
            message = failure_message(error)
            if message is None:
                raise
            return TransferRecord(file=target.file, path=target.path, error=message)

    def _predict(self, target: Target, progress: Progress | None) -> TransferRecord:
        image = load_image(target.path)
        return self.predict_in(image, self._in_own_pixels(target, image.size), progress=progress)

    def predict_in(self, image: Image, target: Target, *, progress: Progress | None = None) -> TransferRecord:
        """Predict the points of a target's regions in an image in memory.

        Args:
            image: The target's image.
            target: What is predicted in it; its boxes are in pixels of the image, and its path is not read.
            progress: Called with stages of supports that are described on the way.

        Raises:
            ImageError, PointError, OutOfMemoryError, NumericsError: The image cannot be used.
            TransferError: A support cannot be used.
        """
        whole = [region for region in target.regions if region.box is None]
        objects: dict[Region, PredictedObject] = {}
        warnings: list[str] = []
        doubtful: tuple[str, ...] = ()
        calibrations: set[str | None] = set()
        # Regions of the whole image share one pass of the method.
        for regions in [*([whole] if whole else []), *([one] for one in target.regions if one.box is not None)]:
            predicted = self._predict_regions(image, regions, progress)
            objects |= predicted.objects
            warnings += predicted.warnings
            calibrations |= predicted.calibrations
            if regions is whole and self._is_open(target):
                chosen = self._reference_levels(progress).choose(self.groups, predicted.resemblances)
                doubtful = () if chosen is not None else self.categories
                objects = {region: one for region, one in objects.items() if region.category in (chosen or ())}
        return TransferRecord(
            file=target.file,
            path=target.path,
            size=image.size,
            objects=tuple(objects[region] for region in target.regions if region in objects),
            warnings=tuple(dict.fromkeys(warnings)),
            doubtful=doubtful,
            calibration=calibrations.pop() if len(calibrations) == 1 else None,
        )

    def predict_near(
        self, image: Image, category: str, keypoint: str, near: tuple[float, float], *, progress: Progress | None = None
    ) -> tuple[Float[np.ndarray, "2"], float]:
        """Where a key-point is around a location that a person pointed at, and a confidence, which is uncalibrated.

        Args:
            image: The image.
            category: One of :attr:`categories`.
            keypoint: The name of the key-point.
            near: (x, y) in pixels of the image.
            progress: As in :meth:`predict_in`.

        Raises:
            TransferError: No support shows the key-point, or one cannot be used.
        """
        number = self.annotations.categories[category].keypoints.index(keypoint)
        described: Sequence[DescribedSupport] = (
            [self._queries.together(category, cut=False, progress=progress)]
            if self._optimizes
            else self._queries.described(category, cut=False, progress=progress)
        )
        showing = [support for support in described if number in support.keypoints]
        if not showing:
            raise TransferError(
                f"No annotated object of {category!r} shows {keypoint!r}: annotate it in an image first."
            )
        return fuse_near(showing, self._locate(image, showing), number, near, image.size)

    def _is_open(self, target: Target) -> bool:
        """Whether an image may show any of several categories, and nothing says which."""
        categories = {region.category for region in target.regions if region.box is None and region.id is None}
        return len(self.groups) > 1 and categories == set(self.categories)

    def _reference_levels(self, progress: Progress | None) -> ReferenceLevels:
        """The levels, measured when they are first asked for."""
        if self._levels is None:
            supports = self.plan.supports
            described = {name: self._queries.described(name, cut=False, progress=progress) for name in supports}
            self._levels = measure_levels(
                supports, described, self._locate, lambda support: load_image(support.image.path)
            )
        return self._levels

    def _locate(self, image: Image, supports: Sequence[DescribedSupport]) -> list[Matches]:
        return locate_supports(self.matcher, supports, image)

    def _together(self, image: Image, category: str, *, cut: bool, progress: Progress | None) -> LocatedTogether | None:
        """The key-points by all supports at once; None where the method knows no such way."""
        count = len(self.annotations.categories[category].keypoints)
        if self._optimizes:
            return locate_optimized(
                self.matcher, self._queries.together(category, cut=cut, progress=progress), count, image
            )
        supports = self._queries.described(category, cut=cut, progress=progress)
        queries, keypoints = [one.query for one in supports], [one.keypoints.tolist() for one in supports]
        return self.matcher.locate_together(queries, keypoints, count, image)

    def _in_own_pixels(self, target: Target, size: tuple[int, int]) -> Target:
        """The target with its boxes in pixels of its image, which is ``size`` (width, height).

        Raises:
            ImageError: The annotations declare another size.
        """
        scale = declared_scale(target.file, target.size, size, rescale=self.settings.rescale)
        regions = tuple(replace(region, box=scaled_box(region.box, scale)) for region in target.regions)
        corners = [region.box for region in regions if region.box is not None]
        swap_warning(target.file, target.size, size, np.array(corners, dtype=np.float64).reshape(-1, 2))
        return replace(target, regions=regions)

    def _predict_regions(self, image: Image, regions: Sequence[Region], progress: Progress | None) -> _Predicted:
        """Predict the points of regions that share one part of the image, which the method reads once."""
        box = regions[0].box
        part, corner = crop_to_box(image, box, self.settings.margin)
        cut = box is not None
        together = [self._together(part, region.category, cut=cut, progress=progress) for region in regions]
        # Each support alone, where the method knows no other way, and to choose among categories.
        alone = None in together or (box is None and len(self.groups) > 1)
        groups: list[Sequence[DescribedSupport]] = [
            [] if self._optimizes and not alone else self._queries.described(one.category, cut=cut, progress=progress)
            for one in regions
        ]
        supports = [support for group in groups for support in group]
        matches = self._locate(part, supports) if alone else []
        left = iter(matches)
        objects: dict[Region, PredictedObject] = {}
        resemblances: dict[str, float] = {}
        answers: list[Matches | LocatedTogether] = []
        for region, group, one in zip(regions, groups, together, strict=True):
            names = self.annotations.categories[region.category].keypoints
            own = [next(left) for _ in group] if alone else []
            if alone:
                resemblances[region.category] = resemblance(own)
            located = one or fuse(group, own, len(names), part.size)
            answers += own if one is None else [one]
            objects[region] = PredictedObject(
                category=region.category,
                names=names,
                points=located.points + np.array(corner),
                confidence=np.nan_to_num(located.confidence),
                box=region.box,
                id=region.id,
                votes=located.votes,
            )
        return _Predicted(
            objects=objects,
            resemblances=resemblances,
            warnings=[
                *(text for support in supports for text in support.query.warnings),
                *(text for one in answers for text in one.warnings),
            ],
            calibrations=frozenset(one.calibration for one in answers),
        )
