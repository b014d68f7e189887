"""``semcorr demo``: key-points of one drawing of the toy world in others, compared with the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import Parameter
from jaxtyping import Bool, Float
from rich.table import Table

from semcorr.cli import console
from semcorr.cli.options import ToyOptions
from semcorr.cli.targets import chosen, load
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    import PIL.Image

    from semcorr.matchers.base import Matcher
    from semcorr.toy.render import Scene

ALPHA = 0.1
"""A point counts as right when its error is at most this fraction of the object's size (PCK@0.1)."""

_DEFAULT_OPTIONS = ToyOptions()


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """Predicted points of one target, compared with the truth.

    Attributes:
        names: A name for each point.
        points: Predicted points, in the target's own pixels.
        truth: True points in the same frame; NaN where the target does not show the point.
        object_size: The length that errors are divided by, in pixels.
    """

    names: tuple[str, ...]
    points: Float[np.ndarray, "points 2"]
    truth: Float[np.ndarray, "points 2"]
    object_size: float

    @property
    def errors(self) -> Float[np.ndarray, " points"]:
        """Distances to the truth in pixels; NaN where it is unknown."""
        return np.linalg.norm(self.points - self.truth, axis=1)

    @property
    def fractions(self) -> Float[np.ndarray, " points"]:
        """The errors as fractions of the object's size; NaN where the truth is unknown."""
        return self.errors / self.object_size

    @property
    def known(self) -> Bool[np.ndarray, " points"]:
        """Which points have a known truth; only these can be right or wrong."""
        return ~np.isnan(self.truth).any(axis=1)

    @property
    def right(self) -> Bool[np.ndarray, " points"]:
        """Which points lie within ``ALPHA`` of the object's size from the truth."""
        from semcorr.evaluation.metrics.pck import is_correct

        return is_correct(self.fractions, ALPHA)


def demo(
    *,
    category: str = "animal",
    targets: int = 3,
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("output/demo.png"),
    options: ToyOptions = _DEFAULT_OPTIONS,
) -> int:
    """Find the key-points of one drawing in others, and print the distance of each from the truth.

    The drawings are the toy world's first held-out scenes of the category: the bundled model never saw them.

    Args:
        category: animal, bird, car or face.
        targets: Number of other drawings to search.
        output: The figure to write; rings show the truth.
        options: What to match with.
    """
    from semcorr.imaging.image import save_image
    from semcorr.toy.scenes import first_scenes
    from semcorr.visualization.matches import gallery

    if targets < 1:
        raise SettingsError(f"Expected at least 1 target, got {targets}.")
    scenes = first_scenes(category, targets + 1, size=256)
    matcher = load(chosen(options))
    seed, scene = scenes[0]
    console.say(f"Points of {scene.kind}, test scene {seed}, looked for with {options.model!r} in {targets} others.\n")
    scores: list[Score] = []
    figures: list[PIL.Image.Image] = []
    try:
        for score, figure in _match(matcher, scenes):
            scores.append(score)
            figures.append(figure)
    finally:  # What is finished is kept when the user stops.
        if scores:
            for (seed, scene), score in zip(scenes[1:], scores, strict=False):
                console.show(_table(_title(seed, scene), score))
            console.say(_summary(scores))
            save_image(gallery(figures), output)
            console.say(f"Figure: {output}")
    return 0


def _match(matcher: "Matcher", scenes: "Sequence[tuple[int, Scene]]") -> "Iterator[tuple[Score, PIL.Image.Image]]":
    """Describe every visible key-point of the first scene and locate it in each of the others.

    A key-point that a target does not show is searched for as well; its truth is unknown.
    """
    from semcorr.imaging.image import load_image
    from semcorr.visualization.matches import match_figure

    with console.TerminalProgress() as progress:
        (seed, scene), *others = scenes
        source = load_image(scene.image, name=_title(seed, scene))
        names = tuple(name for name in scene.keypoints if name in scene.visible)
        points = [scene.keypoints[name] for name in names]
        query = matcher.describe(source, points, names=names, progress=progress)
        for seed, scene in others:
            target = load_image(scene.image, name=_title(seed, scene))
            matches = matcher.locate(query, target, progress=progress)
            truth = np.array([scene.keypoints[n] if n in scene.visible else (np.nan, np.nan) for n in names])
            left, top, right, bottom = scene.box
            figure = match_figure(
                source, target, points, matches.points, heatmaps=matches.heatmaps, truth=truth, names=names
            )
            size = max(right - left, bottom - top)
            yield Score(names=names, points=matches.points, truth=truth, object_size=size), figure


def _title(seed: int, scene: "Scene") -> str:
    return f"{scene.kind}, test scene {seed}"


def _summary(scores: Sequence[Score]) -> str:
    right = sum(int(score.right.sum()) for score in scores)
    known = sum(int(score.known.sum()) for score in scores)
    if not known:
        return "\nNo point is visible in a target as well, so there is no PCK."
    return (
        f"\n{right} of {known} points lie within {ALPHA:g} of the object's longer side from the truth"
        f" (PCK@{ALPHA:g} per point: {right / known:.2f})."
    )


def _table(title: str, score: Score) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", justify="right")
    table.add_column("point")
    for heading in ("found x, y", "true x, y", "error, px", "of the object"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for index, (name, (x, y), true) in enumerate(zip(score.names, score.points, score.truth, strict=True)):
        cells = [str(index + 1), name, f"{x:.1f}, {y:.1f}"]
        if score.known[index]:
            cells += [f"{true[0]:.1f}, {true[1]:.1f}", f"{score.errors[index]:.1f}", f"{score.fractions[index]:.3f}"]
            table.add_row(*cells, "right" if score.right[index] else "wrong")
        else:
            table.add_row(*cells, "hidden", "", "", "")
    return table
