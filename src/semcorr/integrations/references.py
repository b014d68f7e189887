"""References: annotated images, or a saved query, that points are predicted from in an image in memory."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from semcorr.errors import SettingsError
from semcorr.imaging.geometry import Size
from semcorr.imaging.image import Image
from semcorr.keypoints.base import Annotations, Category
from semcorr.keypoints.predictions import PredictedObject
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import Query
from semcorr.matchers.spec import MatcherSpec
from semcorr.transfer.plan import Plan, TransferSettings, plan_transfer
from semcorr.transfer.targets import Region, Target
from semcorr.transfer.transferrer import Transferrer

DEFAULT_LABEL = "object"
NEAR = 0.1
"""How far a predicted point may be from where a person pointed, as a fraction of the image's longer side."""


class References(ABC):
    """What points are predicted from, in one image after the other; it keeps nothing of an image.

    Attributes:
        categories: What is predicted, by name.
        notes: What the user should know, a sentence each.
    """

    categories: Mapping[str, Category]
    notes: tuple[str, ...] = ()

    @abstractmethod
    def predict(self, image: Image) -> tuple[PredictedObject, ...]:
        """Predict the points of one object of each category that an image shows.

        Raises:
            SemcorrError: The image, or a reference, cannot be used.
        """

    def annotated(self, file: str, size: Size) -> bool:  # noqa: ARG002  # a subclass uses them
        """Whether an image of this name and (width, height) is annotated already."""
        return False


class AnnotatedReferences(References):
    """Annotated images, as for a transfer."""

    def __init__(
        self, matcher: Matcher, annotations: Annotations, settings: TransferSettings, *, plan: Plan | None = None
    ) -> None:
        self._transferrer = Transferrer(matcher, annotations, settings, plan=plan)
        self.categories = {name: annotations.categories[name] for name in self._transferrer.categories}
        used = self._transferrer.plan
        unreadable = [f"an annotated image cannot be used: {message}" for message in used.unreadable.values()]
        self.notes = (*used.notes, *unreadable, *self._transferrer.notes)
        self._annotated = {(one.file, one.size) for one in annotations.images if one.annotated}

    @property
    def version(self) -> str:
        """A name for all that predictions depend on: the method's, and a hash."""
        content = json.dumps(self._transferrer.identity(), sort_keys=True, default=str).encode()
        return f"semcorr {self._transferrer.matcher.method} {hashlib.sha256(content).hexdigest()[:8]}"

    def prepare(self) -> None:
        """Describe the annotated objects, each in its whole image, for which the first prediction would wait."""
        self._transferrer.prepare([self._target("")])

    def predict(self, image: Image, regions: Sequence[Region] = ()) -> tuple[PredictedObject, ...]:
        """Predict the points of an image's objects.

        Args:
            image: The image.
            regions: Where, in pixels of the image. By default an object of each category in the whole image; where it
                is not clear which category it shows, there is none.

        Raises:
            SemcorrError: The image, or a reference, cannot be used.
        """
        return self._transferrer.predict_in(image, self._target(image.name, regions)).objects

    def near(
        self, image: Image, category: str, keypoint: str, location: tuple[float, float]
    ) -> tuple[Float[np.ndarray, "2"], float]:
        """Where a key-point is around a location that a person pointed at, and a confidence in [0, 1].

        It is the predicted point if that is near (:data:`NEAR`). Otherwise the person means another object, or the
        prediction is wrong, and what matches best around the location is the answer.

        Args:
            image: The image.
            category: One of :attr:`categories`.
            keypoint: The key-point's name.
            location: (x, y) in pixels of the image.

        Raises:
            SemcorrError: The image, or a reference, cannot be used, or none shows the key-point.
        """
        (predicted,) = self.predict(image, [Region(category=category)])
        row = predicted.names.index(keypoint)
        if np.linalg.norm(predicted.points[row] - location) <= NEAR * max(image.size):  # not where it is NaN
            return predicted.points[row], float(predicted.confidence[row])
        return self._transferrer.predict_near(image, category, keypoint, location)

    def annotated(self, file: str, size: Size) -> bool:
        """See :class:`References`; annotations that declare no sizes go by the name alone."""
        return (file, size) in self._annotated or (file, None) in self._annotated

    def _target(self, name: str, regions: Sequence[Region] = ()) -> Target:
        whole = tuple(Region(category=category) for category in self.categories)
        return Target(file=name, path=Path(name), regions=tuple(regions) or whole)


class QueryReferences(References):
    """The points of one saved query (:meth:`semcorr.Query.save`), which are one category's key-points."""

    def __init__(self, matcher: Matcher, query: Query, label: str) -> None:
        self._matcher, self._query, self._label = matcher, query, label
        names = query.names or tuple(str(number) for number in range(1, len(query.points) + 1))
        if len(set(names)) < len(names):
            raise SettingsError(f"Expected a name of its own for every point of the query, got {', '.join(names)}.")
        self.categories = {label: Category(id=1, name=label, keypoints=names)}

    def predict(self, image: Image) -> tuple[PredictedObject, ...]:
        """See :class:`References`."""
        matches = self._matcher.locate(self._query, image)
        predicted = PredictedObject(
            category=self._label,
            names=self.categories[self._label].keypoints,
            points=matches.points,
            confidence=matches.confidence,
        )
        return (predicted,)


def load_references(
    path: Path, images: Path | None, spec: MatcherSpec, settings: TransferSettings, *, label: str = DEFAULT_LABEL
) -> References:
    """Read references, and load the method.

    Args:
        path: A file of annotations in any format that :func:`semcorr.read_annotations` reads, or a query
            (.safetensors).
        images: Folder of the images that annotations name.
        spec: The method; of a query, only how its network is loaded.
        settings: How points are carried over.
        label: What the object is called whose points a query has.

    Raises:
        SemcorrError: The file, the method or its model cannot be used, or there is nothing to carry over.
    """
    if path.suffix.lower() == ".safetensors":
        query = Query.load(path)
        own = {"revision": query.model_revision, **query.settings}
        made_with = MatcherSpec(method=query.method, model=query.model_id, options={**spec.options, **own})
        return QueryReferences(made_with.load(), query, label)
    annotations = read_annotations(path, images)
    plan = plan_transfer(annotations, settings)  # before anything slow
    return AnnotatedReferences(spec.load(), annotations, settings, plan=plan)
