"""Train a collection's network; a training that was stopped continues where it was, with equal results."""

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import NumericsError
from semcorr.matchers.collection import losses
from semcorr.matchers.collection.network import CanonicalNetwork, cell_positions
from semcorr.matchers.collection.prepared import Prepared
from semcorr.matchers.collection.pseudo_matches import PseudoMatches
from semcorr.matchers.collection.settings import CollectionSettings
from semcorr.matchers.seeds import seeded_generator
from semcorr.progress import Progress

_TURN, _SCALE, _SHIFT, _BEND = 0.35, 0.3, 0.25, 0.075
"""Of random transformations: radians, logarithm, and in canonical units the shift and the bend's standard deviation."""

_BENDS = 4
"""Control points of the bend along each side."""

_LOSS = "loss."
"""Before the name of a loss in a checkpoint, which holds what the means at the end are taken over."""

State = dict[str, np.ndarray]


@runtime_checkable
class Checkpoints(Protocol):
    """Where the state of a training is kept."""

    def read(self) -> tuple[int, State] | None:
        """Return how many steps were done, and the state after them; None where there is none."""

    def write(self, done: int, state: State) -> None:
        """Keep a state in place of the one before."""


class Training:
    """A network, the canonical grid where images are reconstructed, and Adam's moments of both.

    Args:
        prepared: The collection.
        settings: Of the training.
    """

    def __init__(self, prepared: Prepared, settings: CollectionSettings) -> None:
        self.prepared, self.settings = prepared, settings
        grid, dim = settings.grid, prepared.features.shape[1]
        self.network = CanonicalNetwork(dim, settings.width)
        self.canonical = torch.nn.Parameter(torch.zeros(dim, grid, grid))
        self._parameters = {**dict(self.network.named_parameters()), "canonical": self.canonical}
        self._initialize(seeded_generator(f"asic|{settings.seed}|network"))
        self._adam = torch.optim.Adam(self._parameters.values(), lr=settings.learning_rate)
        self._usable = [one for one in prepared.matches if len(one.source) > 1]

    def _initialize(self, generator: torch.Generator) -> None:
        """Draw the convolutions' weights as PyTorch does by default, from a generator of our own; biases are 0."""
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
                elif parameter.ndim == 4 and not name.startswith("offset"):
                    bound = 1 / math.sqrt(parameter[0].numel())
                    parameter.uniform_(-bound, bound, generator=generator)
            self.canonical.normal_(0, 0.1, generator=generator)

    def state(self) -> State:
        """Return everything that a further step depends on."""
        result = {name: one.detach().numpy().copy() for name, one in self._parameters.items()}
        for name, parameter in self._parameters.items():
            for kind, value in self._adam.state[parameter].items():
                result[f"adam.{kind}.{name}"] = value.numpy().copy()
        return result

    def restore(self, state: State) -> None:
        """Continue from a state.

        Raises:
            KeyError, ValueError, RuntimeError: It is another network's.
        """
        for name, parameter in self._parameters.items():
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(state[name].copy()))
            self._adam.state[parameter] = {
                kind: torch.from_numpy(state[f"adam.{kind}.{name}"].copy())
                for kind in ("step", "exp_avg", "exp_avg_sq")
                if f"adam.{kind}.{name}" in state
            }

    def step(self, number: int) -> dict[str, float]:
        """Take step ``number``, counted from 0, whose draws depend on the number and the seed alone; return the losses.

        Raises:
            NumericsError: A loss is NaN or infinite.
        """
        settings = self.settings
        generator = seeded_generator(f"asic|{settings.seed}|step {number}")
        drawn = torch.randint(len(self._usable), (settings.image_pairs,), generator=generator).tolist()
        values = self._losses([self._usable[index] for index in drawn], generator)
        weights = {
            "keypoints": settings.keypoint_weight,
            "equivariance": settings.equivariance_weight,
            "smoothness": settings.smoothness_weight,
            "reconstruction": settings.reconstruction_weight,
        }
        total = torch.stack([weights[name] * value for name, value in values.items()]).sum()
        if not torch.isfinite(total):
            raise NumericsError(
                "The loss is NaN or infinite.", "Lower learning_rate by --train learning_rate=0.001.", "float32"
            ).at(f"step {number + 1}")
        for group in self._adam.param_groups:
            group["lr"] = settings.learning_rate * (1 + math.cos(math.pi * number / settings.steps)) / 2
        self._adam.zero_grad()
        total.backward()
        self._adam.step()
        return {name: float(value.detach()) for name, value in values.items()}

    def _losses(self, matches: list[PseudoMatches], generator: torch.Generator) -> dict[str, Tensor]:
        settings = self.settings
        images = [image for one in matches for image in one.images]
        features, inside = self.prepared.features[images], self.prepared.inside[images]
        offsets = self.network(features)
        coordinates = offsets + cell_positions(settings.grid)
        values = {"keypoints": self._keypoints(matches, coordinates, generator)}
        if settings.equivariance_weight:
            values["equivariance"] = self._equivariance(features, coordinates, inside.float(), generator)
        if settings.smoothness_weight:
            values["smoothness"] = losses.total_variation(offsets)
        if settings.reconstruction_weight:
            values["reconstruction"] = losses.reconstruction_loss(self.canonical, coordinates, features, inside)
        return values

    def _keypoints(
        self, matches: list[PseudoMatches], coordinates: Float[Tensor, "batch 2 grid grid"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """The mean of the pairs' losses; those are drawn that lie on the object, as often as its cells are shared."""
        flat, share = coordinates.flatten(2), self.prepared.share.flatten(1)
        inside = self.prepared.inside.flatten(1)
        values = []
        for number, one in enumerate(matches):
            first, second = one.images
            weight = (share[first, one.source] * share[second, one.target]).sqrt()
            weight = weight * (inside[first, one.source] & inside[second, one.target]) + 1e-9
            count = min(self.settings.matches, len(weight))
            drawn = torch.multinomial(weight, count, generator=generator)
            values.append(
                losses.keypoint_loss(
                    flat[2 * number][:, one.source[drawn]].T,
                    flat[2 * number + 1][:, one.target[drawn]].T,
                    self.settings.temperature,
                )
            )
        return torch.stack(values).mean()

    def _equivariance(
        self,
        features: Float[Tensor, "batch dim grid grid"],
        coordinates: Float[Tensor, "batch 2 grid grid"],
        inside: Float[Tensor, "batch grid grid"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """The images' features are moved, in place of images whose features would have to be computed at each step."""
        reads = random_transformations(len(features), self.settings.grid, generator)

        def moved(some: Tensor) -> Tensor:
            return F.grid_sample(some, reads, padding_mode="border", align_corners=False)

        visible = (reads.abs() <= 1).all(dim=-1) * moved(inside[:, None])[:, 0]
        return losses.equivariance_loss(self.network.coordinates(moved(features)), moved(coordinates), visible)


def random_transformations(
    count: int, grid: int, generator: torch.Generator
) -> Float[Tensor, "{count} {grid} {grid} 2"]:
    """Return where each cell of a moved image is read: turned, scaled, shifted and bent smoothly, by random amounts."""
    turn, scale = ((2 * torch.rand(2, count, generator=generator) - 1) * torch.tensor([[_TURN], [_SCALE]])).unbind()
    shift = (2 * torch.rand(count, 2, generator=generator) - 1) * _SHIFT
    cosine, sine = scale.exp() * turn.cos(), scale.exp() * turn.sin()
    affine = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], dim=1).view(count, 2, 3)
    reads = F.affine_grid(affine, [count, 1, grid, grid], align_corners=False)
    controls = torch.randn(count, 2, _BENDS, _BENDS, generator=generator) * _BEND
    bend = F.interpolate(controls, size=(grid, grid), mode="bicubic", align_corners=False)
    return reads + bend.movedim(1, -1)


def train(
    prepared: Prepared,
    settings: CollectionSettings,
    checkpoints: Checkpoints,
    *,
    every: int = 25,
    progress: Progress | None = None,
    restored: Callable[[int], None] = lambda _: None,
) -> tuple[CanonicalNetwork, dict[str, float]]:
    """Train to the end, from the last checkpoint if there is one.

    Args:
        prepared: The collection.
        settings: Of the training.
        checkpoints: Where the state is kept, every so many steps.
        every: Steps between two checkpoints.
        progress: Called as ("train", steps done, in all, the losses by name).
        restored: Called with the number of steps that were done before.

    Returns:
        The network, and the losses' means over the last tenth of the steps.

    Raises:
        NumericsError: A loss is NaN or infinite.
    """
    training = Training(prepared, settings)
    begun = checkpoints.read()
    first, last = 0, settings.steps - max(1, settings.steps // 10)
    history: dict[str, list[float]] = {}
    if begun is not None:
        first, state = begun
        training.restore(state)
        history = {name.removeprefix(_LOSS): state[name].tolist() for name in state if name.startswith(_LOSS)}
        restored(first)
    for number in range(first, settings.steps):
        values = training.step(number)
        if number >= last:
            for name, value in values.items():
                history.setdefault(name, []).append(value)
        if progress is not None:
            progress("train", number + 1, settings.steps, **values)
        if (number + 1) % every == 0:
            losses_so_far = {_LOSS + name: np.array(some) for name, some in history.items()}
            checkpoints.write(number + 1, {**training.state(), **losses_so_far})
    means = {name: float(np.mean(some)) for name, some in history.items()}
    return training.network.eval().requires_grad_(False), means
