"""Actions of tests in a browser: send, click, choose, find, save."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

if TYPE_CHECKING:
    from playwright.sync_api import Locator
    from playwright.sync_api import Page as Tab

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--disable-quic", "--disable-dev-shm-usage"),
]
PATIENCE = 60_000
"""Milliseconds; the machine may be busy."""


def send(tab: "Tab", which: str, *files: Path) -> None:
    """Upload through the button, as its file chooser would."""
    tab.set_input_files(f"input[type=file] >> nth={['source', 'targets', 'words'].index(which)}", list(map(str, files)))


def save_image(path: Path, width: int, height: int) -> Path:
    """Save a smooth random image of a size."""
    coarse = np.random.default_rng(width).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    PIL.Image.fromarray(coarse).resize((width, height), PIL.Image.Resampling.BICUBIC).save(path)
    return path


def click_pixel(tab: "Tab", stage: "Locator", size: tuple[int, int], pixel: tuple[int, int]) -> None:
    """Scroll to a pixel of an image, and click its middle."""
    box = stage.bounding_box()
    assert box is not None
    across, down = (pixel[0] + 0.5) / size[0], (pixel[1] + 0.5) / size[1]
    stage.evaluate(
        """(stage, [x, y]) => { const frame = stage.parentElement;
        frame.scrollLeft = x - frame.clientWidth / 2; frame.scrollTop = y - frame.clientHeight / 2; }""",
        [across * box["width"], down * box["height"]],
    )
    stage.evaluate("stage => stage.parentElement.scrollIntoView({block: 'center'})")
    box = stage.bounding_box()
    assert box is not None
    tab.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])


def choose(tab: "Tab", elem_id: str, choice: str) -> None:
    """Choose from a list."""
    tab.click(f"#{elem_id} input")
    tab.click(f"ul[role=listbox] >> li[aria-label='{choice}']")


def choose_method(tab: "Tab", method: str, preset: str) -> None:
    """Choose a method, and wait until its default preset is there: Find takes what the lists show."""
    choose(tab, "method", method)
    tab.wait_for_function(f"document.querySelector('#preset input').value === '{preset}'")


def find(tab: "Tab") -> None:
    tab.click("#find")
    tab.wait_for_selector("#legend .sc-legend")


def exported(tab: "Tab", name: str) -> bytes:
    """Save one of the files that Export offers."""
    tab.click("#export")
    with tab.expect_download() as download:
        tab.click(f"#files a[download='{name}']")
    return Path(download.value.path()).read_bytes()


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def wait_for_text(tab: "Tab", text: str, where: str = "#status") -> str:
    """Wait until the page shows a text, and return the whole message."""
    tab.wait_for_selector(f"{where} >> text=/{text}/")
    return tab.inner_text(where)
