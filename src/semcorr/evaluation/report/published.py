"""Published figures, quoted: none of them was measured with this code.

A figure belongs to its data set, its alpha and its average, and must stand beside no other. Everybody but the paper's
authors takes the target's box on SPair-71k; their code's rules are the reference rules.
"""

from dataclasses import dataclass
from typing import Literal

from semcorr.evaluation.metrics.protocol import Threshold

Averaging = Literal["per image", "per point"]

TABLE_1 = "the paper's Table 1"
LATER = "published later, zero-shot"
COLLECTED = "arXiv 2605.30093, as collected there"

FULL_SIZES: dict[str, int] = {"spair-71k": 12_234, "pf-willow": 900}
"""Pairs of the whole test set, which quoted figures are of."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One figure in percent. ``threshold`` is the rule it was measured by, None where that is not known here.

    ``setting`` is which of the data set's protocols it belongs to, "" where there is one or it is not known which.
    ``by`` is the table that it stands in: "overall", or "geo" for the geometry-aware key-points alone.

    ``averaging_stated`` is False where the source does not say which average it is: the paper's own figures and
    CATs++'s are per image, and the others of Table 1 stand beside them. ``supervision`` is what the method was trained
    with beside images, "" for nothing. ``mark`` is how every such row is marked.
    """

    method: str
    dataset: str
    alpha: float
    averaging: Averaging
    value: float
    source: str
    threshold: Threshold | None = None
    averaging_stated: bool = True
    setting: str = ""
    by: str = "overall"
    supervision: str = ""
    note: str = ""
    mark: Literal["quoted"] = "quoted"

    @property
    def name(self) -> str:
        """The method with its supervision."""
        return f"{self.method}, {self.supervision}" if self.supervision else self.method

    @property
    def label(self) -> str:
        """How the row is named in a table."""
        return f"{self.mark}: {self.name}"


_THE_PAPER = "Hedlin et al. 2023"

# Method and supervision, then CUB .05 and .1, PF-WILLOW .05 and .1, SPair-71k .05 and .1.
_TABLE_1: tuple[tuple[str, str, tuple[float | None, ...]], ...] = (
    ("CHM", "strong", (None, None, 52.7, 79.4, 27.2, 46.3)),
    ("VAT", "strong", (None, None, 52.8, 81.6, 35.0, 55.5)),
    ("CATs++", "strong", (None, None, 56.7, 81.2, None, 59.8)),
    ("PMD", "weak", (None, None, 40.3, 74.7, None, 26.5)),
    ("PSCNet-SE", "weak", (None, None, 42.6, 75.1, None, 27.0)),
    ("VGG+MLS", "", (18.3, 25.8, 41.2, 63.2, None, 27.4)),
    ("DINO+MLS", "", (52.0, 67.0, 45.0, 66.5, None, 31.1)),
    ("DINO+NN", "", (52.8, 68.3, 40.1, 60.1, None, 33.3)),
    ("ASIC", "", (57.9, 75.9, 53.0, 76.3, None, 36.9)),
    (_THE_PAPER, "", (61.6, 77.5, 53.0, 84.3, 28.9, 45.4)),
)
_COLUMNS = tuple((dataset, alpha) for dataset in ("cub-200-2011", "pf-willow", "spair-71k") for alpha in (0.05, 0.1))
_AUTHORS: dict[str, Threshold] = {
    "spair-71k": "reference-spair",
    "pf-willow": "reference-willow",
    "cub-200-2011": "reference-cub",
}
# The settings of semcorr.datasets.cub that the two protocols known here are.
_CUB_OF: dict[str, str] = {_THE_PAPER: "released", "ASIC": "asic"}

# Method, per image, per point; all SPair-71k at 0.1.
_LATER: tuple[tuple[str, float | None, float | None], ...] = (
    ("DIFT", None, 59.5),
    ("DINOv2-B NN", None, 55.6),
    ("SD+DINOv2", None, 64.0),
    ("CleanDIFT + pose alignment", None, 69.99),
    ("GeoAware-SC, pose alignment without training", 65.4, None),
)
# The same, where the source does not say which average it is.
_LATER_UNSTATED: tuple[tuple[str, float], ...] = (
    ("DiTF-FLUX, raw features", 29.9),
    ("DiTF-FLUX, adaptive layer norm", 65.3),
    ("DiTF-FLUX", 67.1),
    ("DINOv3-B", 46.8),
    ("DINOv3-B without position (INSID3)", 52.6),
)

# Method and supervision, then the columns of _COLLECTED_COLUMNS.
_COLLECTED: tuple[tuple[str, str, tuple[float | None, ...]], ...] = (
    ("DIFT", "", (7.2, 39.7, 52.9, 42.5, 50.3, 46.0, 35.0, 47.4)),
    ("DINOv2-B NN", "", (6.3, 38.4, 53.9, 42.0, 60.9, 57.3, 47.4, 54.9)),
    ("SD+DINOv2", "", (7.9, 44.7, 59.9, 49.3, 62.9, 59.3, 48.3, 59.4)),
    ("Spherical maps", "pose", (8.4, 48.2, 64.4, None, 65.4, 63.1, 51.0, 61.0)),
    ("DIY-SC, orientation model", "no human labels", (9.5, 51.2, 69.6, 65.8, 69.3, 66.8, 54.0, 66.3)),
    ("DIY-SC", "pose", (10.1, 53.8, 71.6, 67.5, 70.6, 69.8, 57.8, 67.9)),
    ("3D-SC", "no human labels", (10.2, 54.8, 73.0, 70.8, 69.6, 68.5, 56.9, 67.3)),
    ("MARCO", "key-points", (27.0, 77.6, 87.2, 87.5, 89.1, 88.3, 83.4, 67.5)),
    ("GeoAware-SC", "key-points", (None, None, 83.2, None, 87.7, 85.9, 78.5, 56.9)),
)
# Data set, setting, alpha, and table.
_COLLECTED_COLUMNS: tuple[tuple[str, str, float, str], ...] = (
    *(("spair-71k", "", alpha, "overall") for alpha in (0.01, 0.05, 0.1)),
    ("spair-71k", "", 0.1, "geo"),
    *(("ap-10k", setting, 0.1, "overall") for setting in ("intra-species", "cross-species", "cross-family")),
    ("spair-u", "", 0.1, "overall"),
)


def _from_table_1(method: str, supervision: str, column: int, value: float) -> Published:
    dataset, alpha = _COLUMNS[column]
    own: Threshold | None = "target-box" if dataset == "spair-71k" else None
    # ASIC's own protocol on CUB says which average and which size; Table 1 prints it beside the others all the same.
    asic_on_cub = (method, dataset) == ("ASIC", "cub-200-2011")
    return Published(
        method=method,
        dataset=dataset,
        alpha=alpha,
        averaging="per point" if asic_on_cub else "per image",
        value=value,
        source=TABLE_1,
        threshold="image" if asic_on_cub else _AUTHORS.get(dataset) if method == _THE_PAPER else own,
        averaging_stated=asic_on_cub or method in (_THE_PAPER, "CATs++"),
        supervision=supervision,
        setting=_CUB_OF.get(method, "") if dataset == "cub-200-2011" else "",
        note="protocol not stated" if dataset == "cub-200-2011" and method not in _CUB_OF else "",
    )


def _later(method: str, averaging: Averaging, value: float, source: str = LATER, *, stated: bool = True) -> Published:
    return Published(
        method=method,
        dataset="spair-71k",
        alpha=0.1,
        averaging=averaging,
        value=value,
        source=source,
        threshold="target-box",
        averaging_stated=stated,
    )


def _collected(method: str, supervision: str, column: int, value: float) -> Published:
    dataset, setting, alpha, by = _COLLECTED_COLUMNS[column]
    return Published(
        method=method,
        dataset=dataset,
        alpha=alpha,
        averaging="per image",
        value=value,
        source=COLLECTED,
        threshold="target-box",
        # The code that the subset was published with measures it per point; the collection calls all of them per image.
        averaging_stated=by != "geo",
        setting=setting,
        by=by,
        supervision=supervision,
    )


PUBLISHED: tuple[Published, ...] = (
    *(
        make(method, supervision, column, value)
        for make, table in ((_from_table_1, _TABLE_1), (_collected, _COLLECTED))
        for method, supervision, figures in table
        for column, value in enumerate(figures)
        if value is not None
    ),
    *(_later(method, "per image", image) for method, image, _ in _LATER if image is not None),
    *(_later(method, "per point", point) for method, _, point in _LATER if point is not None),
    *(_later(method, "per point", value, stated=False) for method, value in _LATER_UNSTATED),
    _later("best supervised", "per image", 88.9, "published later, supervised"),
)
"""Table 1, then the later figures."""


_SPELLINGS: dict[str, str] = {
    **dict.fromkeys(("spair", "spair71k"), "spair-71k"),
    **dict.fromkeys(("pfwillow", "willow"), "pf-willow"),
    **dict.fromkeys(("cub", "cub200", "cub2002011"), "cub-200-2011"),
    "spairu": "spair-u",
    "ap10k": "ap-10k",
}


def quoted(dataset: str, setting: str = "", by: str = "overall") -> tuple[Published, ...]:
    """The figures of a table that belong to a data set and setting, by the names that a run's settings have."""
    name = _SPELLINGS.get("".join(character for character in dataset.lower() if character.isalnum()))
    return tuple(f for f in PUBLISHED if (f.dataset, f.by) == (name, by) and f.setting in ("", setting))
