"""Nearest neighbours by each of several taps of a diffusion network, all of which are read together.

``semcorr ablate --taps`` runs it. It is loaded by its class, and is no method for users: its matches are those of DIFT,
and where each tap alone would locate the points stands beside them, as the paper's method has it of its layers.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import SettingsError
from semcorr.imaging.image import Image
from semcorr.matchers.base import Capabilities, Tensors
from semcorr.matchers.features.cosine import Similarity, unit, vectors_at
from semcorr.matchers.features.dift import DiftMatcher, clean, published, tap_of
from semcorr.matchers.features.dift_settings import DiftSettings
from semcorr.matchers.features.matcher import find_peaks
from semcorr.matchers.features.tap_maps import tap_maps
from semcorr.matchers.results import Diagnostics, Matches, Query
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.taps import Tap
from semcorr.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class TapComparisonSettings(DiftSettings):
    """DIFT's settings, and which taps are compared.

    Attributes:
        compared: Names of taps, or patterns such as "up/2*".
    """

    compared: tuple[str, ...] = ("*",)


def compared(family: str = "sd2", *, preset: Callable[[str], DiftSettings] = published) -> TapComparisonSettings:
    """All taps, with the settings of one of DIFT's presets."""
    return TapComparisonSettings(**vars(preset(family)))


class TapComparison(DiftMatcher):
    """DIFT, and each tap alone: see :attr:`Matches.diagnostics`.

    Args:
        model: The frozen network.
        settings: Complete settings.

    Raises:
        SettingsError: As :class:`DiftMatcher`; or no tap fits a pattern, or there is a prior.
    """

    method = "tap-comparison"
    settings_type = TapComparisonSettings
    presets = {"published": compared, "clean": partial(compared, preset=clean)}  # noqa: RUF012  # a constant
    capabilities = Capabilities(features=True)

    def __init__(self, model: DiffusionModel, settings: TapComparisonSettings) -> None:
        super().__init__(model, settings)
        if settings.prior != "none":
            raise SettingsError("Setting 'prior': taps are compared without one. Expected 'none'.")
        for pattern in settings.compared:
            if not any(fnmatchcase(tap.name, pattern) for tap in model.network.taps):
                model.network.tap(pattern)  # says what there is
        self.taps = tuple(
            tap for tap in model.network.taps if any(fnmatchcase(tap.name, pattern) for pattern in settings.compared)
        )

    def _maps(
        self, image: Image, settings: DiftSettings, progress: Progress | None
    ) -> Iterator[tuple[Tap, Float[Tensor, "_dim _height _width"]]]:
        """Yield the maps of the taps that are compared, and of DIFT's own."""
        usual = tap_of(self.model, settings)
        taps = self.taps if usual in self.taps else (*self.taps, usual)
        return tap_maps(self.model, image, settings, taps, progress)

    def _describe(
        self, image: Image, points: Float[np.ndarray, "points 2"], progress: Progress | None
    ) -> tuple[Tensors, Tensors]:
        positions = torch.from_numpy(points).float()
        vectors = {
            tap: vectors_at(features, positions, image.size).cpu().numpy()
            for tap, features in self._maps(image, self.settings, progress)
        }
        side_by_side = np.concatenate([vectors[tap] for tap in self.taps], axis=1)
        return {"vectors": vectors[tap_of(self.model, self.settings)], "taps": side_by_side}, {}

    def _locate(
        self,
        query: Query,
        target: Image,
        settings: DiftSettings,
        *,
        trace: bool = False,  # noqa: ARG002  # taps are always traced
        progress: Progress | None = None,
    ) -> Matches:
        usual, vectors = tap_of(self.model, settings), self._vectors(query)
        points: dict[Tap, Tensor] = {}
        for tap, features in self._maps(target, settings, progress):
            if tap in vectors:
                own = unit(torch.from_numpy(vectors[tap]).to(features))
                points[tap], _ = find_peaks(Similarity(features, own), settings, target.size)
            if tap == usual:
                matches = self._matches(query, target, settings, features)
        diagnostics = Diagnostics(
            layer_names=tuple(tap.name for tap in self.taps),
            layer_points=torch.stack([points[tap] for tap in self.taps], dim=1).double().cpu().numpy(),
            round_points=np.zeros((len(query.points), 0, 2)),
        )
        return dataclasses.replace(matches, diagnostics=diagnostics)

    def _vectors(self, query: Query) -> Mapping[Tap, Float[np.ndarray, "points _dim"]]:
        ends = np.cumsum([tap.dim for tap in self.taps])[:-1]
        parts = np.split(np.array(query.tensors["taps"]), ends, axis=1)
        return dict(zip(self.taps, parts, strict=True))
