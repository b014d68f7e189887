"""Features that are computed once for each image, whatever is done with them: what several configurations share."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from semcorr.imaging.image import Image
from semcorr.matchers.features import FeatureMatcher
from semcorr.progress import Progress


def keep_features(matcher: FeatureMatcher, known: dict[str, Tensor]) -> None:
    """Have a method compute the features of an image only if they are not in ``known``, by the image's content.

    All methods that share ``known`` must have the same features: the same network, and the same settings of it.
    """
    compute = matcher.features

    def features(image: Image, settings: Any, progress: Progress | None = None) -> Float[Tensor, "_dim _height _width"]:
        if image.sha256 not in known:
            known[image.sha256] = compute(image, settings, progress)
        return known[image.sha256]

    matcher.features = features  # type: ignore[method-assign]  # of this one
