"""``semcorr describe``: the slow half of a match, saved for any number of images."""

from semcorr.cli import console
from semcorr.cli.options import MatcherOptions, Output, Points, require_points
from semcorr.cli.targets import checked_source, chosen, load
from semcorr.errors import SemcorrError, SettingsError

_DEFAULT_OPTIONS = MatcherOptions()


def describe(
    image: str,
    /,
    *,
    points: Points = None,
    output: Output,
    options: MatcherOptions = _DEFAULT_OPTIONS,
) -> int:
    """Describe points of IMAGE once and save them; `semcorr locate` finds them in any number of images.

    Args:
        image: The image that the points are in.
        points: X Y in pixels of IMAGE from its top-left corner; repeat for more points.
        output: The file to write, ending in .safetensors.
        options: What to match with.
    """
    given = require_points(points)
    if output.suffix != ".safetensors":
        raise SettingsError(f"Expected a file name that ends in .safetensors after -o, got {str(output)!r}.")
    source = checked_source(image, given)
    matcher = load(chosen(options))
    with console.TerminalProgress() as progress:
        query = matcher.describe(source, given, progress=progress)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        query.save(output)
    except OSError as error:
        raise SemcorrError(
            f"{str(output)!r} cannot be written: {error.strerror or error}. Choose another -o."
        ) from error
    console.say(f"Saved {len(query.points)} points of {image}. Find them with: semcorr locate {output} TARGET")
    return 0
