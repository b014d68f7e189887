"""The page in a real browser: headless Chromium, with ``python -m semcorr app`` as a process."""

import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest

from app.browsing import (
    PATIENCE,
    choose,
    choose_method,
    click_pixel,
    exported,
    find,
    rows_of,
    save_image,
    send,
    wait_for_text,
)
from app.serving import SITECUSTOMIZE, Page
from semcorr.matchers.results import Query

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(serve: Callable[..., Page], chromium: str, page_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    # The paper's method with so many steps that a run takes minutes unless it is cancelled.
    endless = ("--method", "prompt", "--preset", "paper", "--set", "steps=5000")
    return serve(*endless, "--max-megabytes", 1, "--max-megapixels", 4, "--runs", page_runs)


@pytest.mark.parametrize("size", [(1600, 1200), (60, 900), (2000, 40), (48, 48)], ids="{0[0]}x{0[1]}".format)
def test_a_click_is_the_pixel_that_was_clicked(
    open_tab: Callable[[], "Tab"], tmp_path: Path, size: tuple[int, int]
) -> None:
    tab = open_tab()
    send(tab, "source", save_image(tmp_path / "source.png", *size))
    stage = tab.locator("#source .sc-stage")
    stage.wait_for()
    plain, zoomed = (size[0] // 3, size[1] // 4), (size[0] * 3 // 4, size[1] * 2 // 3)
    click_pixel(tab, stage, size, plain)
    tab.wait_for_selector("#source .sc-point >> nth=0")
    shown = stage.bounding_box()
    assert shown is not None
    while (box := stage.bounding_box()) and box["width"] < size[0]:
        tab.click("#source button[title='zoom in']")
    click_pixel(tab, stage, size, zoomed)
    tab.wait_for_selector("#source .sc-point >> nth=1")
    send(tab, "targets", save_image(tmp_path / "target.png", 64, 64))
    tab.wait_for_selector("#targets .sc-stage")
    choose_method(tab, "dift", "published")
    find(tab)
    rows = rows_of(exported(tab, "matches.csv"))
    points = [(float(row["x"]), float(row["y"])) for row in rows if row["role"] == "source"]
    # Unzoomed, a mouse cannot point more finely than at one pixel of the screen.
    coarse = max(1.0, size[0] / shown["width"])
    for point, pixel, slack in zip(points, (plain, zoomed), (coarse, 1.0), strict=True):
        assert abs(point[0] - (pixel[0] + 0.5)) <= slack
        assert abs(point[1] - (pixel[1] + 0.5)) <= slack


def test_find_inspect_correct_and_export(open_tab: Callable[[], "Tab"], tmp_path: Path) -> None:
    tab = open_tab()
    tab.click("#example-animal")
    tab.wait_for_selector("#targets .sc-stage >> nth=2")
    tab.locator("#source .sc-point >> nth=3").locator("circle >> nth=0").click()
    tab.wait_for_selector("#source .sc-point[data-index='3'].sc-active")
    tab.click("#delete")
    tab.wait_for_function("document.querySelectorAll('#source .sc-point').length === 3")
    # A dragged point is where it was dropped.
    stage = tab.locator("#source .sc-stage").bounding_box()
    grip = tab.locator("#source .sc-point >> nth=2").locator("circle >> nth=0").bounding_box()
    assert stage is not None
    assert grip is not None
    tab.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2, steps=4)
    tab.mouse.up()
    tab.wait_for_timeout(500)
    tab.fill("#names input, #names textarea", "snout, tail, paw")
    tab.press("#names input, #names textarea", "Enter")
    choose_method(tab, "attention-dift", "fast")
    find(tab)
    assert "calibrated on" in tab.inner_text("#legend")
    heats = lambda: tab.eval_on_selector_all("#targets .sc-heat", "all => all.map(one => one.src)")  # noqa: E731
    every = heats()
    assert len(every) == 3
    choose(tab, "point", "2 tail")
    tab.wait_for_selector("#targets .sc-active")
    assert set(heats()).isdisjoint(every)
    own = heats()
    choose(tab, "layer", "up_blocks.2.attentions.1")
    tab.wait_for_function(f"document.querySelector('#targets .sc-heat').src !== {json.dumps(own[0])}")
    # The attribute changes before the new image is loaded.
    tab.wait_for_function("document.querySelector('#targets .sc-heat').naturalWidth > 0")

    # Correct the third match of the second target: select it by a click, then click its true location.
    tab.locator("#targets figure >> nth=1").locator(".sc-point >> nth=2").locator("circle >> nth=0").click()
    tab.wait_for_selector("#targets figure >> nth=1 >> .sc-point[data-index='2'].sc-active")
    click_pixel(tab, tab.locator("#targets .sc-stage >> nth=1"), (256, 256), (40, 200))
    tab.wait_for_function("document.querySelector('#targets').textContent.includes('paw: corrected by hand')")
    files = zipfile.ZipFile(io.BytesIO(exported(tab, "semcorr-matches.zip")))
    rows = rows_of(files.read("matches.csv"))
    assert [(row["role"], row["point"]) for row in rows[:3]] == [("source", "1"), ("source", "2"), ("source", "3")]
    assert abs(float(rows[2]["x"]) - 128) <= 1
    assert abs(float(rows[2]["y"]) - 128) <= 1
    moved = [row for row in rows if row["corrected"] == "yes"]
    assert [(row["image"], row["point"], row["name"]) for row in moved] == [("animal-2.png", "3", "paw")]
    assert abs(float(moved[0]["x"]) - 40.5) <= 1
    assert abs(float(moved[0]["y"]) - 200.5) <= 1
    coco = json.loads(files.read("matches.coco.json"))
    assert coco["categories"][0]["keypoints"] == ["snout", "tail", "paw"]
    assert coco["annotations"][2]["keypoints"][6:] == pytest.approx(
        [float(moved[0]["x"]) - 0.5, float(moved[0]["y"]) - 0.5, 2], abs=0.01
    )
    assert PIL.Image.open(io.BytesIO(files.read("animal-2-matches.png"))).width > 500
    (tmp_path / "query.safetensors").write_bytes(files.read("query.safetensors"))
    assert Query.load(tmp_path / "query.safetensors").names == ("snout", "tail", "paw")


def test_optimizing_is_shown_and_cancel_frees_the_queue_for_another_user(open_tab: Callable[[], "Tab"]) -> None:
    one, other = open_tab(), open_tab()
    one.click("#example-face")
    one.wait_for_selector("#targets .sc-stage")
    one.click("#find")
    one.wait_for_selector("#status svg polyline")
    one.wait_for_selector("#source .sc-heat")
    assert re.search(r"optimize, \d+ of \d+ · about .+ left · loss 0\.\d+", one.inner_text("#status"))

    other.click("#example-car")
    other.wait_for_selector("#targets .sc-stage")
    choose_method(other, "dift", "published")
    other.click("#find")
    wait_for_text(other, "Waiting: 1 job is before yours")

    one.click("#cancel")
    one.wait_for_selector("#status >> text=/Cancelled/", timeout=10_000)
    one.wait_for_selector("#find:not([disabled])")
    other.wait_for_selector("#legend .sc-legend")
    # Each has their own images and results.
    assert other.inner_text("#source .sc-title").startswith("car-source.png")
    assert one.inner_text("#source .sc-title").startswith("face-source.png")
    assert one.inner_text("#legend") == ""

    # Closing a page frees the queue as well.
    one.click("#find")
    one.wait_for_selector("#status svg polyline")
    other.click("#example-bird")
    other.click("dialog .sc-yes")  # the results of the car are lost
    other.wait_for_selector("#source .sc-title >> text=bird-source.png")
    other.click("#find")
    wait_for_text(other, "Waiting: 1 job is before yours")
    one.context.close()
    other.wait_for_selector("#legend .sc-legend")


def test_invalid_and_too_large_images_are_refused_with_a_message(
    open_tab: Callable[[], "Tab"], tmp_path: Path, page: Page
) -> None:
    tab = open_tab()
    text = tmp_path / "text.png"
    text.write_text("not an image at all")
    send(tab, "source", text)
    assert "'text.png' is not an image file" in wait_for_text(tab, "not an image")
    PIL.Image.new("RGB", (3000, 1500)).save(tmp_path / "many-pixels.png")
    send(tab, "source", tmp_path / "many-pixels.png")
    message = wait_for_text(tab, "megapixels")
    assert "3000 x 1500" in message
    assert str(page.folder) not in message
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "many-bytes.png")
    assert (tmp_path / "many-bytes.png").stat().st_size > 1_000_000
    send(tab, "source", tmp_path / "many-bytes.png")
    tab.wait_for_selector("text=/exceeds|maximum/i")
    (tmp_path / "notes.txt").write_text("notes")
    send(tab, "targets", tmp_path / "notes.txt")
    tab.wait_for_selector("text=/invalid file type|not an image/i")
    assert tab.locator(".sc-stage").count() == 0
    # Nothing of it stays on the disk.
    assert [path for path in page.folder.rglob("*") if path.is_file() and path.stat().st_size > 0] == []


def test_each_word_gets_a_heat_map(open_tab: Callable[[], "Tab"]) -> None:
    tab = open_tab()
    tab.click("button[role=tab]:has-text('Words')")
    tab.click("#words-example-animal")
    tab.wait_for_selector("#words-image .sc-stage")
    tab.fill("#prompt textarea", "a rabbit with gray tail")
    tab.click("#words-show")
    tab.wait_for_selector("#words .sc-heat >> nth=4")
    assert tab.locator("#words .sc-title").all_inner_texts() == ["a", "rabbit", "with", "gray", "tail"]
    tab.fill("#prompt textarea", "a zeppelin")
    tab.click("#words-show")
    assert "zeppelin" in wait_for_text(tab, "does not know", "#words-status")


def test_inspect_filters_pairs_and_shows_the_truth(open_tab: Callable[[], "Tab"]) -> None:
    tab = open_tab()
    tab.click("button[role=tab]:has-text('Inspect')")
    choose(tab, "run", "deep/mine")
    tab.wait_for_selector("#inspect-target .sc-point line >> nth=0", state="attached")
    assert "3 of 3 pairs" in tab.inner_text("#inspect-status")
    choose(tab, "category", "bird")
    wait_for_text(tab, "2 of 3 pairs", "#inspect-status")
    choose(tab, "outcome", "some wrong")
    wait_for_text(tab, "1 of 3 pairs", "#inspect-status")
    tab.wait_for_function("document.querySelector('#inspect-table').textContent.includes('wrong')")
    assert "pair-1" in tab.input_value("#pair input")
    tab.click("#maps")
    wait_for_text(tab, "a guess that reads no image", "#inspect-status")
    choose(tab, "outcome", "failed")
    tab.wait_for_selector("#inspect-table >> text=/no memory/")


def test_no_file_on_disk_can_be_fetched(page: Page, tmp_path: Path) -> None:
    project = Path(__file__).parents[2]
    (tmp_path / "secret.txt").write_text("a secret")
    (page.folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (page.folder / "own.txt").write_text("even this is nobody's business")
    secrets = ["/etc/passwd", project / "pyproject.toml", "pyproject.toml", "../../etc/passwd", tmp_path / "secret.txt"]
    secrets += [page.folder / "link.txt", page.folder / ".." / "secret.txt", page.folder / "own.txt"]
    paths = [
        f"{way}{path}" for path in secrets for way in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/file/")
    ]
    paths += [f"/{kind}/../../../../../../etc/passwd" for kind in ("static", "assets", "svelte", "semcorr")]
    paths += [f"/{kind}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd" for kind in ("static", "assets", "semcorr")]
    paths += ["/static/%252e%252e/%252e%252e/etc/passwd", "/assets//etc/passwd", "/gradio_api/file=%2Fetc%2Fpasswd"]
    paths += ["/gradio_api/file=http://example.com/", "/gradio_api/proxy=http://example.com/", "/gradio_api/runs"]
    paths += [
        "/gradio_api/vibe-code",
        "/monitoring",
        "/gradio_api/openapi.json",
        "/docs",
        "/semcorr/guess",
        "/manifest.json",
    ]
    for path in paths:
        status, body = asked(page, path)
        assert status in (404, 400), path
        assert b"root:" not in body, path
        assert b"secret" not in body, path
        assert b"[project]" not in body, path
    assert asked(page, "/")[0] == 200
    assert asked(page, "/gradio_api/component_server", "POST")[0] == 404
    assert asked(page, "/gradio_api/vibe-edit", "POST")[0] == 404
    (page.folder / "link.txt").unlink()
    (page.folder / "own.txt").unlink()


def test_other_host_names_and_endless_requests_are_refused(page: Page) -> None:
    # Another host whose name server leads here (DNS rebinding) is refused.
    assert asked(page, "/", headers={"Host": "evil.example:80"})[0] == 421
    assert asked(page, "/gradio_api/queue/join", "POST", {"Content-Length": "50000000"})[0] == 413
    assert asked(page, "/gradio_api/upload", "POST", {"Content-Length": "500000000"})[0] == 413
    assert asked(page, "/gradio_api/upload", "POST", {"Transfer-Encoding": "chunked"})[0] == 411
    assert asked(page, "/gradio_api/cancel", "POST", {"Origin": "http://evil.example", "Content-Length": "0"})[0] == 403
    with closing(http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("GET", "/")
        policy = connection.getresponse().headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_a_file_that_was_not_uploaded_is_neither_read_nor_removed(
    open_tab: Callable[[], "Tab"], page: Page, tmp_path: Path
) -> None:
    tab = open_tab()
    config = json.loads(asked(page, "/config")[1])
    upload = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "source-upload")
    call = next(d["id"] for d in config["dependencies"] if [upload, "upload"] in d["targets"])
    private = save_image(tmp_path / "private.png", 64, 64)
    data = {"path": str(private), "orig_name": "private.png", "meta": {"_type": "gradio.FileData"}}
    body = {"data": [data], "fn_index": call, "session_hash": "abcdefghij", "trigger_id": upload}
    answer = tab.request.post(f"{page.url}/gradio_api/queue/join", data=body)
    assert answer.status == 400
    assert answer.text().startswith("Expected images that were sent to this page")
    assert private.exists()


def asked(page: Page, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Ask for exactly this path, without a client that normalizes it."""
    with closing(http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=30)) as connection:
        connection.putrequest(method, path, skip_host=headers is not None and "Host" in headers)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_no_connection_leaves_the_machine_and_nothing_stays(
    serve: Callable[..., Page], browser: "Browser", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    record = tmp_path / "outgoing.txt"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("SEMCORR_TEST_OUTGOING", str(record))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    watched = serve()
    requests: list[str] = []
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    context.on("request", lambda request: requests.append(request.url))
    tab = context.new_page()
    tab.goto(watched.url)
    tab.wait_for_selector("#source .sc-empty")
    tab.click("#example-face")
    tab.wait_for_selector("#targets .sc-stage")
    choose_method(tab, "nbb", "published")
    find(tab)
    tab.click("#export")
    tab.wait_for_selector("#files a")
    context.close()
    assert len(requests) > 20
    assert [url for url in requests if not url.startswith((watched.url, "data:", "blob:"))] == []
    assert not record.exists(), record.read_text()
    watched.process.send_signal(signal.SIGTERM)
    assert watched.process.wait(30) == 0
    assert not watched.folder.exists()


def test_the_recorder_of_connections_records(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    record = tmp_path / "outgoing.txt"
    code = "import urllib.request; urllib.request.urlopen('http://example.com')"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SEMCORR_TEST_OUTGOING": str(record)}
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode != 0
    assert "example.com" in record.read_text()
