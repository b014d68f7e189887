"""A function that CVAT's own command runs on the images of a task, or as an agent.

``cvat-cli task auto-annotate TASK --function-module semcorr.integrations.cvat -p references=str:annotations.json``
calls :func:`create`, and the result's ``detect`` for every image. It needs the extra ``cvat``.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from semcorr.errors import ImageError, PointError, SettingsError
from semcorr.imaging.image import load_image
from semcorr.integrations.references import DEFAULT_LABEL, References, load_references
from semcorr.keypoints.predictions import PredictedObject
from semcorr.matchers.spec import MatcherSpec
from semcorr.transfer.plan import TransferSettings

if TYPE_CHECKING:
    import cvat_sdk.auto_annotation as cvat
    from cvat_sdk import models

_log = logging.getLogger(__name__)


def create(
    references: str,
    images: str = "",
    label: str = "",
    *,
    support: int = 5,
    min_confidence: float = 0.5,
    method: str = "auto",
    model: str = "",
    preset: str = "",
    **options: Any,
) -> "KeypointFunction":
    """What CVAT calls first; each argument is a ``-p NAME=TYPE:VALUE`` of its command.

    Args:
        references: Annotated images: a COCO, CVAT or Label Studio export, or another file that
            :func:`semcorr.read_annotations` reads; or a query that ``semcorr describe`` wrote (.safetensors).
        images: Folder of the images that the annotations name.
        label: The category to predict; all that are annotated by default. Of a query: the name of the skeleton.
        support: How many annotated objects of a category points are taken from, at most.
        min_confidence: Points of less confidence are marked as occluded.
        method: As in :func:`semcorr.load_matcher`, like ``model``, ``preset`` and the options. A query has its own.
        model: What the method runs on.
        preset: The method's settings by name.
        **options: Further options, such as ``device=str:cpu``, and the method's settings.

    Raises:
        SemcorrError: The references, the method or its model cannot be used.
        ImportError: The package cvat-sdk is not installed.
    """
    if not 0 <= min_confidence <= 1:
        raise SettingsError(f"Expected min_confidence from 0 to 1, got {min_confidence}.")
    is_query = references.lower().endswith(".safetensors")
    settings = TransferSettings(support=support, categories=(label,) if label and not is_query else ())
    spec = MatcherSpec(
        method=method,
        model=model or None,
        preset=preset or None,
        options={"dtype": "auto", "device": "auto", **options},
    )
    known = load_references(
        Path(references), Path(images) if images else None, spec, settings, label=label or DEFAULT_LABEL
    )
    for note in known.notes:
        _log.warning("%s", note)
    return KeypointFunction(known, min_confidence)


class KeypointFunction:
    """A detection function: one skeleton of each category that an image shows.

    Args:
        references: What points are predicted from.
        min_confidence: Points of less confidence are marked as occluded.

    Attributes:
        spec: The skeletons and their points, by the names that the references have.
    """

    def __init__(self, references: References, min_confidence: float) -> None:
        import cvat_sdk.auto_annotation as cvat  # an extra

        self._references, self._min_confidence = references, min_confidence
        self._labels = {name: number for number, name in enumerate(references.categories)}
        self.spec = cvat.DetectionFunctionSpec(
            labels=[
                cvat.skeleton_label_spec(
                    name,
                    number,
                    [cvat.keypoint_spec(point, row) for row, point in enumerate(references.categories[name].keypoints)],
                )
                for name, number in self._labels.items()
            ]
        )

    def detect(
        self, context: "cvat.DetectionFunctionContext", image: PIL.Image.Image
    ) -> "list[models.LabeledShapeRequest]":
        """Predict the skeletons of an image, in its pixels (continuous; (0, 0) is its top-left corner).

        Skeletons whose mean confidence is below ``context.conf_threshold`` are left out. A point that no reference
        shows is outside. An image that is annotated in the references gets none, so that no person's skeleton is
        doubled; one that cannot be used gets none either, and the log says why: the task's others continue.

        Raises:
            TransferError: A reference cannot be used.
        """
        try:
            loaded = load_image(image, name=context.frame_name)
            if self._references.annotated(context.frame_name, loaded.size):
                _log.info("%s is annotated already.", context.frame_name)
                return []
            predicted = self._references.predict(loaded)
        except (ImageError, PointError) as error:
            _log.warning("%s: %s", context.frame_name, error)
            return []
        least = context.conf_threshold or 0.0
        return [self._skeleton(one) for one in predicted if one.score >= least]

    def _skeleton(self, predicted: PredictedObject) -> "models.LabeledShapeRequest":
        import cvat_sdk.auto_annotation as cvat

        known = np.isfinite(predicted.points).all(axis=1)
        centre = predicted.points[known].mean(axis=0) if known.any() else np.zeros(2)
        points = np.where(known[:, None], predicted.points, centre)
        elements = [
            cvat.keypoint(
                row,
                [float(x), float(y)],
                outside=not bool(known[row]),
                occluded=bool(known[row] and predicted.confidence[row] < self._min_confidence),
            )
            for row, (x, y) in enumerate(points)
        ]
        return cvat.skeleton(self._labels[predicted.category], elements, score=round(predicted.score, 4))
