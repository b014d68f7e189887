"""Methods by name, and both halves of a match in one call."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from semcorr.errors import SettingsError, suggest
from semcorr.images import ImageSource
from semcorr.matching import Matcher, Matches
from semcorr.progress import Progress


def _prompt(*args: Any, **options: Any) -> Matcher:
    from semcorr.prompt import PromptMatcher  # Late: diffusers takes seconds, and names alone need none of it.

    return PromptMatcher.from_pretrained(*args, **options)


METHODS: Mapping[str, Callable[..., Matcher]] = {"prompt": _prompt}
"""Every method by name, as the function that loads it: ``(model, preset, **options) -> Matcher``."""


def load_matcher(
    method: str = "prompt",
    model: str | os.PathLike[str] = "toy",
    preset: str = "paper",
    **options: Any,
) -> Matcher:
    """Load a method by name.

    Args:
        method: ``"prompt"``, the paper's.
        model: a bundled name, a folder, a ``.safetensors`` file or a hub id.
        preset: the method's settings by name.
        **options: passed on to the method's ``from_pretrained``: ``dtype``, ``device``, ``memory_budget``, settings to
            replace, and so on.

    Raises:
        SettingsError: unknown method, preset or setting.
        ModelError: the model cannot be found, read or used.
    """
    if method not in METHODS:
        raise SettingsError(f"Unknown method {method!r}.{suggest(method, METHODS)} Methods are: {', '.join(METHODS)}.")
    return METHODS[method](model, preset, **options)


def match(
    source: ImageSource,
    target: ImageSource,
    points: ArrayLike,
    *,
    method: str = "prompt",
    model: str | os.PathLike[str] = "toy",
    preset: str = "paper",
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Matches:
    """Find points of one image in another: load, describe and locate in one call.

    For several targets, or several sources, load a matcher once (:func:`load_matcher`) and use its two halves.

    Args:
        source: the image that the points are in.
        target: the image that they are wanted in.
        points: (N, 2): x to the right, y down, in pixels of ``source``; (0, 0) is its top-left corner.
        method: as in :func:`load_matcher`.
        model: as in :func:`load_matcher`.
        preset: as in :func:`load_matcher`.
        names: a name for each point.
        progress: called with "download", "learn" and "locate"; raise from it to stop.
        **options: as in :func:`load_matcher`.

    Raises:
        SemcorrError: as :func:`load_matcher`, and the method's ``describe`` and ``locate``.
    """
    matcher = load_matcher(method, model, preset, progress=progress, **options)
    query = matcher.describe(source, points, names=names, progress=progress)
    return matcher.locate(query, target, progress=progress)
