"""A run whose heat maps can be computed again in seconds."""

import shutil
from pathlib import Path

from app.http.conftest import SHORT
from semcorr.evaluation.runs.folder import append, open_run, read_run
from semcorr.matchers.load import load_matcher
from semcorr.storage.record_store import Shard, new_record_file


def copy_with_maps(page_runs: Path, folder: Path) -> Path:
    """Copy a folder with the run ``deep/mine``, and add ``again``: the same pairs, by a method that has heat maps."""
    shutil.copytree(page_runs, folder, dirs_exist_ok=True)
    before = read_run(page_runs / "deep" / "mine")
    method = {"name": "attention-dift", "preset": "fast", **load_matcher("attention-dift", "toy", **SHORT).identity()}
    open_run(folder / "again", {**before.settings, "method": method}, len(before.records))
    file = new_record_file(folder / "again", Shard())
    for record in before.records:
        append(file, record)
    return folder
