"""Pictures beside a match's own: each layer's maps, and the paper's figures."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from semcorr.cli import console
from semcorr.cli.options import PictureNames
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    import PIL.Image

    from semcorr.imaging.image import Image
    from semcorr.matchers.base import Matcher
    from semcorr.matchers.results import Matches, Query

FigureName = Literal["many", "method"]

_KEPT_SIDE = 128
"""Heat maps wait for the figure of all targets at no more than this side: it shows them no larger, and there may be
hundreds of targets."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extras:
    """Which further pictures are wanted, and the matcher, query and source that they are of.

    Attributes:
        layers: one a target: every layer's own heat maps.
        figure: "many", one for all targets (the paper's Figure 1); "method", one a target (its Figure 3).
    """

    layers: bool = False
    figure: FigureName | None = None

    def check(self, method: str, *, align_pose: bool) -> None:
        """Refuse, before anything slow begins, what the method cannot show.

        Raises:
            SettingsError: The method has no attention maps of its own, or they would be of a mirror image.
        """
        if self.layers and method not in ("prompt", "attention-dift"):
            raise SettingsError(
                f"--layers shows the layers' attention, which {method!r} does not read. Use --method prompt or "
                "attention-dift, or leave --layers out."
            )
        if self.figure == "method" and method != "prompt":
            raise SettingsError(
                f"--figure method shows how an embedding is learned: use --method prompt, not {method!r}."
            )
        if align_pose and (self.layers or self.figure == "method"):
            raise SettingsError(
                "With --align-pose maps may be a mirror image's. Leave it out, or leave out the picture."
            )


@dataclasses.dataclass(kw_only=True)
class ExtraPictures:
    """Draws them as the targets come.

    Attributes:
        wanted: which.
        matcher: what found the points.
        query: the points.
        source: the image that they are in.
        names: names the files.
    """

    wanted: Extras
    matcher: "Matcher"
    query: "Query"
    source: "Image"
    names: PictureNames
    _shown: list[tuple[str, "Matches"]] = dataclasses.field(default_factory=list)
    _in_source: "Matches | None" = None

    def of(self, target: str, image: "Image", matches: "Matches") -> dict[str, str]:
        """Write a target's own, and return their paths by what they are."""
        from semcorr.imaging.image import save_image

        pictures = {}
        if self.wanted.layers:
            pictures["layers"] = self._layers(image, matches)
        if self.wanted.figure == "method":
            pictures["method"] = self._method(image, matches)
        if self.wanted.figure == "many":
            self._shown.append((target, _light(matches)))
        paths = {what: self.names(f"{Path(target).stem}-{what}") for what in pictures}
        for what, path in paths.items():
            save_image(pictures[what], path)
        return {what: str(path) for what, path in paths.items()}

    def of_all(self) -> str | None:
        """Write the figure of all targets, if it is wanted and there are any, and return its path."""
        from semcorr.imaging.image import save_image
        from semcorr.visualization.paper_figures import one_to_many

        if not self._shown:
            return None
        targets, matches = zip(*self._shown, strict=True)
        path = self.names("many")
        save_image(one_to_many(self.source, targets, matches), path)
        return str(path)

    def _layers(self, image: "Image", matches: "Matches") -> "PIL.Image.Image":
        from semcorr.matchers.base import innermost
        from semcorr.matchers.wrappers.float32_fallback import on_method
        from semcorr.visualization.heatmap_grids import layer_grid

        with console.TerminalProgress() as progress:
            maps = on_method(
                self.matcher,
                lambda method: method.layer_heatmaps(self.query, image, progress=progress),
                progress=progress,
            )
        return layer_grid(image, matches, maps, sides=_sides(innermost(self.matcher), self.query, matches))

    def _method(self, image: "Image", matches: "Matches") -> "PIL.Image.Image":
        from semcorr.visualization.paper_figures import method_figure

        if self._in_source is None:
            with console.TerminalProgress() as progress:
                self._in_source = self.matcher.locate(self.query, self.source, progress=progress)
        return method_figure(self.source, image, self._in_source, matches, sigma=self.query.settings["sigma"])


def _sides(method: object, query: "Query", matches: "Matches") -> list[int]:
    """How many positions wide each layer's map is in the network."""
    model = method.model  # type: ignore[attr-defined]
    side = (query.settings["resolution"] or model.resolution) // model.vae_factor
    widths = {layer.name: layer.map_size(side, side)[1] for layer in model.layers}
    return [widths[name] for name in matches.layer_names]


def _light(matches: "Matches") -> "Matches":
    """The matches with small heat maps."""
    import torch

    from semcorr.imaging.heatmaps import upsample

    height, width = matches.heatmaps.shape[1:]
    small = upsample(torch.from_numpy(matches.heatmaps.copy()), (min(width, _KEPT_SIDE), min(height, _KEPT_SIDE)))
    return dataclasses.replace(matches, heatmaps=small.numpy())
