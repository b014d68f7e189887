"""A trained collection, as method "asic" loads it: what a frozen network is to other methods."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from semcorr.errors import ImageError, ModelError, QueryError, RunError
from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.collection.folder import HEADER, RESULT, read_header, read_result, reduction_of
from semcorr.matchers.collection.network import CanonicalNetwork
from semcorr.matchers.collection.prepared import Reduction, image_features
from semcorr.matchers.collection.settings import CollectionSettings
from semcorr.matchers.spec import MatcherSpec
from semcorr.models.device import Device, DType
from semcorr.models.fingerprint import fingerprint
from semcorr.progress import Progress
from semcorr.storage.files import is_file
from semcorr.storage.safetensors import complete

_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """An image on the canonical grid, cell by cell of the image squashed to a square.

    Attributes:
        coordinates: Canonical (x, y).
        features: The reduced features.
        inside: Whether the cell is the object's.
    """

    coordinates: Float[Tensor, "2 grid grid"]
    features: Float[Tensor, "dim grid grid"]
    inside: Bool[Tensor, "grid grid"]


class Collection:
    """The images of a collection on their canonical grid, and the network that mapped them.

    Attributes:
        model_id: The folder.
        revision: None.
        fingerprint: A hash of the network and of what it was trained from.
        family: "collection".
        dtype, device: float32, on the processor: it is small.
        header: What it was trained from.
    """

    family = "collection"
    revision = None
    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, folder: Path) -> None:
        """Read a folder; :meth:`from_pretrained` is the usual way in."""
        self.model_id, self.header = str(folder), read_header(folder)
        _, arrays = read_result(folder)
        with complete(folder / RESULT, "collection"):
            self._settings = CollectionSettings.from_dict(self.header.identity["settings"])
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            self._coordinates, self._features = tensors["coordinates"], tensors["features"]
            self._inside = tensors["inside"].bool()
            self._reduction: Reduction = reduction_of(arrays)
            self._network = _network(tensors, self._features.shape[1], self._settings.width)
            count, grid = len(self.header.images), self._settings.grid
            for name, channels in (("coordinates", (2,)), ("features", self._features.shape[1:2]), ("inside", ())):
                if tensors[name].shape != (count, *channels, grid, grid):
                    raise ValueError(f"{name} of shape {tuple(tensors[name].shape)} for {count} images in {HEADER}")
        self.fingerprint = fingerprint([self.header.identity], [folder / RESULT])
        self._numbers = {entry.sha256: number for number, entry in enumerate(self.header.images)}

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        revision: str | None = None,
        dtype: DType = "float32",
        device: Device = "auto",  # noqa: ARG003  # any: it is small
        local_files_only: bool = False,  # noqa: ARG003  # it always does
        progress: Progress | None = None,  # noqa: ARG003
    ) -> "Collection":
        """Load the folder that ``semcorr collect`` wrote.

        Args:
            model: The folder.
            revision: A folder has none.
            dtype: "float32".
            device: As other models take it; without effect.
            local_files_only: Likewise.
            progress: Likewise.

        Raises:
            ModelError: There is no finished collection, it is broken, or a revision or half precision is requested.
        """
        folder = Path(model).expanduser()
        if revision is not None or dtype != "float32":
            raise ModelError(f"{model} is a collection: it has no revision, and is loaded in float32.")
        if not is_file(folder / HEADER):
            raise ModelError(
                f"There is no collection in {str(model)!r}. Train one: semcorr collect IMAGES... -o {model}"
            )
        if not is_file(folder / RESULT):
            raise ModelError(f"The training of {str(model)!r} is not finished. The same semcorr collect continues it.")
        try:
            return cls(folder)
        except (QueryError, RunError) as error:
            raise ModelError(str(error)) from error

    @property
    def spread(self) -> float:
        """Standard deviation of the object cells' canonical coordinates."""
        cells = self._coordinates.movedim(1, -1)[self._inside]
        return max(float(cells.std()), 1e-6)

    @property
    def images(self) -> list[tuple[str, Mapped]]:
        """Every image's path and where it is on the grid, in the order of the collection."""
        return [(entry.path, self._of(number)) for number, entry in enumerate(self.header.images)]

    def mapped(self, image: Image, *, new: bool, progress: Progress | None = None) -> Mapped:
        """Return an image on the grid.

        Args:
            image: Any image.
            new: Whether one that is not of the collection is mapped by its features; all of it is object then.
            progress: Called while features are computed.

        Raises:
            ImageError: The image is not of the collection.
            ModelError: The network of the features cannot be loaded.
        """
        number = self._numbers.get(image.sha256)
        if number is not None:
            return self._of(number)
        if not new:
            names = ", ".join(Path(entry.path).name for entry in self.header.images[:_SHOWN])
            more = len(self.header.images) - _SHOWN
            raise ImageError(
                f"{image.name!r} is not an image of the collection {self.model_id!r} ({names}"
                f"{f' and {more} more' if more > 0 else ''}). Train one that has it, or map it by its features alone: "
                "--set new_images=map"
            )
        features = self._reduction(image_features(self._backbone, image, self._settings.grid, progress)[None].cpu())
        with torch.no_grad():
            coordinates = self._network.coordinates(features)[0]
        inside = torch.ones(coordinates.shape[1:], dtype=torch.bool)
        return Mapped(coordinates=coordinates, features=features[0], inside=inside)

    def _of(self, number: int) -> Mapped:
        return Mapped(
            coordinates=self._coordinates[number], features=self._features[number], inside=self._inside[number]
        )

    @cached_property
    def _backbone(self) -> Matcher:
        """The method on features that the collection was trained with.

        Raises:
            ModelError: Its network is not what it was then.
        """
        stored = self.header.features
        matcher = MatcherSpec(**stored).load()
        trained = self.header.identity["features"].get("model_fingerprint")
        if matcher.identity().get("model_fingerprint") != trained:
            raise ModelError(f"{stored['model']!r} is not the network that {self.model_id!r} was trained with.")
        return matcher


def _network(tensors: dict[str, Tensor], dim: int, width: int) -> CanonicalNetwork:
    network = CanonicalNetwork(dim, width)
    state = {name.removeprefix("network."): one for name, one in tensors.items() if name.startswith("network.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return network.eval().requires_grad_(False)
