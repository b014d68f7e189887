"""``semcorr words`` on drawings, with the bundled model."""

import json
from pathlib import Path

import PIL.Image
import pytest

import semcorr as library
from semcorr.toy.render import Scene, render_scene

TOY = ["--model", "toy", "--device", "cpu", "--samples", "2"]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene(3, split="val", category="animal")


@pytest.fixture
def drawing(scene: Scene, tmp_path: Path) -> Path:
    PIL.Image.fromarray(scene.image).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def test_a_table_of_words_and_one_figure(semcorr, scene, drawing, tmp_path):
    ran = semcorr("words", drawing, scene.caption, *TOY, "-o", tmp_path / "out")
    assert ran.status == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cat-words.png"]
    assert f"Figure: {tmp_path / 'out' / 'cat-words.png'}" in ran.out
    for word in scene.caption.replace(",", "").split():
        assert f" {word} " in ran.out
    with PIL.Image.open(tmp_path / "out" / "cat-words.png") as figure:
        figure.load()
        assert figure.width > 1000


def test_json_equals_the_result_in_python(semcorr, scene, drawing, tmp_path):
    ran = semcorr("words", drawing, scene.caption, *TOY, "--seed", 4, "--json", "-o", tmp_path / "deep" / "it.png")
    assert ran.status == 0
    document = json.loads(ran.out)
    model = library.DiffusionModel.from_pretrained("toy", device="cpu")
    maps = library.word_maps(model, drawing, scene.caption, samples=2, seed=4)
    assert document["figure"] == str(tmp_path / "deep" / "it.png")
    assert (tmp_path / "deep" / "it.png").is_file()
    assert document["layer_names"] == list(maps.layer_names)
    assert [one["word"] for one in document["words"]] == list(maps.words)
    for number, one in enumerate(document["words"]):
        assert one["peak"] == list(maps.peak_of(number))
        assert one["attention"] == pytest.approx(float(maps.heatmaps[number].max()))
    x, y = document["words"][maps.words.index("body")]["peak"]
    assert scene.labels[int(y), int(x)] == 1 + scene.words.index("body")


def test_one_word_or_several_that_follow_each_other_alone(semcorr, scene, drawing, tmp_path):
    ran = semcorr("words", drawing, scene.caption, *TOY, "--word", "front leg", "-o", tmp_path / "out")
    assert ran.status == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cat-front-leg.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a cat with a red tail", "--word", "tial"], "no word 'tial'. Did you mean 'tail'?"),
        (["..."], "at least one word"),
        (["a cat with a red tial"], "does not know the word 'tial'. Did you mean 'tail'?"),
        (["a cat", "--samples", "0"], "--samples to be at least 1"),
    ],
)
def test_wrong_input_is_refused_and_nothing_is_written(semcorr, drawing, tmp_path, arguments, message):
    ran = semcorr("words", drawing, *arguments, "--model", "toy", "--device", "cpu", "-o", tmp_path / "out")
    assert ran.status == 2
    assert message in ran.err
    assert ran.out == ""
    assert not (tmp_path / "out").exists()


def test_no_image_and_no_text_encoder(semcorr, drawing, tmp_path, tiny_sd):
    assert "There is no file" in semcorr("words", tmp_path / "none.png", "a cat", *TOY).err
    ran = semcorr("words", drawing, "a cat", "--model", tiny_sd, "--device", "cpu", "-o", tmp_path / "out")
    assert ran.status == 2
    assert "own text encoder" in ran.err
