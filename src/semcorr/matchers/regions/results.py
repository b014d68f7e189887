"""Region queries, which describe the regions of a few images, and regions: the same in another image."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from semcorr.imaging.label_map import LabelMap
from semcorr.storage.safetensors import complete, read_tensors, warnings_of, write_tensors

_TENSOR = "tensor."
_HEADER = (
    "method",
    "model_id",
    "model_revision",
    "model_fingerprint",
    "settings",
    "region_settings",
    "names",
    "image_sha256",
    "warnings",
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RegionQuery:
    """Regions of a few images, described so that a method can find them in others.

    Attributes:
        method: Name of the method that made it.
        model_id, model_revision, model_fingerprint: The network it belongs to.
        settings: The method's complete settings, as JSON holds them.
        region_settings: The :class:`semcorr.matchers.regions.settings.RegionSettings`, likewise.
        names: The name of each label, in the order in which the method counts them.
        image_sha256: Hash of each example image's content.
        tensors: What the method keeps.
        warnings: What users should know of how it was made.
    """

    method: str
    model_id: str
    model_revision: str | None
    model_fingerprint: str
    settings: Mapping[str, Any]
    region_settings: Mapping[str, Any]
    names: Mapping[int, str]
    image_sha256: tuple[str, ...]
    tensors: Mapping[str, np.ndarray]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", {name: _read_only(value) for name, value in self.tensors.items()})

    def __repr__(self) -> str:
        count = len(self.image_sha256)
        regions = ", ".join(self.names.values())
        return f"<RegionQuery of {self.method} on {self.model_id}: {regions} from {count} image{'s' * (count > 1)}>"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a ``.safetensors`` file, whole or not at all, and return its path."""
        header = {name: getattr(self, name) for name in _HEADER}
        arrays = {_TENSOR + name: value for name, value in self.tensors.items()}
        return write_tensors(Path(path), "region query", header, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "RegionQuery":
        """Read one that :meth:`save` wrote.

        Raises:
            QueryError: The file is missing, broken, or something else.
        """
        header, arrays = read_tensors(Path(path), "region query")
        with complete(Path(path), "region query"):
            return cls(
                method=str(header["method"]),
                model_id=str(header["model_id"]),
                model_revision=None if header["model_revision"] is None else str(header["model_revision"]),
                model_fingerprint=str(header["model_fingerprint"]),
                settings=dict(header["settings"]),
                region_settings=dict(header["region_settings"]),
                names=_names(header["names"]),
                image_sha256=tuple(map(str, header["image_sha256"])),
                tensors={name.removeprefix(_TENSOR): value for name, value in arrays.items()},
                warnings=warnings_of(header),
            )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """Where the regions of the examples are in one target image.

    Attributes:
        labels: For each pixel of the target the label of its region, or 0 for the background.
        names: The name of each label that was looked for, whether it is there or not.
        pixel_confidence: For each pixel the share of its label in the scores of all, in [0, 1]; to sort by, not a
            probability.
        image_size, image_sha256: The target's (width, height) and the hash of its content.
        warnings: What users should know of how they were found.
    """

    labels: UInt8[np.ndarray, "height width"]
    names: Mapping[int, str]
    pixel_confidence: Float[np.ndarray, "height width"]
    image_size: tuple[int, int]
    image_sha256: str
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in (("labels", np.uint8), ("pixel_confidence", np.float32)):
            array = _read_only(getattr(self, name).astype(kind))
            if array.shape != self.image_size[::-1]:
                raise ValueError(f"{name} of shape {array.shape} for an image of {self.image_size}")
            object.__setattr__(self, name, array)

    def __repr__(self) -> str:
        width, height = self.image_size
        texts = [f"{self.names.get(label, label)} {value:.2f}" for label, value in self.confidence.items()]
        return f"<Regions in an image of {width} × {height}: {', '.join(texts) or 'none'}>"

    @property
    def confidence(self) -> dict[int, float]:
        """The confidence of each region that is there: the mean over its pixels."""
        present = np.unique(self.labels[self.labels > 0]).tolist()
        return {label: float(self.pixel_confidence[self.labels == label].mean()) for label in present}

    def mask(self, label: int | str) -> Bool[np.ndarray, "height width"]:
        """The pixels of one region, by its label or its name; none where it is not there.

        Raises:
            KeyError: No such region was looked for.
        """
        labels = {name: number for number, name in self.names.items()}
        number = labels[label] if isinstance(label, str) else label
        if number not in self.names:
            raise KeyError(label)
        return self.labels == number

    def label_map(self) -> LabelMap:
        """The regions as a label map, which can be saved as a PNG and be an example itself."""
        return LabelMap(labels=self.labels, names=self.names)

    def to_dict(self) -> dict[str, Any]:
        """The regions that are there, without their pixels, for JSON."""
        return {
            "image_size": list(self.image_size),
            "image_sha256": self.image_sha256,
            "warnings": list(self.warnings),
            "regions": [
                {
                    "label": label,
                    "name": self.names[label],
                    "pixels": int((self.labels == label).sum()),
                    "confidence": round(value, 4),
                }
                for label, value in self.confidence.items()
            ],
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the regions to a ``.safetensors`` file, whole or not at all, and return its path."""
        header = {name: getattr(self, name) for name in ("names", "image_size", "image_sha256", "warnings")}
        arrays = {"labels": self.labels, "pixel_confidence": self.pixel_confidence}
        return write_tensors(Path(path), "regions", header, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Regions":
        """Read regions that :meth:`save` wrote.

        Raises:
            QueryError: The file is missing, broken, or something else.
        """
        header, arrays = read_tensors(Path(path), "regions")
        with complete(Path(path), "regions"):
            width, height = header["image_size"]
            names = _names(header["names"])
            if not np.isin(arrays["labels"], (0, *names)).all():
                raise ValueError("labels without a name")
            if not np.isfinite(arrays["pixel_confidence"]).all():
                raise ValueError("a confidence that is NaN or infinite")
            return cls(
                labels=arrays["labels"],
                names=names,
                pixel_confidence=arrays["pixel_confidence"],
                image_size=(int(width), int(height)),
                image_sha256=str(header["image_sha256"]),
                warnings=warnings_of(header),
            )


def _names(names: Mapping[str, str]) -> dict[int, str]:
    """Names by label; JSON has labels as texts.

    Raises:
        ValueError: A label is none.
    """
    result = {int(label): str(name) for label, name in names.items()}
    if not all(1 <= label <= 255 for label in result):
        raise ValueError(f"labels from 1 to 255, got {', '.join(map(str, result)):.40}")
    return result


def _read_only(array: np.ndarray) -> np.ndarray:
    result = np.array(array, order="C")
    result.flags.writeable = False
    return result
