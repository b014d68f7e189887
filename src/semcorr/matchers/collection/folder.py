"""The folder of a collection: what it was trained from, its training under way, and the result.

::

    collection.json            what results depend on, and the images' paths
    prepared.safetensors       features and pseudo-correspondences, until the training is finished
    training.safetensors       the last checkpoint, likewise
    collection.safetensors     the network, and every image's canonical coordinates; there when it is finished
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from semcorr.errors import QueryError, RunError
from semcorr.matchers.collection.prepared import Prepared, Reduction
from semcorr.matchers.collection.pseudo_matches import PseudoMatches
from semcorr.matchers.collection.train import State
from semcorr.models.names import COLLECTION_HEADER
from semcorr.storage import record_store
from semcorr.storage.files import is_file, write_atomically
from semcorr.storage.record_store import Shard
from semcorr.storage.safetensors import complete, read_tensors, write_tensors

HEADER, RESULT = COLLECTION_HEADER, "collection.safetensors"
_PREPARED, _TRAINING = "prepared.safetensors", "training.safetensors"
_KIND = "collection"


class ImageEntry(BaseModel):
    """An image of a collection: its path when it was trained, and the hash of its pixels."""

    path: str
    sha256: str
    size: tuple[int, int]


class Header(BaseModel):
    """What ``collection.json`` holds.

    Attributes:
        key: Hash of ``identity``.
        identity: All that results depend on: the features' method and network, the settings, images and masks.
        features: What the features are loaded by: method, model, preset and options.
        images: The images.
    """

    key: str
    identity: dict[str, Any]
    features: dict[str, Any]
    images: list[ImageEntry]


def read_header(folder: Path) -> Header:
    """Read what a collection was trained from.

    Raises:
        RunError: It is broken or missing.
    """
    return record_store.read_header(folder / HEADER, Header, "Train the collection again with semcorr collect.")


class CollectionFolder:
    """A collection's training on the disk.

    Args:
        path: Made if it is not there.
        identity: All that results depend on; a folder of another identity is refused.
        features: What the features are loaded by.
        images: The images.

    Raises:
        RunError: The folder is another collection's, holds other files, or cannot be written.
    """

    def __init__(
        self, path: Path, identity: Mapping[str, Any], features: Mapping[str, Any], images: Sequence[ImageEntry]
    ) -> None:
        self.path = path
        current = json.loads(json.dumps(identity))  # as it will be read again
        with record_store.writing(path):
            path.mkdir(parents=True, exist_ok=True)
            others = [one.name for one in path.glob("[!.]*") if one.name != HEADER]
        if others and not is_file(path / HEADER):
            raise RunError(f"{str(path)!r} holds other files, such as {sorted(others)[0]!r}. Name a new folder by -o.")
        if not others:  # nothing was prepared, perhaps because images were refused
            header = Header(
                key=record_store.settings_hash(current), identity=current, features=dict(features), images=list(images)
            )
            with record_store.writing(path):
                write_atomically(path / HEADER, (header.model_dump_json(indent=2) + "\n").encode())
        differences = record_store.differences(read_header(path).identity, current)
        if differences:
            raise RunError(
                f"{str(path)!r} holds a collection of other images or with other settings ({differences:.400}). "
                "Name another -o, or delete that folder."
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process from training the same collection; see :func:`record_store.locked`."""
        with record_store.locked(self.path, Shard()):
            yield

    @property
    def finished(self) -> bool:
        """Whether the result is there."""
        return is_file(self.path / RESULT)

    def read_prepared(self) -> Prepared | None:
        """Return what was prepared before; None where nothing was, or where it is broken."""
        with contextlib.suppress(QueryError):
            _, arrays = read_tensors(self.path / _PREPARED, f"{_KIND} preparation")
            with complete(self.path / _PREPARED, f"{_KIND} preparation"):
                return _prepared(arrays)
        return None

    def write_prepared(self, prepared: Prepared) -> None:
        """Keep what was prepared.

        Raises:
            RunError: The disk is full.
        """
        matches = prepared.matches
        arrays = {
            **common_arrays(prepared),
            "share": prepared.share.numpy(),
            "images": np.array([one.images for one in matches], dtype=np.int64),
            "counts": np.array([len(one.source) for one in matches], dtype=np.int64),
            "source": torch.cat([one.source for one in matches]).numpy(),
            "target": torch.cat([one.target for one in matches]).numpy(),
        }
        self._write(_PREPARED, f"{_KIND} preparation", {}, arrays)

    def read(self) -> tuple[int, State] | None:
        """Return the last checkpoint; see :class:`semcorr.matchers.collection.train.Checkpoints`."""
        with contextlib.suppress(QueryError):
            header, arrays = read_tensors(self.path / _TRAINING, f"{_KIND} training")
            with complete(self.path / _TRAINING, f"{_KIND} training"):
                return int(header["done"]), arrays
        return None

    def write(self, done: int, state: State) -> None:
        """Keep a checkpoint in place of the one before.

        Raises:
            RunError: The disk is full.
        """
        self._write(_TRAINING, f"{_KIND} training", {"done": done}, state)

    def finish(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Write the result, and delete what only the training needs.

        Raises:
            RunError: The disk is full.
        """
        self._write(RESULT, _KIND, header, arrays)
        for name in (_PREPARED, _TRAINING):
            (self.path / name).unlink(missing_ok=True)

    def _write(self, name: str, kind: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        with record_store.writing(self.path):
            write_tensors(self.path / name, kind, header, arrays)


def read_result(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the arrays that :meth:`CollectionFolder.finish` wrote.

    Raises:
        QueryError: They are missing or broken.
    """
    return read_tensors(folder / RESULT, _KIND)


def common_arrays(prepared: Prepared) -> dict[str, np.ndarray]:
    """Return what both the preparation and the result hold."""
    return {
        "features": prepared.features.numpy(),
        "inside": prepared.inside.numpy(),
        "mean": prepared.reduction.mean.numpy(),
        "components": prepared.reduction.components.numpy(),
    }


def reduction_of(arrays: Mapping[str, np.ndarray]) -> Reduction:
    """Return how features are reduced, of either file."""
    return Reduction(mean=torch.from_numpy(arrays["mean"]), components=torch.from_numpy(arrays["components"]))


def _prepared(arrays: Mapping[str, np.ndarray]) -> Prepared:
    counts = arrays["counts"].tolist()
    cells = [torch.from_numpy(arrays[name]).split(counts) for name in ("source", "target")]
    matches = [
        PseudoMatches(images=(int(first), int(second)), source=source, target=target)
        for (first, second), source, target in zip(arrays["images"], *cells, strict=True)
    ]
    return Prepared(
        features=torch.from_numpy(arrays["features"]),
        reduction=reduction_of(arrays),
        matches=matches,
        share=torch.from_numpy(arrays["share"]),
        inside=torch.from_numpy(arrays["inside"]),
    )
