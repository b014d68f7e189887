"""Semantic correspondences from a frozen text-to-image diffusion model.

Point at a spot in one image; find the same spot in others::

    import semcorr

    matches = semcorr.match("cat.jpg", "lion.jpg", points=[(412, 220)])

Public names are imported when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str  # of the installed package, so pyproject.toml's

    from semcorr.annotations import TransferRecord, read_annotations, transfer
    from semcorr.dense import dense_flow
    from semcorr.diffusion import DiffusionModel
    from semcorr.draw import match_figure
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
    from semcorr.flow import Flow
    from semcorr.images import Image, load_image
    from semcorr.matching import Matcher, Matches, Query
    from semcorr.methods import load_matcher, match
    from semcorr.progress import Progress
    from semcorr.prompt import PromptMatcher, PromptSettings
    from semcorr.words import WordMaps, word_maps

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
    "DiffusionModel": "semcorr.diffusion",
    "Flow": "semcorr.flow",
    "Image": "semcorr.images",
    "Matcher": "semcorr.matching",
    "Matches": "semcorr.matching",
    "Progress": "semcorr.progress",
    "PromptMatcher": "semcorr.prompt",
    "PromptSettings": "semcorr.prompt",
    "Query": "semcorr.matching",
    "TransferRecord": "semcorr.annotations",
    "WordMaps": "semcorr.words",
    "dense_flow": "semcorr.dense",
    "load_image": "semcorr.images",
    "load_matcher": "semcorr.methods",
    "match": "semcorr.methods",
    "match_figure": "semcorr.draw",
    "read_annotations": "semcorr.annotations",
    "transfer": "semcorr.annotations",
    "word_maps": "semcorr.words",
    **dict.fromkeys(_ERRORS, "semcorr.errors"),
}

__all__ = [
    "CalibrationError",
    "DiffusionModel",
    "Flow",
    "FlowError",
    "Image",
    "ImageError",
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
    "SemcorrError",
    "SettingsError",
    "TransferError",
    "TransferRecord",
    "WordMaps",
    "dense_flow",
    "load_image",
    "load_matcher",
    "match",
    "match_figure",
    "read_annotations",
    "transfer",
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
