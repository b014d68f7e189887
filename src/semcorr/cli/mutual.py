"""``semcorr mutual``: what two images have in common, without points."""

from pathlib import Path

from semcorr.cli import console
from semcorr.cli.arrays import check_file
from semcorr.cli.figures import FigureNames
from semcorr.cli.options import FeatureOptions, Json, Output
from semcorr.cli.targets import chosen, load, readable_targets
from semcorr.errors import SettingsError

_DEFAULT_OPTIONS = FeatureOptions()
_DEFAULT_OUTPUT = Path("output")


def mutual(
    source: str,
    /,
    *targets: str,
    most: int = 50,
    output: Output = _DEFAULT_OUTPUT,
    pairs: Path | None = None,
    json: Json = False,
    options: FeatureOptions = _DEFAULT_OPTIONS,
) -> int:
    """Find what SOURCE and every TARGET have in common: pairs of locations that are each other's best match.

    Needs a method on features.

    Args:
        source: One image.
        targets: The images to compare it with.
        most: Number of pairs to keep, the most similar ones.
        output: Folder for the figures.
        pairs: Write the pairs of all targets to this .json file, as transformers' key-point matching pipeline does.
        json: Print one JSON document instead of lines.
        options: What to match with.
    """
    from semcorr.imaging.image import load_image, save_image
    from semcorr.matchers.features.mutual_matches import mutual_matches
    from semcorr.matchers.keypoint_matches import write_keypoint_matches
    from semcorr.visualization.matches import match_figure

    if most < 1:
        raise SettingsError(f"Expected --most to be at least 1, got {most}.")
    check_file(pairs, "--pairs", "out.json")
    image = load_image(source)
    readable, broken = readable_targets(targets)
    matcher, names, done = load(chosen(options, "grid")), FigureNames(output, source), []
    records = []
    for target in readable:
        other = load_image(target)
        with console.TerminalProgress() as progress:
            common = mutual_matches(matcher, image, other, progress=progress).most_similar(most)
        figure = names(target)
        save_image(match_figure(image, other, common.source, common.target), figure)
        records.append(common.to_keypoint_matches())
        done.append({"target": target, "figure": str(figure), **common.to_dict()})
        if not json:
            console.say(f"{target}: {len(common.source)} pairs\nFigure: {figure}\n")
    if pairs is not None:
        write_keypoint_matches(pairs, records)
    if json:
        failed = [{"target": target, "error": message} for target, message in broken.items()]
        console.show_json({"method": matcher.method, "targets": done, "broken": failed})
    return 1 if broken else 0
