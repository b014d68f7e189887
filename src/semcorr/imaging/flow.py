"""``Flow``: the positions of a grid of points of one image in another, and its two file formats."""

import contextlib
import dataclasses
import io
import os
import struct
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from semcorr.errors import FlowError, PointError, suggest
from semcorr.imaging.geometry import Size, enlarge, lattice
from semcorr.imaging.image import MAX_MEGAPIXELS
from semcorr.storage.files import is_file, write_atomically

# A .flo file: the float 202021.25, whose bytes read "PIEH"; width and height; then u and v of every pixel, row by row,
# all of four bytes, the least first. Numbers beyond 1e9 mean that the vector is not known.
_HEADER = struct.Struct("<4sii")
_MAGIC = b"PIEH"
_UNKNOWN = 1e10
_UNKNOWN_FROM = 1e9

_VERSION = 1
_FIELDS = ("displacement", "confidence", "source_size", "target_size", "step")
# Bytes of the arrays in an .npz: a displacement and a confidence per pixel, and a little for the rest.
_MAX_BYTES = int(MAX_MEGAPIXELS * 1e6) * 12 + 100_000


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Flow:
    """A dense match: for a grid of points of the source image, the position of each in the target image.

    The grid point in column j, row i is ((j + 0.5) step, (i + 0.5) step) in pixels of the source, so ``step`` 1 is one
    vector per pixel, from its centre. The grid has the points that lie inside the image.

    Attributes:
        displacement: (x, y) of the target point in the target's pixels minus that of the source point in the source's.
            NaN where it is unknown; a vector with one value that is not finite becomes NaN.
        confidence: A number in [0, 1] for each vector, 0 where it is unknown. It is not calibrated.
        source_size, target_size: (width, height) of the two images, in pixels.
        step: Distance between neighbouring grid points, in pixels of the source.
    """

    displacement: Float[np.ndarray, "height width 2"]
    confidence: Float[np.ndarray, "height width"]
    source_size: Size
    target_size: Size
    step: int = 1

    def __post_init__(self) -> None:
        grid = _lattice(self.source_size, self.step)
        if min(self.target_size) < 1:
            raise FlowError(f"target_size must be (width, height) of 1 pixel or more, got {self.target_size}.")
        displacement = np.array(self.displacement, dtype=np.float32)
        confidence = np.array(self.confidence, dtype=np.float32)
        for name, array, expected in (
            ("displacement", displacement, grid.shape),
            ("confidence", confidence, grid.shape[:2]),
        ):
            if array.shape != expected:
                width, height = self.source_size
                raise FlowError(
                    f"{name} must have shape {expected}, for an image of {width} x {height} pixels and a step of "
                    f"{self.step}, got {array.shape}."
                )
        unknown = ~np.isfinite(displacement).all(axis=-1)
        displacement[unknown], confidence[unknown] = np.nan, 0
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise FlowError("confidence must be from 0 to 1 wherever the displacement is known.")
        for name, array in (("displacement", displacement), ("confidence", confidence)):
            array.flags.writeable = False  # private copies: results are immutable, and so must be what they hold
            object.__setattr__(self, name, array)

    @classmethod
    def from_points(
        cls,
        target_points: Float[np.ndarray, "points 2"],
        index: Int[np.ndarray, "points 2"],
        *,
        confidence: Float[np.ndarray, " points"] | None = None,
        source_size: Size,
        target_size: Size,
        step: int = 1,
    ) -> "Flow":
        """Make a flow of the matches of :func:`grid_points`; the other points of the grid are unknown.

        Args:
            target_points: Points in pixels of the target, NaN for a point without a match.
            index: The (row, column) pairs that :func:`grid_points` returned with the source points.
            confidence: Confidence of each point; None means 1.
            source_size: (width, height) of the source in pixels.
            target_size: The same of the target.
            step: Distance between neighbouring grid points, in pixels of the source.

        Raises:
            FlowError: The numbers of points differ, or an index is not on the grid.
        """
        grid = _lattice(source_size, step)
        scores = np.ones(len(target_points)) if confidence is None else confidence
        if not len(target_points) == len(index) == len(scores):
            raise FlowError(
                "Expected a target point and a confidence for each index, got "
                f"{len(target_points)} points, {len(index)} indices and {len(scores)} confidences."
            )
        if not ((index >= 0) & (index < grid.shape[:2])).all():
            raise FlowError(
                f"index must hold (row, column) of a grid of {grid.shape[0]} rows and {grid.shape[1]} columns: "
                "take it from grid_points() with the same size and step."
            )
        rows, columns = index[:, 0], index[:, 1]
        displacement, field = np.full(grid.shape, np.nan), np.zeros(grid.shape[:2])
        displacement[rows, columns] = target_points - grid[rows, columns]
        field[rows, columns] = scores
        return cls(
            displacement=displacement, confidence=field, source_size=source_size, target_size=target_size, step=step
        )

    @property
    def known(self) -> Bool[np.ndarray, "height width"]:
        """Which displacements are known."""
        return ~np.isnan(self.displacement[..., 0])

    def points(self) -> Float[np.ndarray, "height width 2"]:
        """Return the grid points, in pixels of the source."""
        return _lattice(self.source_size, self.step)

    def target_points(self) -> Float[np.ndarray, "height width 2"]:
        """Return the matches of the grid points, in pixels of the target; NaN where unknown."""
        return self.points() + self.displacement

    def dense(self) -> "Flow":
        """Return the flow with one vector for each pixel of the source.

        Bilinear between the known grid points, and constant beyond the outermost. A pixel is known if the nearest grid
        point is.
        """
        if self.step == 1:
            return self
        known = self.known
        values = np.concatenate([self.displacement, self.confidence[..., None], known[..., None]], axis=-1)
        grid = torch.from_numpy(np.where(known[..., None], values, 0).astype(np.float64)).movedim(-1, 0)
        fine = enlarge(grid, self.step, self.source_size)
        covered = enlarge(grid[3:], self.step, self.source_size, nearest=True)[0] > 0
        # The share of unknown neighbours is missing from the sum and from its weight alike.
        mean = (fine[:3] / torch.where(covered, fine[3], torch.nan)).numpy()
        return dataclasses.replace(
            self, displacement=np.moveaxis(mean[:2], 0, -1), confidence=np.clip(mean[2], 0, 1), step=1
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the flow to a file, whole or not at all, and return its path.

        ``.npz`` stores everything. ``.flo``, the format of the Middlebury benchmark, stores only the displacement, one
        per pixel.

        Raises:
            FlowError: The suffix is another, or the flow of a ``.flo`` has a step other than 1.
        """
        file = Path(path)
        if _kind_of(file) == "npz":
            return _write_npz(file, **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
        if self.step != 1:
            raise FlowError(
                f"A .flo file has one vector per pixel, and this flow one for every {self.step}: save dense(), "
                "or save as .npz."
            )
        return _write_flo(file, self.displacement)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Flow":
        """Read a flow that :meth:`save`, or for ``.flo`` any other program, wrote.

        A ``.flo`` file holds no confidence, which becomes 1 where the displacement is known, and no target size, which
        becomes the source's.

        Raises:
            FlowError: The file is missing, broken, or of another kind.
        """
        file = Path(path)
        if _kind_of(file) == "npz":
            fields = _read_npz(file)
            try:
                return cls(**fields)
            except FlowError as error:
                raise FlowError(f"The fields of {str(file)!r} do not fit together: {error} Make it again.") from error
        displacement = _read_flo(file)
        height, width = displacement.shape[:2]
        return cls(
            displacement=displacement,
            confidence=np.ones((height, width)),
            source_size=(width, height),
            target_size=(width, height),
        )


def grid_points(
    size: Size, step: int = 1, mask: Bool[np.ndarray, "height width"] | None = None
) -> tuple[Float[np.ndarray, "points 2"], Int[np.ndarray, "points 2"]]:
    """Return the grid points of a flow, in pixels of the source, and the (row, column) of each on the grid.

    ``mask`` (height, width) has one entry per pixel of the source; only points in pixels where it is true are returned.
    :meth:`Flow.from_points` makes a flow of their matches.

    Raises:
        FlowError: The mask does not have the image's size, or the step is out of range.
        PointError: No grid point is in the mask.
    """
    grid = _lattice(size, step)
    chosen = np.ones(grid.shape[:2], dtype=bool)
    if mask is not None:
        if mask.shape != (size[1], size[0]):
            raise FlowError(f"mask must be (height, width) of the image, {(size[1], size[0])}, got {mask.shape}.")
        columns, rows = np.moveaxis(np.floor(grid).astype(np.int64), -1, 0)
        chosen = mask[rows, columns]
        if not chosen.any():
            raise PointError(
                f"No point of the grid is in the mask: it has {np.count_nonzero(mask)} pixels, and the grid's points "
                f"are {step} pixels apart. Take a smaller step."
            )
    return grid[chosen], np.argwhere(chosen)


def _lattice(size: Size, step: int) -> Float[np.ndarray, "height width 2"]:
    width, height = size
    if width < 1 or height < 1:
        raise FlowError(f"An image has at least 1 x 1 pixels, got {width} x {height}.")
    if not 1 <= step < 2 * min(size):
        raise FlowError(
            f"step must be 1 or more, and for an image of {width} x {height} pixels less than {2 * min(size)}, or "
            f"none of the grid's points lies in it; got {step}."
        )
    return lattice(size, step)


def _kind_of(path: Path) -> Literal["flo", "npz"]:
    """Return the file format of a path's suffix."""
    ending = path.suffix.lower()
    if ending == ".flo":
        return "flo"
    if ending == ".npz":
        return "npz"
    raise FlowError(
        f"A flow is saved in a .flo or an .npz file, got {str(path)!r}.{suggest(ending, ('.flo', '.npz'))} "
        "Use one of these suffixes."
    )


def _write_flo(path: Path, displacement: Float[np.ndarray, "height width 2"]) -> Path:
    """Write one vector per pixel, NaN in the format's own way."""
    height, width = displacement.shape[:2]
    vectors = np.where(np.isnan(displacement), _UNKNOWN, displacement).astype("<f4")
    return write_atomically(path, _HEADER.pack(_MAGIC, width, height) + vectors.tobytes())


def _read_flo(path: Path) -> Float[np.ndarray, "height width 2"]:
    """Read one vector per pixel, NaN where the file marks it as unknown.

    Raises:
        FlowError: The file is missing, is no ``.flo`` file, or its length contradicts its header.
    """
    with _flow_errors(path), path.open("rb") as file:
        length = path.stat().st_size
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_MAGIC):
            raise FlowError(
                f"{str(path)!r} is no .flo file: expected it to start with {_MAGIC!r} and two sizes, got "
                f"{header[:4]!r} in a file of {length} bytes."
            )
        _, width, height = _HEADER.unpack(header)
        _check_size(path, width, height)
        expected = _HEADER.size + width * height * 8
        if length != expected:
            raise FlowError(
                f"{str(path)!r} is too {'short' if length < expected else 'long'}: a flow of {width} x {height} "
                f"pixels takes {expected} bytes, and it has {length}. Copy or make it again."
            )
        vectors = np.frombuffer(file.read(), dtype="<f4").reshape(height, width, 2).astype(np.float32)
    unknown = ~(np.abs(vectors) <= _UNKNOWN_FROM).all(axis=-1)
    vectors[unknown] = np.nan
    return vectors


def _write_npz(path: Path, **fields: Any) -> Path:
    """Write all fields of a flow."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, semcorr=np.array("flow"), version=np.array(_VERSION), **fields)
    return write_atomically(path, buffer.getvalue())


def _read_npz(path: Path) -> dict[str, Any]:
    """Read the fields of a flow.

    Raises:
        FlowError: The file is missing, broken, too large, or of another kind.
    """
    with _flow_errors(path):
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
        if total > _MAX_BYTES:
            raise FlowError(
                f"{str(path)!r} would take {total / 1e6:.0f} megabytes unpacked, more than a flow of "
                f"{MAX_MEGAPIXELS:g} megapixels. It was not unpacked."
            )
        # numpy warns about files of an earlier Python.
        with warnings.catch_warnings(), np.load(path, allow_pickle=False) as archive:
            warnings.simplefilter("ignore")
            arrays = {name: archive[name] for name in archive.files}
        if "semcorr" not in arrays or str(arrays["semcorr"]) != "flow":
            raise FlowError(f"{str(path)!r} is no flow file but another file. Expected one that semcorr saved.")
        if int(arrays["version"]) != _VERSION:
            raise FlowError(
                f"{str(path)!r} has version {arrays['version']} of the flow format, expected {_VERSION}: read it with "
                "the version of semcorr that wrote it, or make it again."
            )
        source, target = (_size(arrays[name]) for name in ("source_size", "target_size"))
        for size in (source, target):
            _check_size(path, *size)
        step = int(arrays["step"])
        # Before a grid takes memory for pixels that the file does not hold.
        if any(
            side > 2 * step * count for side, count in zip(source, arrays["displacement"].shape[1::-1], strict=True)
        ):
            raise ValueError(f"a displacement of shape {arrays['displacement'].shape} for an image of {source}")
        for name in ("displacement", "confidence"):
            if arrays[name].dtype.kind != "f":
                raise ValueError(f"{name} of type {arrays[name].dtype}")
        return {name: arrays[name] for name in _FIELDS} | {
            "source_size": source,
            "target_size": target,
            "step": step,
        }


def _size(array: np.ndarray) -> tuple[int, int]:
    width, height = array.tolist()
    return int(width), int(height)


def _check_size(path: Path, width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > MAX_MEGAPIXELS * 1e6:
        raise FlowError(
            f"{str(path)!r} claims {width} x {height} pixels; expected at least 1 x 1 and at most "
            f"{MAX_MEGAPIXELS:g} megapixels. It is broken; make it again."
        )


@contextlib.contextmanager
def _flow_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a missing or broken file into one that names the file."""
    if not is_file(path):
        raise FlowError(f"There is no flow file {str(path)!r}. Expected a .flo or .npz file.")
    try:
        yield
    except FlowError:
        raise
    except KeyError as error:
        raise FlowError(f"{str(path)!r} is an incomplete flow file: {error} is missing. Make it again.") from error
    except Exception as error:  # A broken archive makes its reader raise all kinds of errors.
        raise FlowError(f"Cannot read the flow file {str(path)!r}: {error}. It is broken; make it again.") from error
