"""Features that are computed once for each image, whatever is done with them: what several configurations share."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from semcorr.imaging.image import Image
from semcorr.matchers.features import FeatureMatcher
from semcorr.progress import Progress


def keep_features(matcher: FeatureMatcher, known: dict[str, Tensor], *, by_settings: bool = False) -> None:
    """Have a method compute the features of an image only if they are not in ``known``, by the image's content.

    All methods that share ``known`` must have the same features: the same network, and the same settings of it, unless
    features are kept by settings too.
    """
    compute = matcher.features

    def features(image: Image, settings: Any, progress: Progress | None = None) -> Float[Tensor, "_dim _height _width"]:
        key = f"{image.sha256} {settings}" if by_settings else image.sha256
        if key not in known:
            known[key] = compute(image, settings, progress)
        return known[key]

    matcher.features = features  # type: ignore[method-assign]  # of this one
