"""Run by another Python, which has Ultralytics: its command ``yolo``, offline, with results in the current folder.

``python yolo.py PACKAGES ARGUMENTS…``. PACKAGES are those of the Python that the tests run in, which has PyTorch.
"""

import os
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

if __name__ == "__main__":
    sys.path.append(sys.argv.pop(1))
    # In tests, which it takes for its own, it would write into a folder of theirs.
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    import matplotlib as mpl
    from ultralytics import settings
    from ultralytics.cfg import entrypoint
    from ultralytics.utils import USER_CONFIG_DIR
    from ultralytics.utils.nms import TorchNMS

    # It would download a font for its plots.
    shutil.copy(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), Path(USER_CONFIG_DIR, "Arial.ttf"))
    # Installed inside of a repository, as here, it would write into that.
    settings.update({"runs_dir": str(Path("runs").absolute())})
    # PyPI's torchvision does not load beside a build of PyTorch without CUDA. Of it validation needs the suppression of
    # overlapping boxes alone, which Ultralytics has as well.
    sys.modules["torchvision"] = ModuleType("torchvision")
    sys.modules["torchvision"].__dict__["ops"] = SimpleNamespace(nms=TorchNMS.nms)
    entrypoint()
