"""Train the bundled model from scratch; the same command continues a run that was stopped.

``python -m tools.toy_model FOLDER`` uses the recipe of the bundled ``toy``. Every setting of
:class:`tools.toy_model.recipe.Recipe` is an option, such as ``--unet-steps 100``.
"""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import get_args

from semcorr.cli.console import TerminalProgress, say
from tools.toy_model.recipe import Recipe, train


def main() -> None:
    """Read the command line, train, and name the folder of the finished model."""
    parser = argparse.ArgumentParser(prog="python -m tools.toy_model", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help='folder of the run; the finished model is its sub-folder "model"')
    for field in fields(Recipe):
        option = f"--{field.name.replace('_', '-')}"
        kind = type(field.default)
        choices = get_args(field.type) or None
        metavar = "|".join(choices) if choices else kind.__name__
        parser.add_argument(
            option, type=kind, default=field.default, choices=choices, metavar=metavar, help="%(default)s"
        )
    options = vars(parser.parse_args())
    folder = options.pop("folder")
    for name, value in options.items():
        if not isinstance(value, str) and value < 0:
            parser.error(f"--{name.replace('_', '-')}: expected a number from 0, got {value}")
    with TerminalProgress() as progress:
        model = train(folder, Recipe(**options), progress=progress)
    say(f"Model: {model}   Try: semcorr demo --model {model}")


if __name__ == "__main__":
    main()
