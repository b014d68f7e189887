"""Words over HTTP, on the bundled model."""

import io
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from app.http.conftest import Served, served
from app.serving import Client, Visitor
from app.test_images import packed
from deadline import DEADLINE
from semcorr.app.examples import words_example
from semcorr.matchers.prompt.word_attention import word_maps
from semcorr.matchers.spec import MatcherSpec


def smooth(width: int, height: int) -> bytes:
    """A file with a smooth random image."""
    coarse = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8))
    return packed(coarse.resize((width, height), PIL.Image.Resampling.BICUBIC))


def test_each_word_of_a_prompt_gets_a_map(server: Served, visitor: Visitor) -> None:
    assert visitor.ask("/api/words/start", {"prompt": "a face"}) == (
        422,
        {"error": "First send an image, or press an example."},
    )
    status, shown = visitor.ask("/api/words/example", {"category": "face"})
    image, caption = words_example("face")
    assert (status, shown["prompt"], shown["words"], shown["warning"]) == (200, caption, [], "")
    assert (shown["image"]["name"], shown["image"]["size"]) == ("face.png", [256, 256])
    status, answer = visitor.ask("/api/words/start", {"prompt": "x" * 41})
    assert (status, "41" in answer["error"]) == (422, True)
    prompt = "A face with red nose, a nose"
    assert visitor.ask("/api/words/start", {"prompt": prompt})[1]["job"]["kind"] == "words"
    job = visitor.follow()
    assert (job["state"], job["message"]) == ("done", "Done: 5 words.")
    shown = visitor.ask("/api/words")[1]
    assert shown["prompt"] == prompt
    assert [one["word"] for one in shown["words"]] == ["a", "face", "with", "red", "nose"]
    maps = word_maps(server.state.matchers.network(), image, prompt)
    for one in shown["words"]:
        assert one["peak"] == pytest.approx(maps.peak(one["word"]), abs=1e-3)
        heat = np.asarray(PIL.Image.open(io.BytesIO(visitor.ask(f"/{one['heat']}")[1])))
        # Opaque where the word attends most, as the map says; clear where it does least.
        x, y = (int(value * heat.shape[1] / 256) for value in one["peak"])
        assert heat[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3, 3].max() == 255
        assert heat[..., 3].min() == 0
    figure = PIL.Image.open(io.BytesIO(visitor.ask(f"/{shown['file']['address']}")[1]))
    assert shown["file"]["name"] == "words.png"
    assert figure.width > 256
    # Another image has no maps yet; the source of Match is one.
    status, answer = visitor.ask("/api/words/source", {})
    assert (status, "no source on the tab Match" in answer["error"]) == (422, True)
    visitor.step("example", category="car")
    status, shown = visitor.ask("/api/words/source", {})
    assert (status, shown["image"]["name"], shown["words"], shown["prompt"]) == (200, "car-source.png", [], prompt)


def test_an_image_that_is_sent_keeps_its_own_pixels(visitor: Visitor) -> None:
    status, shown = visitor.ask("/api/words/image?name=large.png", smooth(240, 120))
    assert (status, shown["image"]["size"]) == (200, [240, 120])
    width, height = shown["image"]["held"]
    assert width * height <= 10_000 < 240 * 120
    visitor.ask("/api/words/start", {"prompt": "a face"})
    assert visitor.follow()["state"] == "done"
    shown = visitor.ask("/api/words")[1]
    assert len(shown["words"]) == 2
    assert all(0 <= one["peak"][0] <= 240 and 0 <= one["peak"][1] <= 120 for one in shown["words"])
    # A file that is no image changes nothing.
    status, answer = visitor.ask("/api/words/image?name=notes.png", b"no image")
    assert (status, "notes.png" in answer["error"]) == (422, True)
    assert visitor.ask("/api/words")[1]["words"] == shown["words"]
    assert visitor.ask("/api/words/start", {"prompt": " "})[0] == 200
    assert visitor.follow()["state"] == "failed"


def test_a_job_that_waits_is_cancelled_and_results_belong_to_their_image(server: Served, visitor: Visitor) -> None:
    begin = threading.Event()
    server.state.queue.submit(lambda _: begin.wait(DEADLINE))
    visitor.ask("/api/words/example", {"category": "bird"})
    job = visitor.ask("/api/words/start", {"prompt": "a head"})[1]["job"]
    assert (job["state"], job["ahead"]) == ("waiting", 1)
    status, answer = visitor.ask("/api/words/start", {"prompt": "a head"})
    assert (status, "not finished" in answer["error"]) == (503, True)
    visitor.ask("/api/cancel", {})
    assert visitor.follow()["state"] == "cancelled"
    visitor.ask("/api/words/start", {"prompt": "a head"})
    visitor.ask("/api/words/example", {"category": "car"})
    begin.set()
    assert visitor.follow()["message"] == "Another image was chosen meanwhile."
    shown = visitor.ask("/api/words")[1]
    assert (shown["image"]["name"], shown["words"]) == ("car.png", [])


def test_without_a_key_there_is_nothing_and_nothing_is_made(server: Served) -> None:
    before, nobody = len(server.state.sessions), Client(server.host)
    status, shown = nobody.ask("/api/words")
    assert (status, shown["image"], shown["words"], shown["model"]) == (200, None, [], "toy")
    assert nobody.ask("/api/words/example", {"category": "face"})[0] == 404
    assert nobody.ask("/api/words", semcorr_work="a" * 43)[1]["gone"] is True
    assert len(server.state.sessions) == before


def test_a_model_without_words_says_so_before_it_is_used(tmp_path: Path) -> None:
    spec = MatcherSpec(method="hypercolumn", model="lite0")
    with served(spec, tmp_path / "works", tmp_path / "runs") as server:
        visitor = server.visitor()
        shown = visitor.ask("/api/words/image?name=one.png", smooth(60, 40))[1]
        assert "'lite0' is none. Press an example" in shown["warning"]
        visitor.ask("/api/words/start", {"prompt": "a face"})
        assert visitor.follow()["error"] == shown["warning"]
        shown = visitor.ask("/api/words/example", {"category": "face"})[1]
        assert (shown["warning"], shown["model"]) == ("", "toy")
