"""Load a method by name, and both halves of a match in one call."""

import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from semcorr.imaging.image import ImageSource
from semcorr.matchers.base import Matcher
from semcorr.matchers.registry import DEFAULT_METHOD
from semcorr.matchers.results import Matches
from semcorr.matchers.spec import MatcherSpec
from semcorr.progress import Progress


def load_matcher(
    method: str = DEFAULT_METHOD,
    model: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    *,
    variant: str | None = None,
    dtype: str = "auto",
    align_pose: bool = False,
    calibration: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Matcher:
    """Load a method by name.

    Without a method it is the one that fits the model, and without both what fits the machine: ``"attention-dift"``
    where there is a GPU and CompVis/stable-diffusion-v1-4 was downloaded before, else ``"hypercolumn"`` on the bundled
    ``"lite0"``; the same as on the command line. The result's ``method`` and ``model.model_id`` say which it is. The
    bundled ``"toy"`` knows drawings only, and is used where it is named.

    Args:
        method: ``"auto"``; ``"prompt"``, the paper's; ``"dift"``; whatever
            :func:`semcorr.matchers.registry.methods` has; or a class of your own as ``"module:Class"``.
        model: A bundled name, a folder, a ``.safetensors`` file or a hub id; the method's own for photographs by
            default. What is not on this machine is downloaded.
        preset: The method's settings by name; its usual ones by default.
        variant: Of the model's files, such as ``"bf16"`` or ``"non_ema"``, where a folder or hub id has several; the
            same as ``model`` with a colon and the variant after it.
        dtype: Precision of the network; ``"auto"`` takes the fastest on the device: bfloat16 or float16 on a GPU,
            bfloat16 on a processor with instructions for it, float32 on others and for bundled models.
        align_pose: Search each target's mirror image as well, and keep the better
            (:class:`semcorr.matchers.wrappers.mirror.MirrorMatcher`).
        calibration: What makes its confidence a probability (:mod:`semcorr.matchers.wrappers.calibration`): a file; the
            package's own by default, if it has one for this very method, model and settings; ``"none"`` for none.
        progress: Called during a download.
        **options: Passed on to the method's ``from_pretrained``: ``device``, ``offload``, ``quantize``,
            ``memory_budget``, settings to replace, and so on. In half precision, what overflows is done in float32
            (:class:`semcorr.matchers.wrappers.float32_fallback.Float32Fallback`).

    Returns:
        The method, ready to run, and printed in a line that says what it is. :meth:`Matcher.describe` turns points of
        an image into a :class:`Query`; :meth:`Matcher.locate` finds it in an image, :meth:`Matcher.locate_many` in many
        and :meth:`Matcher.locate_points` without heat maps. ``method``, ``model``, ``settings`` and ``calibration`` are
        what was loaded; ``capabilities`` says whether it also has :meth:`Matcher.layer_heatmaps` and
        :meth:`Matcher.feature_maps`.

    Raises:
        SettingsError: Unknown method, preset or setting.
        ModelError: The model cannot be found, read or used.
        CalibrationError: The calibration cannot be read, or is for another method, model or settings.
    """
    options |= {"variant": variant, "dtype": dtype, "align_pose": align_pose, "calibration": calibration}
    return MatcherSpec(method=method, model=model, preset=preset, options=options).load(progress=progress)


def match(
    source: "ImageSource",
    target: "ImageSource",
    points: "ArrayLike",
    *,
    method: str = DEFAULT_METHOD,
    model: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Matches:
    """Find points of one image in another: load, describe and locate in one call.

    For example ``semcorr.match("cat.jpg", "lion.jpg", [(412, 220), (96, 310)], names=["nose", "paw"])``.

    Without a method and model they are what fits the machine, as for :func:`load_matcher` and on the command line. For
    several targets, or several sources, load a matcher once and use its two halves.

    Args:
        source: The image that the points are in: a path, a PIL image, an array or a tensor (:func:`load_image`).
        target: The image to find them in, likewise.
        points: (N, 2): x to the right, y down, in pixels of ``source``; (0, 0) is its top-left corner.
        method: ``"auto"``, ``"prompt"``, ``"dift"``, ``"hypercolumn"``, ...; see :func:`load_matcher`.
        model: A bundled name, a folder, a ``.safetensors`` file or a hub id; the method's own by default.
        preset: The method's settings by name; its usual ones by default.
        names: A name for each point.
        progress: Called with "download", "optimize" and "locate"; raise from it to stop.
        **options: As in :func:`load_matcher`: ``device``, settings to replace, and so on.

    Returns:
        ``points`` (N, 2) in pixels of ``target``, a ``confidence`` in [0, 1] and a heat map for each;
        :func:`draw_matches` draws them on the images.

    Raises:
        SemcorrError: As :func:`load_matcher`, and the method's ``describe`` and ``locate``.
    """
    matcher = load_matcher(method, model, preset, progress=progress, **options)
    query = matcher.describe(source, points, names=names, progress=progress)
    return matcher.locate(query, target, progress=progress)
