"""Run by another Python, which has DeepLabCut: prints as JSON what its own code makes of projects and predictions.

``python deeplabcut_reader.py PACKAGES PREDICTIONS.csv CONFIG.yaml…``. PACKAGES are those of the Python that the tests
run in, which has matplotlib and SciPy.

DeepLabCut's modules are its own, unchanged. What they import and nothing here calls is left out: what the packages
around them load (all of DeepLabCut, which is 2.2 GB with what it asks for), numba (which makes functions faster),
filterpy (tracking) and scikit-image (videos).
"""

import contextlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.append(sys.argv[1])


def unused(*_: object, **__: object) -> None:
    """In place of what would be called if more of DeepLabCut were used.

    Raises:
        AssertionError: Always.
    """
    raise AssertionError("a package that is not installed here was called")


def absent(name: str, **names: object) -> None:
    """Let a package that is not installed be imported with some names."""
    module = ModuleType(name)
    module.__path__ = []
    module.__dict__.update(names)
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)


def without_init(name: str) -> None:
    """Let a package's modules be imported without what its ``__init__`` imports."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    absent(name)
    sys.modules[name].__path__ = list(spec.submodule_search_locations or ())


def prepare() -> None:
    """Let the modules be imported that read labels."""
    absent("numba", jit=lambda **_: lambda function: function)
    absent("numba.core")
    absent("numba.core.errors", NumbaPerformanceWarning=UserWarning)
    absent("filterpy")
    absent("filterpy.common", kinematic_kf=unused)
    absent("filterpy.kalman", KalmanFilter=unused)
    absent("skimage")
    absent("skimage.color")
    absent("skimage.io")
    absent("skimage.util", img_as_ubyte=unused)
    for package in ("deeplabcut", "deeplabcut.utils", "deeplabcut.generate_training_dataset"):
        without_init(package)


def rows(table: Any) -> dict[str, list[list[float | None]]]:
    """x, y and whatever follows them, of every point of every image."""
    points = {"/".join(index): row.to_numpy(dtype=float).tolist() for index, row in table.iterrows()}
    width = len(table.columns.unique("coords"))
    return {
        name: [
            [None if one != one else one for one in row[first : first + width]] for first in range(0, len(row), width)
        ]
        for name, row in points.items()
    }


def project(config: Path) -> dict[str, Any]:
    """The labels as DeepLabCut converts them, and gathers them for training."""
    from deeplabcut.core.config import read_config
    from deeplabcut.generate_training_dataset import trainingsetmanipulation
    from deeplabcut.utils import auxfun_multianimal, conversioncode

    with contextlib.redirect_stdout(sys.stderr):
        conversioncode.convertcsv2h5(str(config), userfeedback=False)
        settings = read_config(str(config))
        table = trainingsetmanipulation.merge_annotateddatasets(settings, config.parent)
    result = {"columns": [list(key) for key in table.columns], "rows": rows(table)}
    if settings["multianimalproject"]:
        individuals, single, parts = auxfun_multianimal.extractindividualsandbodyparts(settings)
        return {**result, "individuals": individuals, "bodyparts": parts, "single": single}
    numbers = range(len(table))
    listed, _ = trainingsetmanipulation.format_training_data(table, numbers, len(settings["bodyparts"]), config.parent)
    trained = {"/".join(one["image"]): [list(map(int, one["size"])), one["joints"].tolist()] for one in listed}
    return {**result, "bodyparts": list(settings["bodyparts"]), "trained": trained}


def predictions(file: Path) -> dict[str, Any]:
    """A table of predictions as DeepLabCut's pages have it, and without its likelihood as training has it."""
    import pandas as pd
    from deeplabcut.generate_training_dataset import trainingsetmanipulation
    from deeplabcut.utils import conversioncode

    table = pd.read_csv(file, header=[0, 1, 2], index_col=[0, 1, 2])
    conversioncode.guarantee_multiindex_rows(table)
    return {"rows": rows(table), "points": rows(trainingsetmanipulation.drop_likelihood_columns(table))}


if __name__ == "__main__":
    prepare()
    listed = [project(Path(path)) for path in sys.argv[3:]]
    sys.stdout.write(json.dumps({"projects": listed, "predictions": predictions(Path(sys.argv[2]))}) + "\n")
