import json
import math
from types import SimpleNamespace

import numpy as np

from semcorr.cli import console


def test_json_holds_numpy_and_nothing_that_is_not_finite(capsys):
    console.show_json({"a": np.float32(0.5), "b": np.array([[1, 2]]), "c": (math.nan, math.inf, 1.5), "d": np.True_})
    assert json.loads(capsys.readouterr().out) == {"a": 0.5, "b": [[1, 2]], "c": [None, None, 1.5], "d": True}


def test_where_no_bar_can_be_drawn_lines_show_the_time_left(capsys, monkeypatch):
    now = 100.0
    # Not for the whole process: event loops of its servers would sleep for as long as the clock is behind.
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now))
    with console.TerminalProgress() as progress:
        for done in range(5):
            # 6 s a step: a line is due from 10 s on, and 10 s after it the next one.
            progress("optimize", done, 10, loss=0.125)
            now += 6.0
    assert capsys.readouterr().err.splitlines() == [
        "optimize 2/10, about 48 s left (loss 0.125)",
        "optimize 4/10, about 36 s left (loss 0.125)",
    ]


def test_a_download_is_reported_in_megabytes(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now))
    with console.TerminalProgress() as progress:
        progress("download", 0, 4_000_000_000)
        now = 20.0
        progress("download", 400_000_000, 4_000_000_000, file="unet")
    assert capsys.readouterr().err.splitlines() == [
        "Downloading 4000 MB.",
        "download 400/4000 MB, about 3 min left (file unet)",
    ]


def test_a_fallback_to_float32_is_reported_at_once(capsys):
    with console.TerminalProgress() as progress:
        progress("optimize", 0, 10)
        progress("float32", 0, 1, reason="in float32, because float16 overflowed (The U-Net gave NaN.)")
    message = capsys.readouterr().err
    assert message == "A part is done in float32, because float16 overflowed (The U-Net gave NaN.).\n"
