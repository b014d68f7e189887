"""``semcorr demo`` and ``semcorr demo-photos``: the method on images whose truth is known."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from semcorr.cli import console
from semcorr.cli.options import DemoOptions
from semcorr.cli.targets import load_matcher
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    import PIL.Image

    from semcorr.demo.scoring import Score

_NOT_FOR_PHOTOS = (
    "The bundled model has seen drawings of its toy world and nothing else. It does not know photographs:",
    "these figures show that the pipeline runs on them, not how well the method matches them.",
    "For photographs use a Stable Diffusion checkpoint: semcorr match SOURCE TARGET -p X Y",
)
_TOY = DemoOptions()
_Picture = Annotated[Path, Parameter(name=("--output", "-o"))]


def demo(
    *,
    category: str = "animal",
    targets: int = 3,
    output: _Picture = Path("output/demo.png"),
    options: DemoOptions = _TOY,
) -> int:
    """Find the key-points of one drawing in others, and print how far each lies from the truth.

    The drawings are the toy world's first held-out scenes of the category: the bundled model never saw them.

    Args:
        category: animal, bird, car or face.
        targets: How many other drawings to look in.
        output: The picture to write; rings show the truth.
        options: What to match with.
    """
    from semcorr.demo.toy import first_scenes, run_toy_demo

    if targets < 1:
        raise SettingsError(f"Expected at least 1 target, got {targets}.")
    scenes = first_scenes(category, targets + 1, size=256)
    matcher = load_matcher(options)
    seed, scene = scenes[0]
    console.say(f"Points of {scene.kind}, test scene {seed}, looked for with {options.model!r} in {targets} others.\n")
    found: list[tuple[str, Score, PIL.Image.Image]] = []
    try:
        with console.TerminalProgress() as progress:
            for result in run_toy_demo(matcher, scenes, progress=progress):
                found.append((result.title, result.score, result.picture))  # noqa: PERF401  kept when stopped
    finally:
        _tell(found, output)
    return 0


def demo_photos(
    data: Annotated[Path | None, Parameter(env_var="SEMCORR_TEST_DATA")] = None,
    /,
    *,
    pairs: int = 4,
    output: _Picture = Path("output/demo-photos.png"),
    options: DemoOptions = _TOY,
) -> int:
    """Match pairs of photographs of PF-WILLOW: a check of the pipeline with the bundled model, no measurement of it.

    Args:
        data: The folder that holds pf-willow, each .png with its .mat beside it.
        pairs: How many pairs to match.
        output: The picture to write; rings show the truth.
        options: What to match with.
    """
    from semcorr.demo.photos import PhotoResult, read_pairs, run_photo_demo, with_banner
    from semcorr.models.diffusion import BUNDLED

    if data is None:
        raise SettingsError("Expected the folder that holds pf-willow: name it, or set SEMCORR_TEST_DATA to it.")
    if pairs < 1:
        raise SettingsError(f"Expected at least 1 pair, got {pairs}.")
    chosen = read_pairs(data, pairs)
    bundled = options.model in BUNDLED
    if bundled:
        console.say("\n".join(_NOT_FOR_PHOTOS) + "\n")
    matcher = load_matcher(options)
    found: list[tuple[str, Score, PIL.Image.Image]] = []
    broken = 0
    try:
        with console.TerminalProgress() as progress:
            for result in run_photo_demo(matcher, chosen, progress=progress):
                if isinstance(result, PhotoResult):
                    found.append((result.pair.title, result.score, result.picture))
                else:
                    broken += 1
                    console.plain_error(str(result))
    finally:
        _tell(found, output, banner=(lambda sheet: with_banner(sheet, _NOT_FOR_PHOTOS)) if bundled else None)
    return 1 if broken else 0


def _tell(
    found: Sequence[tuple[str, "Score", "PIL.Image.Image"]],
    output: Path,
    banner: "Callable[[PIL.Image.Image], PIL.Image.Image] | None" = None,
) -> None:
    """Print every point's error, count those that are right, and write all pictures as one."""
    from semcorr.demo.scoring import ALPHA
    from semcorr.imaging.image import save_image
    from semcorr.visualization import matches as draw

    if not found:
        return
    for title, score, _ in found:
        console.show(_table(title, score))
    right = sum(int(score.right.sum()) for _, score, _ in found)
    known = sum(int(score.known.sum()) for _, score, _ in found)
    if known:
        console.say(
            f"\n{right} of {known} points lie within {ALPHA:g} of the object's longer side from the truth"
            f" (PCK@{ALPHA:g} per point: {right / known:.2f})."
        )
    else:
        console.say("\nNo point is visible in a target as well, so there is no PCK.")
    sheet = draw.gallery([picture for *_, picture in found])
    save_image(banner(sheet) if banner else sheet, output)
    console.say(f"Picture: {output}")


def _table(title: str, score: "Score") -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", justify="right")
    # Photographs' points have no names but their numbers, which stand there already.
    named = any(name != str(index + 1) for index, name in enumerate(score.names))
    table.add_column("point" if named else "")
    for heading in ("found x, y", "true x, y", "error, px", "of the object"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for index, name in enumerate(score.names):
        place, truth = score.points[index], score.truth[index]
        found = f"{place[0]:.1f}, {place[1]:.1f}"
        if not score.known[index]:
            table.add_row(str(index + 1), name if named else "", found, "hidden", "", "", "")
            continue
        table.add_row(
            str(index + 1),
            name if named else "",
            found,
            f"{truth[0]:.1f}, {truth[1]:.1f}",
            f"{score.errors[index]:.1f}",
            f"{score.fractions[index]:.3f}",
            "right" if score.right[index] else "wrong",
        )
    return table
