"""What the tests of benchmarks share: fabricated copies in the exact published layouts, and a server of files."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

# One published pair file of SPair-71k, word for word.
LITERAL = """{"pair_id": 1, "filename": "000001-2008_002719-2008_004100:aeroplane", "src_imname": "2008_002719.jpg",
"trg_imname": "2008_004100.jpg", "src_imsize": [500, 333, 3], "trg_imsize": [500, 332, 3],
"src_bndbox": [210, 34, 475, 250], "trg_bndbox": [36, 92, 500, 200], "category": "aeroplane", "src_pose": "Left",
"trg_pose": "Left", "src_kps": [[212, 153], [300, 130], [330, 127]], "trg_kps": [[39, 145], [364, 171], [416, 173]],
"kps_ids": ["0", "7", "11"], "mirror": 0, "viewpoint_variation": 0, "scale_variation": 0, "truncation": 2,
"occlusion": 2}"""


@pytest.fixture
def literal() -> dict[str, Any]:
    """The published pair file."""
    return json.loads(LITERAL)


@pytest.fixture
def save_image() -> Callable[..., Path]:
    """Writes a small image file and its folders."""

    def write(path: Path, size: tuple[int, int] = (8, 6), **options: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        ramp = np.linspace(0, 255, size[0] * size[1] * 3).astype(np.uint8).reshape(size[1], size[0], 3)
        PIL.Image.fromarray(ramp).save(path, **options)
        return path

    return write


@pytest.fixture
def write_pairs() -> Callable[..., None]:
    """Writes records as SPair-71k does: one file a pair, and the list of them."""

    def write(root: Path, records: list[dict[str, Any]], split: str = "test") -> None:
        folder, layout = root / "PairAnnotation" / split, root / "Layout" / "large"
        for directory in (folder, layout):
            directory.mkdir(parents=True, exist_ok=True)
        for record in records:
            (folder / f"{record['filename']}.json").write_text(json.dumps(record), encoding="utf-8")
        names = "".join(f"{record['filename']}\n" for record in records)
        (layout / f"{split}.txt").write_text(names, encoding="utf-8")

    return write


@pytest.fixture
def spair_copy(tmp_path: Path, literal: dict[str, Any], save_image: Callable, write_pairs: Callable) -> Path:
    """A folder that holds SPair-71k with one pair."""
    root = tmp_path / "data" / "SPair-71k"
    write_pairs(root, [literal])
    save_image(root / "JPEGImages" / "aeroplane" / "2008_002719.jpg", (500, 333))
    save_image(root / "JPEGImages" / "aeroplane" / "2008_004100.jpg", (500, 332))
    return root


@pytest.fixture
def cub_copy(tmp_path: Path, save_image: Callable) -> Path:
    """CUB with five birds: two test birds and one training bird of class 1, one of class 2, two of class 4.

    Bird n's part p lies at x = 10 n + p, y = 5 n + p; parts 14 and 15 of bird 2 are hidden.
    """
    root = tmp_path / "CUB_200_2011"
    birds = [  # id, class, whether for training, size
        (1, "001.Black_footed_Albatross", 0, (60, 40)),
        (2, "001.Black_footed_Albatross", 0, (50, 50)),
        (3, "001.Black_footed_Albatross", 1, (50, 50)),
        (4, "002.Laysan_Albatross", 0, (50, 50)),
        (5, "004.Groove_billed_Ani", 0, (90, 90)),
        (6, "004.Groove_billed_Ani", 0, (90, 90)),
    ]
    files: dict[str, list[str]] = {}
    for number, folder, train, size in birds:
        save_image(root / "images" / folder / f"Bird_{number:04d}.jpg", size)
        for name, values in (
            ("images.txt", f"{folder}/Bird_{number:04d}.jpg"),
            ("image_class_labels.txt", f"{int(folder[:3])}"),
            ("train_test_split.txt", f"{train}"),
            ("bounding_boxes.txt", f"{5.0 * number} {4.0} {30.0} {20.0 + number}"),
        ):
            files.setdefault(name, []).append(f"{number} {values}")
        for part in range(1, 16):
            hidden = number == 2 and part > 13
            location = "0.0 0.0 0" if hidden else f"{10.0 * number + part} {5.0 * number + part} 1"
            files.setdefault("parts/part_locs.txt", []).append(f"{number} {part} {location}")
    (root / "parts").mkdir()
    for name, lines in files.items():
        (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


@dataclass
class FileServer:
    """Serves ``files`` on a local port. ``cut`` bytes are sent of an answer before the connection breaks."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut: int | None = None
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                requested = self.headers.get("Range")
                server.asked.append((self.path, requested))
                content = server.files.get(self.path.lstrip("/"))
                if content is None:
                    self.send_error(404)
                    return
                start = int(re.fullmatch(r"bytes=(\d+)-", requested)[1]) if requested and server.ranges else 0
                if start >= len(content) and start:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start:][: server.cut])

        return Handler


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A server of its own for every test."""
    served = FileServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), served.handler())
    served.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield served
    http.shutdown()
    http.server_close()
    thread.join()
