"""The figures that commands write: their file names, and those of a match that are drawn on request."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from semcorr.cli import console
from semcorr.errors import SettingsError
from semcorr.matchers.spec import MatcherSpec

if TYPE_CHECKING:
    import numpy as np

    from semcorr.imaging.image import Image
    from semcorr.matchers.base import Matcher
    from semcorr.matchers.results import Matches, Query
    from semcorr.models.diffusion import DiffusionModel

_KEPT_SIDE = 128
"""Heat maps kept for the figure of all targets have at most this side: it shows them no larger, and there may be
hundreds of targets."""


class FigureNames:
    """Names one file for each target, so that no figure of a run overwrites another."""

    def __init__(self, folder: Path, source: str) -> None:
        self._folder = folder
        self._source = Path(source).stem
        self._taken: set[str] = set()

    def __call__(self, target: str) -> Path:
        """Return the path of ``target``'s figure: source and target by name, numbered where names repeat."""
        stem = f"{self._source}-to-{Path(target).stem}"
        name, count = stem, 1
        # Some file systems take A.png and a.png for one file.
        while name.casefold() in self._taken:
            count += 1
            name = f"{stem}-{count}"
        self._taken.add(name.casefold())
        return self._folder / f"{name}.png"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """Which figures are drawn beside the match of each target.

    Attributes:
        layers: One for each target: the heat maps of every layer.
        all_targets: One for all targets, as the paper's Figure 1.
    """

    layers: bool = False
    all_targets: bool = False

    def check(self, spec: MatcherSpec) -> None:
        """Refuse, before anything slow begins, what the method cannot show.

        Raises:
            SettingsError: The method has no attention maps, or they would be those of a mirror image.
        """
        if self.layers and not spec.capabilities().layer_heatmaps:
            raise SettingsError(
                f"--layers shows the attention of each layer, which {spec.method!r} does not read. Use --method "
                "prompt or attention-dift, or leave --layers out."
            )
        if self.layers and spec.options.get("align_pose"):
            raise SettingsError(
                "With --align-pose the maps may be those of a mirror image. Leave it out, or leave --layers out."
            )


@dataclasses.dataclass(kw_only=True)
class MatchFigures:
    """Draws the requested figures as the targets are done.

    Attributes:
        options: Which figures.
        matcher: Located the points.
        query: The points.
        source: The image that they are in.
        names: Names the files.
    """

    options: FigureOptions
    matcher: "Matcher"
    query: "Query"
    source: "Image"
    names: FigureNames
    _done: list[tuple[str, "Matches"]] = dataclasses.field(default_factory=list)

    def layer_heatmaps(self, image: "Image") -> "np.ndarray | None":
        """Return each layer's heat maps of each point in a target, (points, layers, height, width), if requested."""
        if not self.options.layers:
            return None
        with console.TerminalProgress() as progress:
            return self.matcher.layer_heatmaps(self.query, image, progress=progress)

    def of(self, target: str, image: "Image", matches: "Matches", layers: "np.ndarray | None") -> dict[str, str]:
        """Write the figures of one target, and return their paths by what they show.

        Args:
            target: The target's path.
            image: The target.
            matches: The matches in it.
            layers: What :meth:`layer_heatmaps` returned for it.
        """
        from semcorr.imaging.image import save_image

        if self.options.all_targets:
            self._done.append((target, _reduced(matches)))
        if layers is None:
            return {}
        from semcorr.visualization.heatmap_grids import layer_grid

        path = self.names(f"{Path(target).stem}-layers")
        sides = _sides(self.matcher.model, self.query, matches)
        save_image(layer_grid(image, matches, layers, sides=sides), path)
        return {"layers": str(path)}

    def of_all(self) -> str | None:
        """Write the figure of all targets, if it is requested and there are any, and return its path."""
        from semcorr.imaging.image import save_image
        from semcorr.visualization.paper_figures import one_to_many

        if not self._done:
            return None
        targets, matches = zip(*self._done, strict=True)
        path = self.names("many")
        save_image(one_to_many(self.source, targets, matches), path)
        return str(path)


def _sides(model: "DiffusionModel", query: "Query", matches: "Matches") -> list[int]:
    """How many positions wide each layer's map is in the network."""
    side = (query.settings["resolution"] or model.resolution) // model.vae_factor
    widths = {layer.name: layer.map_size(side, side)[1] for layer in model.layers}
    return [widths[name] for name in matches.layer_names]


def _reduced(matches: "Matches") -> "Matches":
    """The matches with small heat maps."""
    import torch

    from semcorr.imaging.heatmaps import upsample

    height, width = matches.heatmaps.shape[1:]
    small = upsample(torch.from_numpy(matches.heatmaps.copy()), (min(width, _KEPT_SIDE), min(height, _KEPT_SIDE)))
    return dataclasses.replace(matches, heatmaps=small.numpy())
