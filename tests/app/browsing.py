"""Actions of tests in a browser: send, click, touch, choose, find, save."""

import csv
import io
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from deadline import DEADLINE

if TYPE_CHECKING:
    from playwright.sync_api import APIResponse, BrowserContext, Route
    from playwright.sync_api import Page as Tab

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--disable-quic", "--disable-dev-shm-usage"),
]
PATIENCE = 60_000
"""Milliseconds; the machine may be busy."""

OPTIONS: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
"""A browser's options, unless a test has others: no page scrolls smoothly under a click."""

LATENCY = 50
"""Milliseconds until a server's answer comes; a person waits for longer ones."""

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
"""A browser's options."""

SOURCE = "#source .stage"


def open_slowly(context: "BrowserContext") -> "Tab":
    """Open a tab in which every answer comes late: a test that does not wait for one fails always, not now and then."""
    tab = context.new_page()
    conditions = {"offline": False, "latency": LATENCY, "downloadThroughput": -1, "uploadThroughput": -1}
    context.new_cdp_session(tab).send("Network.emulateNetworkConditions", conditions)
    return tab


@contextmanager
def hold(tab: "Tab", pattern: str | re.Pattern[str]) -> Iterator[None]:
    """Let no request to such an address reach the server before the block ends."""
    held: list["Route"] = []
    late = True

    def handle(route: "Route") -> None:
        if late:
            held.append(route)
        else:
            route.fallback()

    tab.route(pattern, handle)
    yield
    late = False
    for route in held:
        route.fallback()


@contextmanager
def hold_answer(tab: "Tab", pattern: str | re.Pattern[str]) -> Iterator[None]:
    """Let the answer to the next request to such an address not reach the page before the block ends."""
    held: list[tuple["Route", "APIResponse"]] = []
    tab.route(pattern, lambda route: held.append((route, route.fetch())), times=1)
    yield
    end = time.monotonic() + DEADLINE
    while not held:
        assert time.monotonic() < end, f"nothing asked for {pattern}, or nothing answered"
        tab.wait_for_timeout(50)
    for route, answer in held:
        route.fulfill(response=answer)


def send(tab: "Tab", which: str, *files: Path) -> None:
    """Choose files for the source, the targets or the words, as in the file chooser."""
    tab.set_input_files(f"#{which}-file", list(map(str, files)))


def save_image(path: Path, width: int, height: int) -> Path:
    """Save a smooth random image of a size."""
    coarse = np.random.default_rng(width).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    PIL.Image.fromarray(coarse).resize((width, height), PIL.Image.Resampling.BICUBIC).save(path)
    return path


def target(number: int) -> str:
    """The image of a target, counted from 0."""
    return f"#grid figure >> nth={number} >> .stage"


def on_screen(tab: "Tab", stage: str, x: float, y: float) -> tuple[float, float]:
    """Scroll to a location of an image, in its pixels; return where it is on the screen."""
    tab.locator(stage).evaluate("stage => stage.scrollIntoView({block: 'center', behavior: 'instant'})")
    # By the browser's own arithmetic, not the page's.
    at: list[float] = tab.locator(stage).evaluate(
        """(stage, [x, y]) => { const at = new DOMPoint(x, y).matrixTransform(stage.getScreenCTM());
        return [at.x, at.y]; }""",
        [x, y],
    )
    return at[0], at[1]


def click_pixel(tab: "Tab", stage: str, pixel: tuple[int, int]) -> None:
    """Click the middle of a pixel of an image."""
    tab.mouse.click(*on_screen(tab, stage, pixel[0] + 0.5, pixel[1] + 0.5))


def drag(tab: "Tab", stage: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag from one location of an image to another, in its pixels."""
    on_screen(tab, stage, *end)
    tab.mouse.move(*on_screen(tab, stage, *start))
    tab.mouse.down()
    tab.mouse.move(*on_screen(tab, stage, *end), steps=4)
    tab.mouse.up()


class Fingers:
    """Fingers on the screen of a tab; locations are in pixels of the screen."""

    def __init__(self, tab: "Tab") -> None:
        self._tab = tab
        self._protocol = tab.context.new_cdp_session(tab)

    def _send(self, kind: str, fingers: Sequence[tuple[float, float]]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
        self._protocol.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def move(self, *fingers: tuple[tuple[float, float], tuple[float, float]], steps: int = 12) -> None:
        """Put fingers down, move each from its first location to its second one, and lift them."""
        self._send("touchStart", [start for start, _ in fingers])
        for step in range(1, steps + 1):
            share = step / steps
            self._send("touchMove", [(a + (c - a) * share, b + (d - b) * share) for (a, b), (c, d) in fingers])
            self._tab.wait_for_timeout(16)  # a frame
        self._send("touchEnd", [])


def choose_method(tab: "Tab", method: str, preset: str) -> None:
    """Choose a method, which brings its default preset."""
    if tab.is_hidden("#method"):
        tab.click("#more")
    tab.select_option("#method", method)
    assert tab.input_value("#preset") == preset


def find(tab: "Tab") -> str:
    """Press Find, wait for the results, and return the message."""
    tab.click("#find")
    return wait_for_text(tab, "Done with")


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
    from playwright.sync_api import TimeoutError as Late

    try:
        tab.wait_for_selector(f"{where} >> text=/{text}/")
    except Late:
        raise AssertionError(f"{text!r} did not appear in {where}; the page says: {tab.inner_text('body')}") from None
    return tab.inner_text(where)


def until(tab: "Tab", script: str, argument: Any = None) -> None:
    """Wait until a script says so; the page's policy forbids Playwright's own way."""
    end = time.monotonic() + PATIENCE / 1000
    while not tab.evaluate(script, argument):
        assert time.monotonic() < end, f"{script} did not become true; the page says: {tab.inner_text('body')}"
        tab.wait_for_timeout(50)


def still(tab: "Tab") -> None:
    """Wait until a scroll that has begun has ended: a page rolls on for a while."""
    before = None
    while (now := tab.evaluate("scrollY")) != before:
        before = now
        tab.wait_for_timeout(300)


def wait_for_points(tab: "Tab", count: int, stage: str = SOURCE) -> None:
    """Wait until an image shows so many points."""
    until(
        tab,
        "([stage, count]) => document.querySelector(stage).querySelectorAll('.point').length === count",
        [stage, count],
    )


def load_example(tab: "Tab", category: str) -> None:
    """Load an example, and wait for its three targets."""
    tab.click(f"#example-{category}")
    tab.wait_for_selector(f"#source-name >> text={category}-source.png")
    tab.wait_for_selector(target(2))


def keep_screenshot(tab: "Tab", name: str) -> None:
    """Save a screenshot for the documentation, into the folder that ``SEMCORR_DOC_IMAGES`` names, if it does."""
    if folder := os.environ.get("SEMCORR_DOC_IMAGES"):
        tab.mouse.move(0, 0)
        tab.wait_for_timeout(500)  # until images are drawn and nothing moves
        tab.screenshot(path=Path(folder, f"{name}.png"))


def located(tab: "Tab") -> list[str]:
    """All points of all targets as they are read aloud."""
    script = """points => points.map(point => point.closest('figure').querySelector('bdi').textContent + ': ' +
        point.getAttribute('aria-label'))"""
    points: list[str] = tab.eval_on_selector_all("#grid .point", script)
    return sorted(points)
