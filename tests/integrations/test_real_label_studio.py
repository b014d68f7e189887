"""The whole way with a real Label Studio server, where ``SEMCORR_LABEL_STUDIO`` names its command.

Label Studio is 1 GB of packages, so that continuous integration does without: ``pip install label-studio==1.23.2`` in
an environment of its own, then ``SEMCORR_LABEL_STUDIO=…/bin/label-studio pytest -m slow tests/integrations``. With
``SEMCORR_DOC_IMAGES`` the documentation's screenshot is made anew.
"""

import http.cookiejar
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from app.browsing import keep_screenshot
from cli.conftest import START
from integrations.serving import REQUESTS
from semcorr.app.server.address import Address, free_port
from semcorr.keypoints import read_annotations
from semcorr.toy.coco import ToyWorld, write_coco

if TYPE_CHECKING:
    from playwright.sync_api import Browser

COMMAND = os.environ.get("SEMCORR_LABEL_STUDIO", "")
EMAIL, PASSWORD = "me@example.com", "not-secret-1"
SECONDS = 400

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMMAND, reason="SEMCORR_LABEL_STUDIO names no label-studio"),
]


class Person:
    """Somebody who is logged in."""

    def __init__(self, url: str) -> None:
        self.url, self._cookies = url, http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self.ask("/user/login/")
        self.ask("/user/login/", f"email={EMAIL}&password={PASSWORD}".encode(), "application/x-www-form-urlencoded")

    def ask(self, path: str, content: Any = None, kind: str = "application/json", method: str | None = None) -> Any:
        body = content if isinstance(content, bytes) or content is None else json.dumps(content).encode()
        token = next((one.value or "" for one in self._cookies if one.name == "csrftoken"), "")
        headers = {"content-type": kind, "x-csrftoken": token, "referer": self.url}
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)  # noqa: S310
        with self._opener.open(request, timeout=SECONDS) as answer:
            received = answer.read()
        return json.loads(received) if received[:1] in (b"{", b"[") else received

    def upload(self, path: str, files: list[Path]) -> Any:
        boundary, parts = uuid.uuid4().hex, b""
        for number, file in enumerate(files):
            head = f'--{boundary}\r\ncontent-disposition: form-data; name="f{number}"; filename="{file.name}"\r\n'
            parts += head.encode() + b"content-type: image/png\r\n\r\n" + file.read_bytes() + b"\r\n"
        return self.ask(path, parts + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}")


def until(ready: Callable[[], Any]) -> Any:
    """What it returns when that is true for the first time."""
    end = time.monotonic() + SECONDS
    while not (result := ready()):
        assert time.monotonic() < end
        time.sleep(0.5)
    return result


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    port = free_port(Address(port=0))
    # Without the two settings it refuses backends on its own machine.
    allowed = {"ML_BLOCK_LOCAL_IP": "false", "SSRF_PROTECTION_ENABLED": "false"}
    silent = {
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    environment = {**os.environ, **allowed, **silent, "LABEL_STUDIO_BASE_DATA_DIR": str(tmp_path / "label-studio")}
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    arguments = ["start", "--no-browser", "--port", str(port), "--username", EMAIL, "--password", PASSWORD]
    url = f"http://localhost:{port}"

    def is_up() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")[-3000:]
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False

    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([COMMAND, *arguments], env=environment, stdout=log, stderr=log)
        try:
            until(is_up)
            yield Person(url)
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def start() -> Iterator[Callable[..., str]]:
    """Start ``semcorr label-studio`` on a free port; its address."""
    with ExitStack() as started:

        def run(*arguments: str, key: str) -> str:
            process = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", START, "label-studio", *arguments, "--port", "0"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", "LABEL_STUDIO_API_KEY": key},
                )
            )
            started.callback(process.kill)
            assert process.stdout is not None
            for line in process.stdout:
                if address := re.search(r"http://localhost:\d+", line):
                    return address[0]
            raise AssertionError("the backend did not start")

        yield run


def open_task(browser: "Browser", url: str, path: str, names: Sequence[str]) -> None:
    """Log in with a browser, and open a task: its predicted regions are listed."""
    tab = browser.new_page(viewport={"width": 1400, "height": 860})
    tab.set_default_timeout(1000 * SECONDS)
    tab.goto(f"{url}/user/login/")
    tab.fill("input[name=email]", EMAIL)
    tab.fill("input[name=password]", PASSWORD)
    tab.click("button[type=submit]")
    tab.wait_for_url(lambda address: "/login" not in address)
    tab.goto(url + path)
    listed = tab.locator(".lsf-outliner-item, .lsf-tree__node")
    listed.first.wait_for()
    shown = " ".join(listed.all_inner_texts())
    assert sum(name in shown for name in names) >= 3
    keep_screenshot(tab, "label-studio-predictions")
    tab.close()


def test_annotate_three_and_get_the_others(
    person: Person, start: Callable[..., str], browser: "Browser", tmp_path: Path
) -> None:
    world: ToyWorld = write_coco(tmp_path / "faces", categories=("face",), support=3, targets=5, size=256)
    configuration = REQUESTS["setup"]["schema"]
    project = person.ask("/api/projects/", {"title": "Faces", "label_config": configuration})["id"]
    person.upload(f"/api/projects/{project}/import", sorted(world.images.iterdir()))
    listed = person.ask(f"/api/tasks?project={project}&page_size=20&fields=all")["tasks"]
    tasks = {one["data"]["photo"].partition("-")[2]: one["id"] for one in listed}
    known = read_annotations(world.annotations, world.images)
    names = known.categories["face"].keypoints
    for image in known.images:
        if image.annotated:
            (one,) = image.instances
            common = {"original_width": 256, "original_height": 256, "image_rotation": 0, "type": "keypointlabels"}
            result = [
                {
                    **common,
                    "from_name": "points",
                    "to_name": "img",
                    "id": name,
                    "value": {"x": x / 2.56, "y": y / 2.56, "width": 0.5, "keypointlabels": [name]},
                }
                for name, (x, y), mark in zip(names, one.points.tolist(), one.visibility, strict=True)
                if mark == 2
            ]
            person.ask(f"/api/tasks/{tasks[image.file]}/annotations/", {"result": result})
    key = person.ask("/api/token/", {})["token"]
    backend = start("--label-studio", person.url, "--method", "hypercolumn", "--model", "lite0", key=key)
    connection = {"project": project, "url": backend, "title": "semcorr", "is_interactive": True}
    number = person.ask("/api/ml/", connection)["id"]
    person.ask(f"/api/ml/{number}/train", {})
    until(lambda: person.ask(f"/api/ml/{number}")["model_version"].startswith("semcorr hypercolumn"))
    selected = {"selectedItems": {"all": True, "excluded": []}}
    assert person.ask(f"/api/dm/actions/?id=retrieve_tasks_predictions&project={project}", selected)

    truth = read_annotations(world.truth, world.images)
    distances: list[float] = []
    for image in truth.images:
        if image.annotated:
            (prediction,) = person.ask(f"/api/tasks/{tasks[image.file]}")["predictions"]
            assert prediction["model_version"].startswith("semcorr hypercolumn")
            for region in prediction["result"]:
                row = names.index(region["value"]["keypointlabels"][0])
                at = np.array([region["value"]["x"], region["value"]["y"]]) * 2.56
                distances.append(float(np.linalg.norm(at - image.instances[0].points[row])))
    distances = [one for one in distances if np.isfinite(one)]
    assert len(distances) >= 15
    assert np.median(distances) < 0.05 * 256
    open_task(browser, person.url, f"/projects/{project}/data?task={tasks['face-0004.png']}", names)

    context = REQUESTS["rectangle"]["params"]["context"]
    asked = {"task": tasks["face-0003.png"], "context": context}
    answer = person.ask(f"/api/ml/{number}/interactive-annotating", asked)["data"]["result"]
    assert (answer[0]["type"], len(answer) > 3) == ("rectanglelabels", True)
