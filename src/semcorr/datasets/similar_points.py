"""Key-points that look alike and differ by where they are on the object, by category, as published.

They define the geometry-aware subset of SPair-71k and AP-10K: Zhang et al., *Telling Left from Right: Identifying
Geometry-Aware Semantic Correspondence*, CVPR 2024 (arXiv 2311.17034). The groups are those of its code (the lists
SPAIR_GEO_AWARE and AP10K_GEO_AWARE of GeoAware-SC, which VICO-UoE/JamaisVu has as well), without the key-points that
stand alone there. Eyes, of which both sets have two, are not grouped, nor are an animal's nostrils.
"""

from collections.abc import Mapping

Groups = tuple[tuple[str, ...], ...]
"""Names of key-points, those of a group being alike."""


def _groups(text: str) -> Groups:
    """The groups of a text: spaces between the numbers of a group, commas between groups."""
    return tuple(tuple(group.split()) for group in text.split(","))


_FOUR_LEGS = "2 3, 9 10 11 12"
_HOOFED = f"{_FOUR_LEGS}, 15 16 17 18, 19 20"

SPAIR: Mapping[str, Groups] = {
    category: _groups(text)
    for category, text in {
        "aeroplane": "4 5, 6 7, 8 9, 10 11, 12 13, 14 15, 16 17, 18 19, 20 21",
        "bicycle": "2 3, 6 7, 9 10",
        "bird": "1 2, 10 11, 12 13, 14 15",
        "boat": "1 2, 3 4, 5 6, 7 8, 9 10, 11 12",
        "bottle": "0 1, 2 3, 4 5, 6 7, 8 9",
        "bus": "0 1, 2 3 5 6, 4 7, 10 13 20 23, 11 14 21 24, 12 15 22 25, 16 17 26 27, 18 19 28 29",
        "car": "0 1, 2 3 6 7, 4 8, 5 9, 10 13 20 23, 11 14 21 24, 12 15 22 25, 16 17 26 27, 18 19 28 29",
        "cat": _FOUR_LEGS,
        "chair": "0 1, 2 3, 4 5 6 7, 8 9, 10 11, 12 13",
        "cow": _HOOFED,
        "dog": _FOUR_LEGS,
        "horse": "2 3, 10 11 12 13, 16 17 18 19",
        "motorbike": "0 1, 2 3",
        "person": "8 9, 10 11, 12 13, 14 15, 16 17, 18 19",
        "pottedplant": "0 1 2 3, 4 5, 6 8",
        "sheep": _HOOFED,
        "train": "0 1, 2 3, 4 5, 6 7, 8 9, 10 11, 12 13, 14 15, 16 17",
        "tvmonitor": "0 2 4 6, 1 3 5 7, 8 10 12 14, 9 11 13 15",
    }.items()
}
"""By category; names are the ids of SPair-71k's key-points."""

AP10K: Groups = (
    ("left shoulder", "right shoulder"),
    ("left elbow", "right elbow", "left knee", "right knee"),
    ("left front paw", "right front paw", "left back paw", "right back paw"),
    ("left hip", "right hip"),
)
"""Of every species."""
