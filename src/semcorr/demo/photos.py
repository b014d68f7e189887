"""A check of the pipeline on real photographs: pairs of PF-WILLOW (Ham et al., CVPR 2016), read from its raw files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from jaxtyping import Float

from semcorr.datasets import mat
from semcorr.demo.scoring import Score
from semcorr.errors import ImageError
from semcorr.imaging.image import load_image
from semcorr.imaging.image_files import is_image_name, unread_messages_below
from semcorr.matchers.base import Matcher
from semcorr.progress import Progress
from semcorr.visualization import matches as draw
from semcorr.visualization import style as marks

FOLDER = "pf-willow"


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoPair:
    """Two photographs of one sub-class with the same ten annotated points.

    The points are the data set's ``pts_coord`` as they are, taken to be continuous pixels (x, y); whether the
    annotators counted pixels from 0 or from 1 is not documented, and does not matter at this scale.
    """

    category: str
    source: Path
    target: Path
    source_points: Float[np.ndarray, "points 2"]
    target_points: Float[np.ndarray, "points 2"]

    @property
    def title(self) -> str:
        """The sub-class and the two files."""
        return f"{self.category}: {self.source.name} to {self.target.name}"

    @property
    def object_size(self) -> float:
        """The longer side of the box around the target's points: the field's threshold for this data set."""
        return float(np.ptp(self.target_points, axis=0).max())


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoResult:
    """What was found for one pair, and a picture of it with the true points as rings."""

    pair: PhotoPair
    score: Score
    picture: PIL.Image.Image


def read_pairs(data: Path, count: int) -> list[PhotoPair]:
    """Read ``count`` pairs, one a sub-class first: the first annotated photograph with the second, then the third ....

    Args:
        data: The folder that holds ``pf-willow``, or that folder itself: sub-folders of ``.png`` with ``.mat`` beside.
        count: How many pairs to read; fewer when there are not as many.

    Raises:
        ImageError: No such folder, no pair in it, or an annotation that cannot be read.
    """
    root = data / FOLDER if (data / FOLDER).is_dir() else data
    if not root.is_dir():
        raise ImageError(f"There is no folder {str(root)!r}. Name the one that holds {FOLDER!r}.")
    groups = [_annotated(folder) for folder in _classes_in_turn(sorted(root.iterdir())) if folder.is_dir()]
    pairs = []
    for nth in range(1, max(map(len, groups), default=0)):
        pairs += [_pair(files[0], files[nth]) for files in groups if len(files) > nth]
        if len(pairs) >= count:
            break
    if not pairs:
        raise ImageError(
            f"Expected sub-folders of photographs (.png, .jpg) with .mat annotations in {str(root)!r}, got no pair of "
            f"them. {' '.join(unread_messages_below([root]))}".rstrip()
        )
    return pairs[:count]


def run_photo_demo(
    matcher: Matcher, pairs: Sequence[PhotoPair], *, progress: Progress | None = None
) -> Iterator[PhotoResult | ImageError]:
    """Match each pair's points. A pair whose photographs are broken yields the error, and the next one is tried."""
    for pair in pairs:
        try:
            yield _run(matcher, pair, progress)
        except ImageError as error:
            yield error


def with_banner(picture: PIL.Image.Image, lines: Sequence[str]) -> PIL.Image.Image:
    """Put lines of text above a picture, so that they go wherever it goes."""
    margin, size = 12, 18
    while (
        size > 8
        and max(PIL.ImageFont.load_default(size).getlength(line) for line in lines) > picture.width - 2 * margin
    ):
        size -= 1
    font, step = PIL.ImageFont.load_default(size), round(size * 1.4)
    height = step * len(lines) + 2 * margin
    sheet = PIL.Image.new("RGB", (picture.width, height + picture.height), marks.PAPER)
    pen = PIL.ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        pen.text((margin, margin + row * step), line, fill=marks.INK, font=font)
    sheet.paste(picture, (0, height))
    return sheet


def _run(matcher: Matcher, pair: PhotoPair, progress: Progress | None) -> PhotoResult:
    source, target = load_image(pair.source), load_image(pair.target)
    query = matcher.describe(source, pair.source_points, progress=progress)
    matches = matcher.locate(query, target, progress=progress)
    names = tuple(str(number + 1) for number in range(len(pair.source_points)))
    score = Score(names=names, points=matches.points, truth=pair.target_points, object_size=pair.object_size)
    picture = draw.match_figure(
        source, target, pair.source_points, matches.points, heatmaps=matches.heatmaps, truth=pair.target_points
    )
    return PhotoResult(pair=pair, score=score, picture=picture)


def _classes_in_turn(folders: Sequence[Path]) -> list[Path]:
    """The first sub-class of every class, then the second ones: car(G), duck(S), ..., car(M), ...."""
    seen: dict[str, int] = {}
    turns = []
    for folder in folders:
        name = folder.name.partition("(")[0]
        seen[name] = seen.get(name, -1) + 1
        turns.append((seen[name], folder))
    return [folder for _, folder in sorted(turns)]


def _annotated(folder: Path) -> list[Path]:
    return [photo for photo in sorted(folder.iterdir()) if is_image_name(photo) and photo.with_suffix(".mat").is_file()]


def _pair(source: Path, target: Path) -> PhotoPair:
    return PhotoPair(
        category=source.parent.name,
        source=source,
        target=target,
        source_points=_read_points(source.with_suffix(".mat")),
        target_points=_read_points(target.with_suffix(".mat")),
    )


def _read_points(path: Path) -> Float[np.ndarray, "points 2"]:
    try:
        points = mat.read_file(path, "pts_coord")
    except (OSError, ValueError) as error:
        raise ImageError(f"{str(path)!r} cannot be read as a MATLAB 5 file: {error}.") from error
    points = np.zeros(0) if points is None else points
    if points.ndim != 2 or points.shape[0] != 2 or not np.isfinite(points).all():
        raise ImageError(f"{str(path)!r}: expected 'pts_coord' of 2 rows of numbers, got shape {points.shape}.")
    return points.T.copy()
