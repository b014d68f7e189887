"""Steps that several commands share: check the input, load a matcher, process all targets, write figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from semcorr.cli import console
from semcorr.cli.arrays import Add, arrays_file
from semcorr.cli.figures import FigureNames, MatchFigures
from semcorr.cli.options import MatcherOptions
from semcorr.errors import ImageError
from semcorr.matchers.choice import Task
from semcorr.matchers.spec import MatcherSpec

if TYPE_CHECKING:
    from semcorr.imaging.image import Image
    from semcorr.matchers.base import Matcher
    from semcorr.matchers.results import Matches, Query


def checked_source(source: str, points: Sequence[tuple[float, float]]) -> "Image":
    """Read the source and check that the points lie in it, before anything slow begins."""
    from semcorr.imaging.geometry import check_points
    from semcorr.imaging.image import load_image

    image = load_image(source)
    check_points(points, image.size)
    return image


def readable_targets(targets: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split targets into those that can be read and, with its message, each that cannot.

    Raises:
        ImageError: No target is given, or none of them can be read.
    """
    from semcorr.imaging.image import load_image

    if not targets:
        raise ImageError("Expected at least one target image, got none. Name it after the first argument.")
    broken: dict[str, str] = {}
    for target in targets:
        try:
            load_image(target)
        except ImageError as error:
            broken[target] = str(error)
    if len(broken) == len(set(targets)):
        raise ImageError("\n".join(broken.values()))
    for message in broken.values():
        console.plain_error(message)
    return [target for target in targets if target not in broken], broken


def chosen(options: MatcherOptions, task: Task = "points") -> MatcherSpec:
    """Return what to match with, and print one line that says what that is: method, preset and model.

    Where the options leave it to the command, the line also says why, and how to get another method.
    """
    return options.spec().chosen(task, console.note)


def load(spec: MatcherSpec) -> "Matcher":
    """Load a matcher, and show that this is going on; print a precision other than float32 that was chosen here."""
    with console.TerminalProgress() as progress:
        progress.busy("load")
        matcher = spec.load(progress=progress)
    dtype = spec.as_loaded(matcher).options.get("dtype")
    if spec.options.get("dtype") == "auto" != dtype != "float32":
        console.note(f"In {dtype}, which is faster here; for more digits: --dtype float32.")
    return matcher


def locate_here(matcher: "Matcher", query: "Query", targets: Sequence[str]) -> Iterator["Matches | ImageError"]:
    """Yield the matches in each target, or its error, in order."""
    for target in targets:
        with console.TerminalProgress() as progress:
            (matches,) = matcher.locate_many(query, [target], progress=progress)
        yield matches


def locate_remotely(
    spec: MatcherSpec, query: "Query", targets: Sequence[str], *, workers: int, ray: str | None
) -> Iterator["Matches | ImageError"]:
    """Yield the matches in each target, or its error, in order, located by other processes or on a Ray cluster."""
    from semcorr.matchers.remote_locator import RemoteLocator

    locator = RemoteLocator(load=spec.load, query=query, workers=workers, ray=ray)
    with console.TerminalProgress() as progress:
        yield from locator.locate(targets, progress)


@dataclass(frozen=True, kw_only=True)
class TargetRun:
    """Writes a figure and prints a table for each target.

    Attributes:
        query: The described points.
        source: The source image, for the figures; without it none are written.
        names: Names the figures.
        json: Print one JSON document at the end instead of a table for each target.
        figures: Draws further figures, if requested.
        arrays: The file for the arrays of all targets, if requested; see :func:`semcorr.cli.arrays.arrays_file`.
        pairs: The file for the points of all targets in transformers' records, if requested; see
            :mod:`semcorr.matchers.keypoint_matches`.
    """

    query: "Query"
    source: "Image | None"
    names: FigureNames
    json: bool
    figures: MatchFigures | None = None
    arrays: Path | None = None
    pairs: Path | None = None

    def over(self, targets: Sequence[str], located: Iterator["Matches | ImageError"], broken: dict[str, str]) -> int:
        """Process all targets; what is done stays when one fails or the user stops.

        Args:
            targets: Paths of the images that could be read at the start.
            located: The matches in each of them.
            broken: Targets that could not be read, with their error messages, for the JSON document.

        Returns:
            The exit status: 0, or 1 if there are broken targets.
        """
        from semcorr.matchers.keypoint_matches import write_keypoint_matches

        broken = dict(broken)
        done: list[dict[str, object]] = []
        records: list[list[dict[str, object]]] = []
        figure = None
        try:
            with arrays_file(self.arrays, self.query) as add:
                for target, matches in zip(targets, located, strict=True):
                    try:
                        if isinstance(matches, ImageError):
                            raise matches
                        done.append(self._one(target, matches, add))
                        records.append(matches.to_keypoint_matches())
                    except ImageError as error:  # It could be read at the start and has changed since.
                        broken[target] = str(error)
                        console.plain_error(str(error))
            figure = None if self.figures is None else self.figures.of_all()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{len(done)} of {len(targets)} targets are done and stay.") from None
        finally:
            if self.pairs is not None and records:
                write_keypoint_matches(self.pairs, records)
            if self.json:
                document = self._document(done, broken)
                console.show_json(document if figure is None else document | {"figure": figure})
        if not self.json:
            for what, path in (("Figure", figure), ("Arrays", self.arrays), ("Pairs", self.pairs)):
                if path is not None:
                    console.say(f"{what}: {path}")
        return 1 if broken else 0

    def _one(self, target: str, matches: "Matches", add: Add) -> dict[str, object]:
        from semcorr.imaging.image import load_image, save_image
        from semcorr.visualization.matches import draw_matches

        image = load_image(target)
        figure = None
        if self.source is not None:
            figure = self.names(target)
            save_image(draw_matches(matches, self.source, image), figure)
        layers = None if self.figures is None else self.figures.layer_heatmaps(image)
        further = {} if self.figures is None else self.figures.of(target, image, matches, layers)
        add(target, matches, layers)
        if not self.json:
            console.show(_table(target, self.query, matches))
            if figure is not None:
                console.say("\n".join([f"Figure: {path}" for path in (figure, *further.values())]) + "\n")
        return {"target": target, "figure": None if figure is None else str(figure), **further, **matches.to_dict()}

    def _document(self, done: Sequence[dict[str, object]], broken: dict[str, str]) -> dict[str, object]:
        return {
            "method": self.query.method,
            "model": self.query.model_id,
            "revision": self.query.model_revision,
            "settings": self.query.settings,
            "source_size": self.query.image_size,
            **({} if self.arrays is None else {"arrays": str(self.arrays)}),
            "targets": list(done),
            "broken": [{"target": target, "error": message} for target, message in broken.items()],
        }


def _table(target: str, query: "Query", matches: "Matches") -> Table:
    table = Table(title=target, title_justify="left", caption_justify="left")
    if matches.calibration:
        table.caption = f"confidence: the probability that a point is right, calibrated on {matches.calibration}"
    table.add_column("point", justify="right")
    table.add_column("source x, y", justify="right")
    table.add_column("target x, y", justify="right")
    table.add_column("confidence" if matches.calibration else "confidence (uncalibrated)", justify="right")
    names = query.names or [str(number + 1) for number in range(len(query.points))]
    for name, start, end, confidence in zip(names, query.points, matches.points, matches.confidence, strict=True):
        shown = "–" if start[0] != start[0] else f"{start[0]:.1f}, {start[1]:.1f}"  # NaN: another image shows it
        table.add_row(name, shown, f"{end[0]:.1f}, {end[1]:.1f}", f"{confidence:.2f}")
    return table
