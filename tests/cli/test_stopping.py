"""Ctrl-C and a reader that goes away, with real processes and real signals."""

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import PIL.Image
import pytest

from deadline import DEADLINE


def read_until(terminal: int, word: bytes) -> bytes:
    """Read what a process shows on its terminal until a word appears."""
    seen = b""
    end = time.monotonic() + DEADLINE
    while word not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"{word!r} did not appear before {seen[-200:]!r}"
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # nobody holds the other end any more
            raise AssertionError(f"ended without {word!r}: {seen[-2000:].decode(errors='replace')}") from None
    return seen


def wait_for(process: subprocess.Popen[bytes], folder: Path, pattern: str, count: int) -> None:
    """Wait until a process has made so many files."""
    end = time.monotonic() + DEADLINE
    while len(list(folder.glob(pattern))) < count:
        assert process.poll() is None, f"ended without {count} files: {process.communicate()}"
        assert time.monotonic() < end, f"not {count} of {pattern} in {folder}"
        time.sleep(0.01)


@pytest.mark.slow
def test_stopped_while_describing(semcorr_process, images, quick, tmp_path):
    leader, follower = pty.openpty()
    words = ["match", *images[:2], "-p", 10, 20, *quick, "--set", "lr=0.01", "-o", tmp_path / "out"]
    words[words.index("steps=2")] = "steps=100000"
    process = semcorr_process(*words, stdout=subprocess.PIPE, stderr=follower)
    try:
        os.close(follower)
        shown = read_until(leader, b"optimize")
        process.send_signal(signal.SIGINT)
        shown += read_until(leader, b"Stopped.")
        assert process.wait(timeout=DEADLINE) == 130
        assert b"Traceback" not in shown
        assert not (tmp_path / "out").exists()
    finally:
        os.close(leader)


@pytest.mark.slow
def test_targets_that_are_done_stay(semcorr_process, images, quick, tmp_path):
    targets = images[1:] * 8
    words = ["match", images[0], *targets, "-p", 10, 20, *quick, "--json", "-o", tmp_path / "out"]
    words[words.index("locate_crops=4")] = "locate_crops=16"
    process = semcorr_process(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(process, tmp_path / "out", "*.png", 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    *_, line = err.decode().splitlines()  # a slow machine shows progress before
    document = json.loads(out)
    done = [Path(target["figure"]) for target in document["targets"]]
    assert 1 <= len(done) < len(targets)
    assert line == f"Stopped. {len(done)} of {len(targets)} targets are done and stay."
    for path in done:
        with PIL.Image.open(path) as figure:
            figure.load()
    assert not list((tmp_path / "out").glob(".*"))


def test_a_reader_that_goes_away(semcorr_process):
    process = semcorr_process("--help", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=DEADLINE) == 141
