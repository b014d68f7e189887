"""Files of other programs that are not read: known by their content or suffix, and what to export instead."""

from collections.abc import Callable, Mapping
from typing import Any

_SOMETIMES = 20
"""So many entries of a list or an object are looked at."""


def refused_json(content: Any) -> str | None:
    """What a JSON file of another program is, and what to do; None if it is not known to be one."""
    return next((said for recognizes, said in _JSON if recognizes(content)), None)


def refused_suffix(suffix: str) -> str | None:
    """The same of a file by its suffix, in lower case."""
    return _SUFFIXES.get(suffix)


def _has(*keys: str) -> Callable[[Any], bool]:
    return lambda content: isinstance(content, dict) and set(keys) <= set(content)


def _is_via(content: Any) -> bool:
    """VIA's project, or its annotations alone, an entry an image."""
    if not isinstance(content, dict) or "_via_img_metadata" in content:
        return isinstance(content, dict)
    entries = list(content.values())[:_SOMETIMES]
    return bool(entries) and all(_has("filename", "regions", "file_attributes")(entry) for entry in entries)


def _is_openpose(content: Any) -> bool:
    return _has("people")(content) and "categories" not in content


def _are_results(content: Any) -> bool:
    return isinstance(content, list) and bool(content) and all(map(_has("image_id"), content))


_JSON: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (_is_via, "is a file of VIA (VGG Image Annotator), which is not read: export COCO instead."),
    (_has("size", "objects", "tags"), "is a file of Supervisely, which is not read: export COCO key-points instead."),
    (_has("item", "annotations", "version"), "is a file of V7 Darwin, which is not read: export COCO instead."),
    (_has("metadata", "instances"), "is a file of SuperAnnotate, which is not read: export COCO instead."),
    (_has("data_row", "projects"), "is a Labelbox export, which is not read: export COCO instead."),
    (
        _is_openpose,
        "is OpenPose's output for one image, which is not read: write its points into a table or into COCO.",
    ),
    (
        _are_results,
        "is expected to be a whole COCO file, with images, annotations and categories; got a list of annotations or "
        "results: the images and key-points that they mean are in the file that they belong to.",
    ),
)

_SUFFIXES: Mapping[str, str] = {
    ".zip": "is compressed. Unpack the archive first.",
    ".txt": "is a text file: if it holds labels of YOLO, name the data set's data.yaml.",
    ".ndjson": "is an export in lines of JSON, such as Labelbox's, which is not read: export COCO instead.",
    ".pkl": "is a pickle, which is never read, as it can run any program: save a table (.csv) or COCO instead.",
    ".pickle": "is a pickle, which is never read, as it can run any program: save a table (.csv) or COCO instead.",
    ".mat": "is a file of MATLAB, which is not read: save a table (.csv: image, name, x, y) instead.",
    ".tps": "is a file of tpsDig, which is not read: save a table (.csv: image, name, x, y) instead.",
    ".pts": "is a file of points of one image, which is not read: save a table (.csv: image, name, x, y) instead.",
}
