"""Where random numbers come from: one stream for each (stage, point, round), seeded or recorded.

A row's stream is made anew each time it is asked for, so a row that has to be run again (a smaller batch after memory
ran out) sees the same draws, and nothing depends on the order in which rows are run.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.crops import CropRange
from semcorr.matchers.seeds import seeded_generator

NoiseKind = Literal["gaussian", "uniform"]
Stage = Literal["learn", "locate"]


@runtime_checkable
class RandomStream(Protocol):
    """The draws of one row in the order they are made: the embedding, then crop and noise by turns.

    Where crops are shared by an image's rows, an image has a stream too: of places, and with frozen queries of noise.
    """

    def embedding(self, tokens: int, dim: int) -> Float[Tensor, "tokens dim"]:
        """The embedding that learning starts from."""
        ...

    def crop(self, allowed: CropRange) -> Crop:
        """The next crop."""
        ...

    def noise(self, shape: Sequence[int], kind: NoiseKind) -> Float[Tensor, "..."]:
        """The noise that goes with that crop, on the CPU in float32."""
        ...

    def place(self) -> tuple[float, float]:
        """The next shared crop's place, across and down, each in [0, 1) of what is allowed."""
        ...

    def pick(self, count: int) -> int:
        """Which of ``count`` shared crops is next."""
        ...


@runtime_checkable
class RandomStreams(Protocol):
    """Makes the stream of a row: ``point`` and ``round_`` count from 0."""

    def learning(self, point: int, round_: int) -> RandomStream:
        """The stream of a row that is being learned."""
        ...

    def locating(self, point: int, round_: int) -> RandomStream:
        """The stream of a row that is being located."""
        ...

    def shared(self, stage: Stage) -> RandomStream:
        """The stream of what all rows of an image share."""
        ...


class SeededStreams:
    """Draws that follow from the seed, the image's content, the point and the round, and nothing else.

    ``points`` are the query points in their source image's pixels; ``image_sha256`` is the hash of the image that is
    being read: the source while learning, the target while locating.
    """

    def __init__(self, seed: int, image_sha256: str, points: Float[np.ndarray, "points 2"]) -> None:
        self._seed = seed
        self._image = image_sha256
        self._points = np.ascontiguousarray(points, dtype="<f8")

    def learning(self, point: int, round_: int) -> "SeededStream":
        """The stream of a row that is being learned, from its start."""
        return self._stream("learn", point, round_)

    def locating(self, point: int, round_: int) -> "SeededStream":
        """The stream of a row that is being located, from its start."""
        return self._stream("locate", point, round_)

    def shared(self, stage: Stage) -> "SeededStream":
        """The stream of what all rows of an image share, from its start."""
        return self._seeded(f"shared-{stage}|{self._seed}|{self._image}".encode())

    def _stream(self, stage: str, point: int, round_: int) -> "SeededStream":
        key = f"{stage}|{self._seed}|{self._image}|{round_}|".encode() + self._points[point].tobytes()
        return self._seeded(key)

    def _seeded(self, key: bytes) -> "SeededStream":
        return SeededStream(seeded_generator(key))


class SeededStream:
    """One row's draws from one CPU generator; the device a model runs on does not change them."""

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

    def place(self) -> tuple[float, float]:
        """Uniform in the unit square."""
        across, down = torch.rand(2, generator=self._generator, dtype=torch.float64).tolist()
        return across, down

    def pick(self, count: int) -> int:
        """Each with equal chance."""
        return int(torch.randint(count, (), generator=self._generator))


class RecordedStreams:
    """Draws that were recorded elsewhere, fed back in the order in which they were made.

    For each point: for each round ``steps`` learning draws; then for each round ``locate_crops`` locating draws. A draw
    is a crop and a noise. Crops that the rule of :func:`semcorr.matchers.prompt.crops.crop_range` does not allow are
    used all the same, and their numbers are put into :attr:`outside`.

    Args:
        embeddings: starting embeddings, point-major.
        crops: left, top, width, height of every crop in model-frame pixels.
        noise: the noise of every draw.
        rounds, steps, locate_crops: how the draws are divided.
    """

    def __init__(
        self,
        *,
        embeddings: Float[Tensor, "rows tokens dim"],
        crops: Int[np.ndarray, "draws 4"],
        noise: Float[Tensor, "draws channels height width"],
        rounds: int,
        steps: int,
        locate_crops: int,
    ) -> None:
        self._embeddings, self._crops, self._noise = embeddings, crops, noise
        self._rounds, self._steps, self._locate_crops = rounds, steps, locate_crops
        self.outside: set[int] = set()

    def learning(self, point: int, round_: int) -> "RecordedStream":
        """The stream of a row that is being learned, from its start."""
        return RecordedStream(self, self._embeddings[point * self._rounds + round_], self._first(point, round_, False))

    def locating(self, point: int, round_: int) -> "RecordedStream":
        """The stream of a row that is being located, from its start."""
        return RecordedStream(self, self._embeddings[point * self._rounds + round_], self._first(point, round_, True))

    def shared(self, stage: Stage) -> "RecordedStream":  # noqa: ARG002  # as RandomStreams has it
        """There is none: ``ValueError``."""
        raise ValueError("A record holds a fresh crop for every step, and none that are shared.")

    def _first(self, point: int, round_: int, locating: bool) -> int:
        first = point * self._rounds * (self._steps + self._locate_crops)
        if locating:
            return first + self._rounds * self._steps + round_ * self._locate_crops
        return first + round_ * self._steps

    def draw(self, number: int) -> tuple[Crop, Float[Tensor, "channels height width"]]:
        """One recorded draw."""
        left, top, width, height = self._crops[number].tolist()
        return Crop(left=left, top=top, width=width, height=height), self._noise[number]


class RecordedStream:
    """One row of :class:`RecordedStreams`."""

    def __init__(self, record: RecordedStreams, embedding: Float[Tensor, "tokens dim"], first: int) -> None:
        self._record, self._embedding, self._next = record, embedding, first

    def embedding(self, tokens: int, dim: int) -> Float[Tensor, "tokens dim"]:
        """The recorded start."""
        if self._embedding.shape != (tokens, dim):
            raise ValueError(f"The record holds embeddings {tuple(self._embedding.shape)}, not {(tokens, dim)}.")
        return self._embedding.clone()

    def crop(self, allowed: CropRange) -> Crop:
        """The recorded crop, noted as outside if the rule does not allow it."""
        crop, _ = self._record.draw(self._next)
        if not allowed.contains(crop):
            self._record.outside.add(self._next)
        return crop

    def noise(self, shape: Sequence[int], kind: NoiseKind) -> Float[Tensor, "..."]:  # noqa: ARG002  # as recorded
        """The recorded noise; it ends the draw."""
        _, noise = self._record.draw(self._next)
        if noise.shape != tuple(shape):
            raise ValueError(f"The record holds noise {tuple(noise.shape)}, not {tuple(shape)}.")
        self._next += 1
        return noise

    def place(self) -> tuple[float, float]:
        """There is none: ``ValueError``."""
        raise ValueError("A record holds no shared crops.")

    def pick(self, count: int) -> int:  # noqa: ARG002  # as RandomStream has it
        """There is none: ``ValueError``."""
        raise ValueError("A record holds no shared crops.")
