"""A repository in the hub's cache, as the hub's client leaves it there."""

import shutil
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cache_repository(cache: Path, repo_id: str, folder: Path) -> Path:
    """Copy a folder into a cache as the main revision of a repository, and return the copy."""
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    return Path(shutil.copytree(folder, repository / "snapshots" / COMMIT))
