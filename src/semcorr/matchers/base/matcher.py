"""The interface of a matcher, which all methods share."""

# ruff: noqa: ARG002  # what a base does by default does not need all that its sub-classes do
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import length_hint
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from semcorr.errors import ImageError, SettingsError
from semcorr.imaging.geometry import PointsLike
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.regions.examples import MaskSource
from semcorr.matchers.regions.results import RegionQuery, Regions
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.matchers.remote_locator import RemoteLocator
from semcorr.matchers.results import LocatedTogether, Matches, Query
from semcorr.progress import Progress

M = TypeVar("M", bound="Matcher")

PointsAndConfidence = tuple[Float[np.ndarray, "points 2"], Float[np.ndarray, " points"]]

_DENSE_BATCH = 64
"""Points whose heat maps are in memory together when :meth:`Matcher.locate_points` locates many."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a method can do besides ``describe`` and ``locate``.

    Attributes:
        optimizes: ``describe`` optimizes embeddings, so that each point costs many passes of the network.
        examples: ``describe`` takes several images that show the same points, and makes one query of them.
        features: It compares features: :meth:`Matcher.feature_maps` returns them.
        layer_heatmaps: :meth:`Matcher.layer_heatmaps` returns each layer's heat maps.
        attention_heatmaps: Its heat maps are cross-attention and nothing else, as the paper's figures show it.
        regions: :meth:`Matcher.segment` and its two halves find regions.
    """

    optimizes: bool = False
    examples: bool = False
    features: bool = False
    layer_heatmaps: bool = False
    attention_heatmaps: bool = False
    regions: bool = False


class Matcher(ABC):
    """A method, ready to run: ``describe`` is done once for a source image, ``locate`` for every further image.

    Attributes:
        method: The method's name, as ``--method`` takes it.
        model: The frozen network; None if there is none.
        settings: The method's complete settings.
        capabilities: What else it can do.
        calibration: The :class:`semcorr.matchers.wrappers.calibration.Calibration` of its confidence; None if it has
            none.
        load_again: Loads the same in another process; None where it was not made by :func:`semcorr.load_matcher`.
    """

    method: str
    model: Any = None
    settings: Any = None
    capabilities: Capabilities = Capabilities()
    calibration: Any = None
    load_again: "Callable[[], Matcher] | None" = None

    def __repr__(self) -> str:
        return f"<{', '.join(self._facts())}>"

    def _facts(self) -> list[str]:
        """What ``repr`` says, which sub-classes add to."""
        model = self.model
        if not hasattr(model, "model_id"):
            return [self.method]
        device = f" on {model.device}" if hasattr(model, "device") else ""
        return [f"{self.method} on {model.model_id}", str(model.dtype).removeprefix("torch.") + device]

    @property
    def unwrapped(self) -> "Matcher":
        """The method itself, without wrappers (:mod:`semcorr.matchers.wrappers`)."""
        return self

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return all that results depend on, as JSON holds it: ``model_fingerprint``, ``settings`` and so on."""

    @property
    def points_together(self) -> bool:
        """Whether what is found for a point depends on the points that are described with it."""
        return False

    @abstractmethod
    def describe(
        self,
        image: "ImageSource | Sequence[ImageSource]",
        points: "PointsLike",
        *,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Query:
        """Describe points of an image in the form in which :meth:`locate` finds them in others.

        Several images that show the same points make one query, if the method can (``capabilities.examples``)::

            query = matcher.describe(["cat.jpg", "lion.jpg"], [[(412, 220), (96, 310)], [(380, 195), None]])

        Args:
            image: A path, a PIL image, an array or a tensor; see :func:`semcorr.imaging.image.load_image`. Or a list
                of them, of any sizes.
            points: (N, 2): x to the right, y down, in pixels of the image as a person sees it; (0, 0) is its top-left
                corner. For a list of images a list of such points, one for each image: the same index is the same
                point, and NaN or None a point that the image does not show.
            names: A name for each point.
            progress: Called as ``(stage, done, in all)``; raise from it to stop.

        Raises:
            ImageError: The image cannot be used.
            PointError: No points, or a point that is not finite or outside the image; of several images, not as many
                lists of points, or not as many points in each; an image without points, or a point in no image.
            SettingsError: Several images, and the method takes one.
            OutOfMemoryError: Not even the smallest batch fits into memory.
        """

    @abstractmethod
    def locate(
        self, query: Query, image: "ImageSource", *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        """Find a query's points in another image, with the query's own settings.

        Args:
            query: What :meth:`describe` returned, perhaps in another process.
            image: The target.
            trace: Keep where the points would have been found after fewer crops (``Diagnostics.after_crops``), where a
                method has crops.
            progress: Called as ``(stage, done, in all)``; raise from it to stop.

        Raises:
            QueryError: The query belongs to another model or method.
            ImageError: The image cannot be used.
            OutOfMemoryError: Not even the smallest batch fits into memory.
        """

    def locate_many(
        self,
        query: Query,
        images: "Iterable[ImageSource]",
        *,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> Iterator["Matches | ImageError"]:
        """Find a query's points in one image after the other, and yield the matches in the order of the images.

        An image is read when its turn comes, and neither it nor its matches are kept: there may be thousands. One that
        cannot be used yields its error in place of matches, and the others go on::

            for path, matches in zip(paths, matcher.locate_many(query, paths)):
                if isinstance(matches, semcorr.ImageError):
                    print(matches)
                    continue
                ...

        Args:
            query: What :meth:`describe` returned.
            images: The targets, as :meth:`locate` takes them.
            workers: Processes, each with a copy of the model and its share of PyTorch's threads. Starting them takes
                seconds: for hundreds of images with a fast method, dozens with a slow one. A GPU is kept busy by one.
                They read a few images ahead. A script that uses them needs ``if __name__ == "__main__":``.
            progress: Called as :meth:`locate` does, with one worker, and as ``("images", done, in all)``; in all are
                those done where ``images`` does not say how many it has. Raise from it to stop.

        Raises:
            ImageError: ``images`` is one path.
            SettingsError: Several workers, and no way to load the matcher in them (``load_again``).
            QueryError, OutOfMemoryError: As :meth:`locate`; iterating ends.
            RunError: A worker was killed, or could not start.
        """
        if isinstance(images, str):
            raise ImageError(f"Expected several images, got the path {images!r}: put it into a list.")
        if workers < 1:
            raise SettingsError(f"Expected at least 1 worker, got {workers}.")
        if workers > 1:
            locator = RemoteLocator(load=self.loader(), query=query, workers=workers)
            yield from locator.locate(images, progress)
            return
        count = length_hint(images)
        for done, image in enumerate(images, start=1):
            outcome: Matches | ImageError
            try:
                outcome = self.locate(query, image, progress=progress)
            except ImageError as error:
                outcome = error
            if progress is not None:
                progress("images", done, max(count, done))
            yield outcome

    def loader(self) -> "Callable[[], Matcher]":
        """Return what loads the same matcher in another process.

        Raises:
            SettingsError: Nothing does (``load_again``).
        """
        if self.load_again is None:
            raise SettingsError(
                f"This {self.method!r} matcher cannot be loaded in other workers, because it was not made by "
                "semcorr.load_matcher, or changed since. Load it so, with all its settings, or leave out workers."
            )
        return self.load_again

    def locate_points(
        self, query: Query, image: "ImageSource", *, progress: Progress | None = None
    ) -> PointsAndConfidence:
        """Return the points and confidence of :meth:`locate` alone, so that there may be thousands of points.

        Args and errors are those of :meth:`locate`; ``progress`` is called as ``("locate", points done, in all)``.
        """
        target, count = load_image(image), len(query.points)
        points, confidence = [], []
        for begin in range(0, count, _DENSE_BATCH):
            end = min(begin + _DENSE_BATCH, count)
            matches = self.locate(query.take(range(begin, end)), target)
            points.append(matches.points)
            confidence.append(matches.confidence)
            if progress is not None:
                progress("locate", end, count)
        return np.concatenate(points), np.concatenate(confidence)

    def locate_each(
        self, queries: Sequence[Query], image: "ImageSource", *, progress: Progress | None = None
    ) -> list[Matches]:
        """Locate several queries in one image, as one call of :meth:`locate` after the other would.

        Args and errors are those of :meth:`locate`; a method may read the image once for all of them.
        """
        target = load_image(image)
        return [self.locate(query, target, progress=progress) for query in queries]

    def locate_together(
        self,
        queries: Sequence[Query],
        keypoints: Sequence[Sequence[int]],
        count: int,
        image: "ImageSource",
        *,
        progress: Progress | None = None,
    ) -> LocatedTogether | None:
        """Locate one object's key-points by several supports, which are compared with the image at once.

        None if the method has no way of its own to do so for these queries; each may then be located alone. One query
        is located as :meth:`locate` does.

        Args:
            queries: One of each support.
            keypoints: For each query, which key-point each of its points is.
            count: How many key-points the object has.
            image: The target.
            progress: Called as ``(stage, done, in all)``; raise from it to stop.

        Raises:
            QueryError: A query belongs to another model or method.
            ImageError: The image cannot be used.
            OutOfMemoryError: Not even the smallest batch fits into memory.
        """
        return None

    def layer_heatmaps(
        self,
        query: Query,
        image: "ImageSource",
        *,
        progress: Progress | None = None,
    ) -> Float[np.ndarray, "points layers height width"]:
        """Return each layer's own heat map of each of a query's points in another image: float32, the whole target.

        Layers are those of attention, in the order of ``Matches.layer_names``; methods on features compare one map,
        whatever it is made of. Args and errors are those of :meth:`locate`.

        Raises:
            SettingsError: The method has none (``capabilities.layer_heatmaps``).
        """
        raise SettingsError(f"Method {self.method!r} reads no layers of attention. Use prompt or attention-dift.")

    def feature_maps(
        self, images: Sequence[Image], *, progress: Progress | None = None
    ) -> list[Float[Any, "dim _height _width"]]:
        """Return the features of images, each a map that covers its whole image.

        Raises:
            SettingsError: The method compares none (``capabilities.features``).
        """
        raise SettingsError(f"Method {self.method!r} compares no features. Use a method that does, such as dift.")

    def segment(
        self,
        images: "ImageSource | Sequence[ImageSource]",
        masks: MaskSource | Sequence[MaskSource],
        target: "ImageSource",
        *,
        settings: RegionSettings | None = None,
        progress: Progress | None = None,
    ) -> Regions:
        """Find the regions of one or a few images in another: both halves in one call.

        Args and errors are those of :meth:`describe_regions` and :meth:`locate_regions`.
        """
        query = self.describe_regions(images, masks, settings=settings, progress=progress)
        return self.locate_regions(query, target, progress=progress)

    def describe_regions(
        self,
        images: "ImageSource | Sequence[ImageSource]",
        masks: MaskSource | Sequence[MaskSource],
        *,
        settings: RegionSettings | None = None,
        progress: Progress | None = None,
    ) -> RegionQuery:
        """Describe regions of one or a few images in the form in which :meth:`locate_regions` finds them in others.

        Args:
            images: The example image, or a list of some.
            masks: The mask of each: a PNG of labels (indexed or grey, 0 is the background), a COCO file that names the
                image, an array (height, width) of labels, or a :class:`semcorr.LabelMap`. A label means the same in
                all of them.
            settings: How regions are found.
            progress: Called as ``(stage, done, in all)``; raise from it to stop.

        Raises:
            SettingsError: The method finds no regions (``capabilities.regions``).
            ImageError, DatasetError: An image or a mask cannot be used.
            OutOfMemoryError: Not even the smallest batch fits into memory.
        """
        raise SettingsError(
            f"Method {self.method!r} finds no regions. Use prompt, or a method on features, such as dift."
        )

    def locate_regions(self, query: RegionQuery, image: "ImageSource", *, progress: Progress | None = None) -> Regions:
        """Find a query's regions in another image.

        Args:
            query: What :meth:`describe_regions` returned, perhaps in another process.
            image: The target.
            progress: Called as ``(stage, done, in all)``; raise from it to stop.

        Raises:
            SettingsError: The method finds no regions (``capabilities.regions``).
            QueryError: The query belongs to another model or method.
            ImageError: The image cannot be used.
            OutOfMemoryError: Not even the smallest batch fits into memory.
        """
        raise SettingsError(
            f"Method {self.method!r} finds no regions. Use prompt, or a method on features, such as dift."
        )

    def with_settings(self: M, settings: Any) -> M:
        """Return the same method on the same network with other settings."""
        raise SettingsError(f"The settings of method {self.method!r} cannot be changed.")
