"""Random numbers of the method: one stream for each (stage, point, round).

A row's stream is made anew each time it is asked for, so a row that has to run again (in a smaller batch, after memory
ran out) sees the same draws, and nothing depends on the order in which rows run.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.crops import CropRange
from semcorr.matchers.seeds import seeded_generator

NoiseKind = Literal["gaussian", "uniform"]
Stage = Literal["optimize", "locate"]

_SEED_TEXTS: dict[Stage, str] = {"optimize": "learn", "locate": "locate"}
"""What seeds are hashed from: results would change with them, so they keep the names of version 0.1."""


@runtime_checkable
class RandomStream(Protocol):
    """The draws of one row in the order they are made: the embedding, then crop and noise by turns.

    Where the rows of an image share their crops, the image has a stream too: of crop positions and of their noise.
    """

    def embedding(self, tokens: int, dim: int) -> Float[Tensor, "tokens dim"]:
        """The embedding that the optimization starts from."""
        ...

    def crop(self, allowed: CropRange) -> Crop:
        """The next crop."""
        ...

    def noise(self, shape: Sequence[int], kind: NoiseKind) -> Float[Tensor, "..."]:
        """The noise that goes with that crop, on the CPU in float32."""
        ...

    def position(self) -> tuple[float, float]:
        """The next shared crop's position, across and down, each in [0, 1) of the allowed range."""
        ...

    def pick(self, count: int) -> int:
        """Which of ``count`` shared crops is next."""
        ...


@runtime_checkable
class RandomStreams(Protocol):
    """Makes the stream of a row: ``point`` and ``round_`` count from 0."""

    def optimizing(self, point: int, round_: int) -> RandomStream:
        """The stream of a row whose embedding is optimized."""
        ...

    def locating(self, point: int, round_: int) -> RandomStream:
        """The stream of a row that is located."""
        ...

    def shared(self, stage: Stage) -> RandomStream:
        """The stream of what all rows of an image share."""
        ...


class SeededStreams:
    """Draws that follow from the seed, the image's content, the point and the round, and nothing else.

    Args:
        seed: The setting of that name.
        image_sha256: Hash of the image that is read: the source while optimizing, the target while locating.
        points: The query points in their source image's pixels.
    """

    def __init__(self, seed: int, image_sha256: str, points: Float[np.ndarray, "points 2"]) -> None:
        self._seed = seed
        self._image = image_sha256
        self._points = np.ascontiguousarray(points, dtype="<f8")

    def optimizing(self, point: int, round_: int) -> "SeededStream":
        """The stream of a row whose embedding is optimized, from its start."""
        return self._stream("optimize", point, round_)

    def locating(self, point: int, round_: int) -> "SeededStream":
        """The stream of a row that is located, from its start."""
        return self._stream("locate", point, round_)

    def shared(self, stage: Stage) -> "SeededStream":
        """The stream of what all rows of an image share, from its start."""
        return SeededStream(seeded_generator(f"shared-{_SEED_TEXTS[stage]}|{self._seed}|{self._image}"))

    def _stream(self, stage: Stage, point: int, round_: int) -> "SeededStream":
        key = f"{_SEED_TEXTS[stage]}|{self._seed}|{self._image}|{round_}|".encode() + self._points[point].tobytes()
        return SeededStream(seeded_generator(key))


class SeededStream:
    """One row's draws from one generator on the CPU; the device a model runs on does not change them."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def embedding(self, tokens: int, dim: int) -> Float[Tensor, "tokens dim"]:
        """Standard normal numbers (paper section 3.3: random initialisation)."""
        return torch.randn(tokens, dim, generator=self._generator)

    def crop(self, allowed: CropRange) -> Crop:
        """A crop with equal chance for every allowed position."""
        left = torch.randint(allowed.left_min, allowed.left_max + 1, (), generator=self._generator)
        top = torch.randint(allowed.top_min, allowed.top_max + 1, (), generator=self._generator)
        return allowed.crop(int(left), int(top))

    def noise(self, shape: Sequence[int], kind: NoiseKind) -> Float[Tensor, "..."]:
        """Standard normal numbers, or uniform ones in [0, 1)."""
        draw = torch.randn if kind == "gaussian" else torch.rand
        return draw(tuple(shape), generator=self._generator)

    def position(self) -> tuple[float, float]:
        """Uniform in the unit square."""
        across, down = torch.rand(2, generator=self._generator, dtype=torch.float64).tolist()
        return across, down

    def pick(self, count: int) -> int:
        """Each with equal chance."""
        return int(torch.randint(count, (), generator=self._generator))
