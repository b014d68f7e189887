"""The extras of the package and the distributions that each needs."""

import importlib.metadata
import importlib.util

from semcorr.errors import SettingsError

EXTRAS: dict[str, tuple[str, ...]] = {
    "app": ("starlette", "uvicorn", "platformdirs"),
    "cvat": ("cvat-cli",),
    "ray": ("ray",),
    "eval": ("scikit-learn", "pycocotools"),
    "sleap": ("sleap-io",),
    "quantize": ("torchao", "bitsandbytes"),
}


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_app_extra() -> None:
    """Check that what serves pages is installed.

    Raises:
        SettingsError: It is not.
    """
    # Their modules are named as they are.
    missing = [name for name in EXTRAS["app"] if importlib.util.find_spec(name) is None]
    if missing:
        which = f'The page needs the extra "app", of which {", ".join(missing)} is not installed.'
        raise SettingsError(f'{which} Type: pip install "semcorr[app]"')
