"""Many images in several processes: as in one, in order, and nothing runs on after Ctrl-C or the end of a script."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import semcorr
from semcorr.errors import ImageError, SettingsError
from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.features.dift import DiftMatcher
from semcorr.matchers.results import Matches
from semcorr.settings import override

PIXELS = np.random.default_rng(0).integers(256, size=(6, 40, 60, 3), dtype=np.uint8)

SCRIPT = """
import itertools, multiprocessing, signal
import numpy as np
import semcorr

def locate():
    image = np.random.default_rng(0).integers(256, size=(200, 300, 3), dtype=np.uint8)
    matcher = semcorr.load_matcher("dift", "toy", samples=1, device="cpu")
    query = matcher.describe(image, [(100, 100), (200, 50)])
    return matcher.locate_many(query, itertools.repeat(image), workers=2)

if __name__ == "__main__":
    # A test run in the background inherits that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    located = locate()
    try:
        next(located)
        print("begun", flush=True)
        for _ in located:
            pass
    except KeyboardInterrupt:
        located.close()
        print(f"{len(multiprocessing.active_children())} processes", flush=True)
    kept = locate()  # with heat maps that a pipe does not hold, and nobody takes
    next(kept)
"""


@pytest.fixture
def matcher() -> Iterator[Matcher]:
    """One thread, in this process and in each worker: the same sums in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield semcorr.load_matcher("dift", "toy", samples=1, device="cpu")
    torch.set_num_threads(before)


@pytest.mark.slow
def test_several_processes_find_what_one_finds(matcher: Matcher, tmp_path: Path) -> None:
    query = matcher.describe(PIXELS[0], [(10, 20), (30, 5)], names=["a", "b"])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    PIL.Image.fromarray(PIXELS[1]).save(tmp_path / "1.png")
    images = [PIXELS[0], tmp_path / "1.png", str(broken), Image(pixels=PIXELS[2], name="two"), PIXELS[3], PIXELS[4]]
    calls: list[tuple[str, int, int]] = []

    def note(stage: str, done: int, total: int, **_: object) -> None:
        calls.append((stage, done, total))

    together = list(matcher.locate_many(query, images, workers=2, progress=note))
    alone = list(matcher.locate_many(query, images))
    assert len(together) == len(alone) == len(images)
    for one, other in zip(together, alone, strict=True):
        assert type(one) is type(other)
        if isinstance(one, ImageError) or isinstance(other, ImageError):
            assert str(one) == str(other)
            continue
        assert isinstance(one, Matches)
        assert (one.image_sha256, one.names, one.calibration) == (other.image_sha256, other.names, other.calibration)
        for name in ("points", "confidence", "heatmaps"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert calls == [("images", done, len(images)) for done in range(1, len(images) + 1)]


@pytest.mark.slow
def test_ctrl_c_ends_the_processes_and_so_does_the_end_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        ends = threading.Timer(300, process.kill)
        ends.start()
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        ends.cancel()
    assert (out, err, process.returncode) == ("0 processes\n", "", 0)


def test_a_matcher_that_no_process_could_load_is_refused() -> None:
    loaded = semcorr.load_matcher("dift", "toy", samples=1, device="cpu")
    query = loaded.describe(PIXELS[0], [(1, 1)])
    for other in (
        DiftMatcher.from_pretrained("toy", samples=1, device="cpu"),
        loaded.with_settings(override(loaded.settings, t=100)),
    ):
        with pytest.raises(SettingsError, match=r"not made by semcorr\.load_matcher, or changed since\. Load it so"):
            next(other.locate_many(query, [PIXELS[0]], workers=2))
    with pytest.raises(SettingsError, match="at least 1 worker, got 0"):
        next(loaded.locate_many(query, [PIXELS[0]], workers=0))
