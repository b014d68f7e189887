"""Discovered key-points: tokens of an optimized context, which show the same parts of every image; and their file."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import QueryError, SettingsError
from semcorr.imaging import heatmaps
from semcorr.imaging.image import ImageSource, load_image
from semcorr.matchers.base import ModelIdentity
from semcorr.matchers.prompt.descent import OptimizerState
from semcorr.matchers.prompt.discovery.optimize import optimize_context
from semcorr.matchers.prompt.discovery.settings import DiscoverySettings, settings_for
from semcorr.matchers.prompt.discovery.tokens import choose_spread, most_local
from semcorr.matchers.prompt.discovery.view_queries import ViewQueries
from semcorr.matchers.prompt.discovery.views import points_in_image
from semcorr.models.diffusion import DiffusionModel
from semcorr.progress import Progress
from semcorr.storage.safetensors import complete, read_tensors, write_tensors

_KIND = "key-point tokens"

_LEAST_IMAGES = 2

_CHOSEN_ON = 60
"""Images, at most, on which tokens are chosen: each costs a pass of the network for each of its views."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KeypointTokens:
    """Key-points without labels: each is the peak of the attention to one token of a context.

    Attributes:
        model: The network that the context belongs to.
        settings: How they were discovered.
        names: Of the key-points.
        tokens: The number of each one's token.
        context: The optimized context.
        deviations: How far each key-point moves against the image when a view of it is read instead, the mean over
            images and views, as a fraction of the frame's side.
    """

    model: ModelIdentity
    settings: DiscoverySettings
    names: tuple[str, ...]
    tokens: tuple[int, ...]
    context: Float[np.ndarray, "1 tokens dim"]
    deviations: Float[np.ndarray, " keypoints"]

    def keep(self, names: Mapping[int, str]) -> "KeypointTokens":
        """Return some of the key-points under other names.

        Args:
            names: The new name of each key-point that is kept, by its number, from 1.

        Raises:
            SettingsError: There is no such key-point, or two have one name.
        """
        if not names:
            raise SettingsError("Expected at least one key-point to keep, got none.")
        for number in names:
            if not 1 <= number <= len(self.tokens):
                raise SettingsError(f"Expected a key-point from 1 to {len(self.tokens)}, got {number}.")
        if len(set(names.values())) < len(names):
            raise SettingsError(f"Expected a name of its own for each key-point, got {', '.join(names.values())}.")
        kept = [number - 1 for number in names]
        return replace(
            self,
            names=tuple(names.values()),
            tokens=tuple(self.tokens[one] for one in kept),
            deviations=self.deviations[kept],
        )

    def locate(
        self, model: DiffusionModel, image: ImageSource
    ) -> tuple[Float[np.ndarray, "keypoints 2"], Float[np.ndarray, " keypoints"]]:
        """Find the key-points in an image.

        Args:
            model: The network that they were discovered with.
            image: The image.

        Returns:
            (x, y) in the image's own pixels, and the confidence in [0, 1]: the mean over views of the image of
            exp(-d^2 / (2 sigma^2)), where d is how far the point moves against the image.

        Raises:
            QueryError: The network is another.
            ImageError: The image cannot be used.
        """
        self.check(model)
        loaded = load_image(image)
        queries = ViewQueries(model, self.settings, lambda _: loaded, [loaded.sha256])
        points, moved = _points(queries, 0, torch.from_numpy(self.context), self.settings)
        chosen = list(self.tokens)
        sigma = self.settings.sigma
        confidence = torch.exp(-(moved[:, chosen] ** 2) / (2 * sigma**2)).mean(dim=0)
        return points[chosen].double().numpy() * loaded.size, confidence.double().numpy()

    def check(self, model: DiffusionModel) -> None:
        """Refuse another network than the one that the key-points were discovered with.

        Raises:
            QueryError: It is another.
        """
        if model.fingerprint != self.model.model_fingerprint:
            raise QueryError(
                f"The key-points were discovered with model {self.model.model_id!r} "
                f"(fingerprint {self.model.model_fingerprint[:12]}), but this is model {model.model_id!r} "
                f"(fingerprint {model.fingerprint[:12]}). Load theirs, or discover them again."
            )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a ``.safetensors`` file, whole or not at all, and return its path.

        Raises:
            OSError: It cannot be written.
        """
        header = {
            "model": self.model.to_dict(),
            "settings": self.settings.to_dict(),
            "names": self.names,
            "tokens": self.tokens,
        }
        return write_tensors(Path(path), _KIND, header, {"context": self.context, "deviations": self.deviations})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "KeypointTokens":
        """Read a file that :meth:`save` wrote.

        Raises:
            QueryError: It is missing, broken, or something else.
        """
        header, arrays = read_tensors(Path(path), _KIND)
        with complete(Path(path), _KIND):
            names, tokens = tuple(map(str, header["names"])), tuple(map(int, header["tokens"]))
            context, deviations = arrays["context"], arrays["deviations"]
            if not context.dtype.kind == deviations.dtype.kind == "f":
                raise ValueError(f"{context.dtype} and {deviations.dtype} in place of real numbers")
            if not len(names) == len(tokens) == len(deviations):
                raise ValueError(f"{len(names)} names and {len(tokens)} tokens")
            if context.ndim != 3 or len(context) != 1 or not all(0 <= token < context.shape[1] for token in tokens):
                raise ValueError(f"a context of shape {context.shape} for tokens {tokens}")
            try:
                settings = DiscoverySettings.from_dict(header["settings"])
            except SettingsError as error:
                raise ValueError(str(error)) from error
            return cls(
                model=ModelIdentity(**header["model"]),
                settings=settings,
                names=names,
                tokens=tokens,
                context=context.astype(np.float32),
                deviations=deviations.astype(np.float64),
            )


def discover_keypoints(
    model: DiffusionModel,
    images: Sequence[ImageSource],
    count: int = 10,
    *,
    state: OptimizerState | None = None,
    save: Callable[[OptimizerState], None] = lambda _: None,
    progress: Progress | None = None,
    **settings: Any,
) -> KeypointTokens:
    """Find key-points that images of one kind have in common, without labels.

    StableKeypoints (Hedlin et al., arXiv 2312.00065): the tokens of one context are optimized over the images, such
    that the attention to each is a small blob and moves with the image under views of it. Each step improves tokens
    that lie far from each other; of the most consistent ones such are chosen in the end. Queries are frozen
    (:mod:`semcorr.matchers.prompt.frozen_queries`), where the authors' code runs the network under the context.

    Args:
        model: The frozen network.
        images: The images. Each is read more than once: name files where there are many.
        count: How many key-points.
        state: Where an earlier call was stopped.
        save: Called with the state of the optimization now and then.
        progress: Called as ``("optimize", steps done, steps in all, loss=...)`` and ``("choose", images done, images in
            all)``; raise from it to stop.
        **settings: What differs from the settings of the model's family (:func:`settings_for`).

    Raises:
        SettingsError: A setting is unknown or does not fit, there are fewer tokens than key-points, or fewer than 2
            different images.
        ImageError: An image cannot be used.
        NumericsError: A loss, a gradient or the context is not finite.
    """
    how = settings_for(model.family, **settings)
    hashes = [load_image(image).sha256 for image in images]
    check_request(model, hashes, count)
    queries = ViewQueries(model, how, lambda number: load_image(images[number]), hashes)
    context = optimize_context(queries, how, count, images=len(images), state=state, save=save, progress=progress)
    tokens, deviations = _choose(queries, context, how, count, progress)
    return KeypointTokens(
        model=ModelIdentity.of(model),
        settings=how,
        names=tuple(f"point-{number}" for number in range(1, count + 1)),
        tokens=tuple(tokens),
        context=context.cpu().numpy(),
        deviations=deviations,
    )


def check_request(model: DiffusionModel, hashes: Sequence[str], count: int) -> None:
    """Refuse what :func:`discover_keypoints` cannot do, before anything slow begins.

    Args:
        model: The frozen network.
        hashes: The SHA-256 of each image's content.
        count: How many key-points.

    Raises:
        SettingsError: There are fewer tokens than key-points, or fewer than 2 different images; or the network has no
            frozen queries.
    """
    model.check_frozen_queries()
    if not 1 <= count < model.context_tokens:
        raise SettingsError(
            f"Expected from 1 to {model.context_tokens - 1} key-points (a context of {model.model_id!r} has "
            f"{model.context_tokens} tokens), got {count}."
        )
    different = len(set(hashes))
    if different < _LEAST_IMAGES:
        raise SettingsError(
            f"Expected at least {_LEAST_IMAGES} different images, got {different}: key-points are what images have in "
            "common. 50 and more are better."
        )


@torch.no_grad()
def _points(
    queries: ViewQueries, image: int, context: Float[Tensor, "1 tokens dim"], settings: DiscoverySettings
) -> tuple[Float[Tensor, "tokens 2"], Float[Tensor, "views tokens"]]:
    """Every token's point in an image, and how far that of each view is from it; as fractions of the frame."""
    context = context.to(queries.model.device)
    points = heatmaps.peak(queries.maps([image], 0, context)).cpu() / queries.side
    moved = []
    for view in range(1, settings.views):
        of_view = heatmaps.peak(queries.maps([image], view, context)).cpu() / queries.side
        moved.append((points_in_image(of_view, queries.matrices([image], view)) - points).norm(dim=-1)[0])
    return points[0], torch.stack(moved)


def _choose(
    queries: ViewQueries,
    context: Float[Tensor, "1 tokens dim"],
    settings: DiscoverySettings,
    count: int,
    progress: Progress | None,
) -> tuple[list[int], Float[np.ndarray, " keypoints"]]:
    images = min(len(queries), _CHOSEN_ON)
    points, moved = [], []
    for number in range(images):
        of_image, far = _points(queries, number, context, settings)
        points.append(of_image)
        moved.append(far.mean(dim=0))
        if progress is not None:
            progress("choose", number + 1, images)
    deviations = torch.stack(moved).mean(dim=0)
    candidates = most_local(deviations, round(settings.candidates * count))
    tokens = choose_spread(torch.stack(points), deviations, count, candidates)
    return tokens, deviations[tokens].double().numpy()
