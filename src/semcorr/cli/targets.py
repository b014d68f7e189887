"""Steps that several commands share: check the input, load a matcher, process all targets, write figures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from semcorr.cli import console
from semcorr.cli.figures import FigureNames, MatchFigures
from semcorr.cli.options import MatcherOptions
from semcorr.errors import ImageError, SettingsError

if TYPE_CHECKING:
    from semcorr.imaging.image import Image
    from semcorr.matchers.base import Matcher
    from semcorr.matchers.results import Matches, Query
    from semcorr.progress import Progress


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


def load_matcher(options: MatcherOptions, *, announce: bool = True) -> "Matcher":
    """Load the matcher that the options name; ``announce`` prints which one, defaults included."""
    from semcorr.matchers.registry import load_matcher as load

    if announce:
        note_choice(options)
    with console.TerminalProgress() as progress:
        progress.busy("load")
        return load(
            options.method, options.named_model(), preset=options.preset, progress=progress, **options.loading()
        )


def note_choice(options: MatcherOptions) -> None:
    """Print one line that names method, preset and model, defaults included."""
    from semcorr.matchers.registry import describe_choice

    console.note(f"Matching with {describe_choice(options.method, options.named_model(), options.preset)}.")


@dataclass(frozen=True, kw_only=True)
class TargetRun:
    """Locates the points of a query in all targets; writes a figure and prints a table for each.

    Attributes:
        matcher: Locates the points; None if ``remote`` does.
        query: The described points.
        source: The source image, for the figures; without it none are written.
        names: Names the figures.
        json: Print one JSON document at the end instead of a table for each target.
        figures: Draws further figures, if requested.
        remote: Locates the points in other processes.
    """

    matcher: "Matcher | None"
    query: "Query"
    source: "Image | None"
    names: FigureNames
    json: bool
    figures: MatchFigures | None = None
    remote: "RemoteLocator | None" = None

    def over(self, targets: Sequence[str], broken: dict[str, str]) -> int:
        """Process all targets; what is done stays when one fails or the user stops.

        Args:
            targets: Paths of the images that could be read at the start.
            broken: Those that could not, with their error messages, for the JSON document.

        Returns:
            The exit status: 0, or 1 if there are broken targets.
        """
        broken = dict(broken)
        done: list[dict[str, object]] = []
        figure = None
        try:
            for target, matches in self._located(targets):
                try:
                    done.append(self._one(target, matches))
                except ImageError as error:  # It could be read at the start and has changed since.
                    broken[target] = str(error)
                    console.plain_error(str(error))
            figure = None if self.figures is None else self.figures.of_all()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{len(done)} of {len(targets)} targets are done and stay.") from None
        finally:
            if self.json:
                document = self._document(done, broken)
                console.show_json(document if figure is None else document | {"figure": figure})
        if figure is not None and not self.json:
            console.say(f"Figure: {figure}")
        return 1 if broken else 0

    def _located(self, targets: Sequence[str]) -> Iterator[tuple[str, "Matches | ImageError"]]:
        """The matches of each target, in order."""
        if self.remote is not None:
            yield from zip(targets, self.remote.located(targets), strict=True)
            return
        if self.matcher is None:
            raise SettingsError("Expected a matcher or a remote locator, got neither.")
        do = located_by(self.matcher, self.query)
        for place in enumerate(targets):
            with console.TerminalProgress() as progress:
                (_, matches), *_ = do(place, progress)
            yield place[1], matches

    def _one(self, target: str, matches: "Matches | ImageError") -> dict[str, object]:
        from semcorr.imaging.image import load_image, save_image
        from semcorr.visualization.matches import draw_matches

        if isinstance(matches, ImageError):
            raise matches
        image = load_image(target)
        figure = None
        if self.source is not None:
            figure = self.names(target)
            save_image(draw_matches(matches, self.source, image), figure)
        further = {} if self.figures is None else self.figures.of(target, image, matches)
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
            "targets": list(done),
            "broken": [{"target": target, "error": message} for target, message in broken.items()],
        }


Place = tuple[int, str]
"""A target and which one it is."""


@dataclass(frozen=True, kw_only=True)
class RemoteLocator:
    """Points of a query, found in several processes or on a Ray cluster (:class:`semcorr.executors.Job`).

    Attributes:
        options: What to match with.
        query: The query's file.
        workers: As for :func:`semcorr.executors.spread`; so is ``ray``.
    """

    options: MatcherOptions
    query: Path
    workers: int
    ray: str | None

    def start(self) -> "Callable[[Place, Progress | None], Iterator[tuple[int, Matches | ImageError]]]":
        """In a worker process."""
        from semcorr.matchers.registry import load_matcher as load
        from semcorr.matchers.results import Query

        options = self.options
        matcher = load(options.method, options.named_model(), preset=options.preset, **options.loading())
        return located_by(matcher, Query.load(self.query))

    def located(self, targets: Sequence[str]) -> Iterator["Matches | ImageError"]:
        """What is found in each target, in order, as soon as it and all before it are done."""
        from semcorr.executors import spread

        early: dict[int, Matches | ImageError] = {}
        turn = 0
        with console.TerminalProgress() as progress:
            places = list(enumerate(targets))
            for count, (number, matches) in enumerate(
                spread(self, places, workers=self.workers, ray=self.ray), start=1
            ):
                progress("locate", count, len(targets))
                early[number] = matches
                while turn in early:
                    yield early.pop(turn)
                    turn += 1


def located_by(
    matcher: "Matcher", query: "Query"
) -> "Callable[[Place, Progress | None], Iterator[tuple[int, Matches | ImageError]]]":
    """What finds a query's points in a target, or says why it cannot be read."""
    from semcorr.imaging.image import load_image

    def do(place: Place, progress: "Progress | None") -> Iterator[tuple[int, "Matches | ImageError"]]:
        number, target = place
        try:
            image = load_image(target)
        except ImageError as error:
            yield number, error
            return
        yield number, matcher.locate(query, image, progress=progress)

    return do


def _table(target: str, query: "Query", matches: "Matches") -> Table:
    table = Table(title=target, title_justify="left")
    table.add_column("point", justify="right")
    table.add_column("source x, y", justify="right")
    table.add_column("target x, y", justify="right")
    table.add_column("confidence" if matches.calibration else "confidence (uncalibrated)", justify="right")
    names = query.names or [str(number + 1) for number in range(len(query.points))]
    for name, start, end, confidence in zip(names, query.points, matches.points, matches.confidence, strict=True):
        table.add_row(name, f"{start[0]:.1f}, {start[1]:.1f}", f"{end[0]:.1f}, {end[1]:.1f}", f"{confidence:.2f}")
    return table
