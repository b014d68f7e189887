"""Seconds for one image, the network in memory: an image described, located in, and given points of five supports."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.photograph_sets.configurations import Configuration
from benchmarks.photograph_sets.transfers import ObjectSet, predictions, spread_draw
from semcorr.datasets.base import Pair
from semcorr.imaging.image import load_image
from semcorr.matchers.base import Matcher

SUPPORTS = 5


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Of one configuration; reading the image's file is part of each.

    Attributes:
        configuration: Its name.
        describe: The median to describe the points of an image.
        locate: The median and the 90 % quantile to locate them in another.
        transfer: The same to predict points from :data:`SUPPORTS` supports.
    """

    configuration: str
    describe: float
    locate: tuple[float, float]
    transfer: tuple[float, float]


def measure(
    pairs: Sequence[Pair],
    objects: ObjectSet,
    configuration: Configuration,
    matcher: Matcher,
    step: Callable[[], None],
) -> Seconds:
    """Measure one configuration on the pairs, and on as many objects; the first of each is not counted.

    Args:
        pairs: Of images that are all different, so that nothing is remembered from one to the next.
        objects: The set of a transfer.
        configuration: What is measured.
        matcher: What was loaded for it, whose network runs for every image.
        step: Called after every image.
    """
    described, located = [], []
    for pair in pairs:
        began = time.perf_counter()
        query = matcher.describe(load_image(pair.source.path), pair.source.points)
        described.append(time.perf_counter() - began)
        began = time.perf_counter()
        matcher.locate(query, load_image(pair.target.path))
        located.append(time.perf_counter() - began)
        step()
    every = max(1, len(objects.objects) // (len(pairs) + SUPPORTS))
    stamps = [time.perf_counter()]
    for _ in predictions(objects, spread_draw(len(objects.objects), SUPPORTS, every=every), configuration, matcher):
        stamps.append(time.perf_counter())
        step()
    return Seconds(
        configuration=configuration.name,
        describe=float(np.median(described[1:])),
        locate=_quantiles(located[1:]),
        transfer=_quantiles(np.diff(stamps)[1:].tolist()),  # the first describes the supports
    )


def _quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    return float(np.median(seconds)), float(np.quantile(seconds, 0.9))
