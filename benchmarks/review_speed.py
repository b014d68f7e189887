"""How fast ``semcorr review`` opens thousands of images, turns a page, and takes decisions by keyboard, in a browser.

``python -m benchmarks.review_speed [--images 5000] [--size 1600 1200] [--decisions 60]``
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import PIL.Image
from cyclopts import Parameter
from rich.table import Table

from benchmarks.command import main, new_app, save_json
from semcorr.cli import console
from semcorr.errors import SettingsError

_NAMES = [f"point {number}" for number in range(1, 9)]

_NEXT_PAGE = """async beginning => {
  const begin = performance.now();
  document.getElementById("page-after").click();
  const heading = document.getElementById("heading");
  while (!heading.textContent.startsWith(beginning)) await new Promise(requestAnimationFrame);
  return (performance.now() - begin) / 1000;
}"""
"""In the browser itself: Playwright's own click takes a tenth of a second."""

app = new_app("review_speed", "Time the page of semcorr review with thousands of images.")


@app.default
def speed(
    *,
    images: int = 5000,
    size: tuple[int, int] = (1600, 1200),
    decisions: int = 60,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Generate images with an object each, and review them in a browser.

    Args:
        images: How many.
        size: Their width and height in pixels.
        decisions: How many objects are accepted by keyboard, each as soon as the one before it is shown as accepted.
        json_file: A file that all figures are written to as well.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SettingsError("Expected Chromium on this machine, got none: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="semcorr-review-") as folder:
        path = _generate(Path(folder), images, size)
        with _served(path) as (address, started):
            seconds = {"command until it answers": started, **_in_browser(browser, address, images, decisions)}
    table = Table(title=f"{images} images of {size[0]} x {size[1]}", title_justify="left")
    table.add_column("what")
    table.add_column("seconds", justify="right")
    for what, value in seconds.items():
        table.add_row(what, f"{value:.3f}")
    console.show(table)
    if json_file is not None:
        save_json({"images": images, "size": size, "seconds": seconds}, json_file)
    return 0


def _generate(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """A file of predictions; each image is a file of its own, of sixteen different ones."""
    draws = np.random.default_rng(0)
    pixels = []
    for _ in range(16):
        stream = io.BytesIO()
        coarse = PIL.Image.fromarray(draws.integers(0, 255, (24, 32, 3), dtype=np.uint8))
        coarse.resize(size, PIL.Image.Resampling.BICUBIC).save(stream, format="JPEG", quality=85)
        pixels.append(stream.getvalue())
    (folder / "images").mkdir()
    entries: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        file = f"{number:06d}.jpg"
        (folder / "images" / file).write_bytes(pixels[number % 16])
        entries.append({"id": number, "file_name": file, "width": size[0], "height": size[1]})
        points = np.column_stack([draws.uniform(0, 1, (8, 2)) * size, draws.uniform(0, 1, 8)]).round(2)
        marked = [[x, y, 2] if sure >= 0.5 else [0, 0, 0] for x, y, sure in points.tolist()]
        objects.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "keypoints": [value for point in marked for value in point],
                "keypoints_found": points.ravel().tolist(),
                "score": float(points[:, 2].mean().round(4)),
                "semcorr": {"predicted": True},
            }
        )
    categories = [{"id": 1, "name": "object", "keypoints": _NAMES}]
    path = folder / "found.json"
    path.write_text(json.dumps({"images": entries, "annotations": objects, "categories": categories}), encoding="utf-8")
    return path


@contextmanager
def _served(path: Path) -> Iterator[tuple[str, float]]:
    """The page's address, and the seconds from the start of the command until it answers."""
    begin = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-m", "semcorr", "review", str(path), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        address = re.search(r"http://\S+", line)
        if address is None:
            raise SettingsError("The page did not start. Run semcorr review by itself to see why.")
        yield address[0], time.perf_counter() - begin
    finally:
        process.kill()
        process.wait()


def _in_browser(browser: str, address: str, images: int, decisions: int) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    seconds: dict[str, float] = {}
    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        tab = opened.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(address)  # a first time, as the browser itself takes a while to begin
        tab.wait_for_selector(".card[aria-current]")

        begin = time.perf_counter()
        tab.reload(wait_until="commit")
        tab.wait_for_selector(".card[aria-current]")
        seconds["page until all objects are listed"] = time.perf_counter() - begin

        begin = time.perf_counter()
        seconds["page after it"] = tab.evaluate(_NEXT_PAGE, f"25 of {images} ")
        tab.wait_for_load_state("networkidle")
        seconds["its images, the first time"] = time.perf_counter() - begin

        begin = time.perf_counter()
        for number in range(decisions):
            tab.keyboard.press("a")
            tab.wait_for_selector(f"#counts >> text=/ {number + 1} accepted/")
        seconds["a decision by keyboard, until it is saved"] = (time.perf_counter() - begin) / decisions
        opened.close()
    return seconds


if __name__ == "__main__":
    sys.exit(main(app))
