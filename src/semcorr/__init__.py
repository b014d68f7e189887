"""Semantic correspondences from a frozen text-to-image diffusion model.

Point at something in one image; find it in others::

    import semcorr

    matches = semcorr.match("cat.jpg", "lion.jpg", points=[(412, 220)])

Public names are imported when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str  # of the installed package, so pyproject.toml's

    from semcorr.errors import (
        CalibrationError,
        FlowError,
        ImageError,
        LayerError,
        ModelError,
        OutOfMemoryError,
        PointError,
        QueryError,
        SemcorrError,
        SettingsError,
        TransferError,
    )
    from semcorr.imaging.flow import Flow
    from semcorr.imaging.image import Image, load_image
    from semcorr.imaging.label_map import LabelMap
    from semcorr.keypoints import TransferRecord, read_annotations
    from semcorr.matchers.base import Matcher
    from semcorr.matchers.dense import dense_flow
    from semcorr.matchers.load import load_matcher, match
    from semcorr.matchers.prompt import PromptMatcher, PromptSettings
    from semcorr.matchers.prompt.word_attention import WordMaps, word_maps
    from semcorr.matchers.regions.results import RegionQuery, Regions
    from semcorr.matchers.regions.settings import RegionSettings
    from semcorr.matchers.results import Matches, Query
    from semcorr.models.diffusion import DiffusionModel
    from semcorr.progress import Progress
    from semcorr.transfer import transfer_annotations
    from semcorr.visualization.heatmap_grids import draw_word_maps
    from semcorr.visualization.matches import draw_matches, match_figure

_ERRORS = (
    "CalibrationError",
    "FlowError",
    "ImageError",
    "LayerError",
    "ModelError",
    "OutOfMemoryError",
    "PointError",
    "QueryError",
    "SemcorrError",
    "SettingsError",
    "TransferError",
)
_HOMES = {
    "DiffusionModel": "semcorr.models.diffusion",
    "Flow": "semcorr.imaging.flow",
    "Image": "semcorr.imaging.image",
    "LabelMap": "semcorr.imaging.label_map",
    "Matcher": "semcorr.matchers.base",
    "Matches": "semcorr.matchers.results",
    "Progress": "semcorr.progress",
    "PromptMatcher": "semcorr.matchers.prompt",
    "PromptSettings": "semcorr.matchers.prompt",
    "Query": "semcorr.matchers.results",
    "RegionQuery": "semcorr.matchers.regions.results",
    "RegionSettings": "semcorr.matchers.regions.settings",
    "Regions": "semcorr.matchers.regions.results",
    "TransferRecord": "semcorr.keypoints",
    "WordMaps": "semcorr.matchers.prompt.word_attention",
    "draw_matches": "semcorr.visualization.matches",
    "draw_word_maps": "semcorr.visualization.heatmap_grids",
    "dense_flow": "semcorr.matchers.dense",
    "load_image": "semcorr.imaging.image",
    "load_matcher": "semcorr.matchers.load",
    "match": "semcorr.matchers.load",
    "match_figure": "semcorr.visualization.matches",
    "read_annotations": "semcorr.keypoints",
    "transfer_annotations": "semcorr.transfer",
    "word_maps": "semcorr.matchers.prompt.word_attention",
    **dict.fromkeys(_ERRORS, "semcorr.errors"),
}

__all__ = [
    "CalibrationError",
    "DiffusionModel",
    "Flow",
    "FlowError",
    "Image",
    "ImageError",
    "LabelMap",
    "LayerError",
    "Matcher",
    "Matches",
    "ModelError",
    "OutOfMemoryError",
    "PointError",
    "Progress",
    "PromptMatcher",
    "PromptSettings",
    "Query",
    "QueryError",
    "RegionQuery",
    "RegionSettings",
    "Regions",
    "SemcorrError",
    "SettingsError",
    "TransferError",
    "TransferRecord",
    "WordMaps",
    "dense_flow",
    "draw_matches",
    "draw_word_maps",
    "load_image",
    "load_matcher",
    "match",
    "match_figure",
    "read_annotations",
    "transfer_annotations",
    "word_maps",
]


def __getattr__(name: str) -> object:
    # PEP 562: called for names that are not there yet.
    if name == "__version__":
        try:
            return version("semcorr")
        except PackageNotFoundError:  # a source tree that is not installed
            return "0+unknown"
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
