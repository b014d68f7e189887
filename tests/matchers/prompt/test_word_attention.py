"""Words' maps: the words and their tokens by hand, the maps from whole U-Nets, and parts lit up by their words."""

import hashlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPTextModel

import semcorr
from benchmarks.word_accuracy import measure
from closeness import assert_close_to_scale
from models.diffusion.clip_words import clip_tokenizer, save_text_encoder
from models.diffusion.networks import UNETS, save_checkpoint, whole_unet_maps
from semcorr.errors import ImageError, LayerError, ModelError, SettingsError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.prompt.word_attention import WordMaps, split_words, word_maps
from semcorr.models.diffusion import DiffusionModel
from semcorr.visualization.heatmap_grids import draw_word_maps

PROMPT = "A cat, with-red STRIPED tail!"
# By hand, from the merges of clip_words.py; the start token is at 0.
TOKENS = {
    "A": [1],  # a</w>
    "cat": [2],  # cat</w>, and the comma at 3 is nobody's
    "with-red": [4, 5, 6],  # with</w> -</w> red</w>
    "STRIPED": [7, 8],  # stri ped</w>
    "tail": [9],
}


def blobs(seed: int, size: tuple[int, int]) -> Image:
    cells = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return load_image(PIL.Image.fromarray(cells).resize(size, PIL.Image.Resampling.BICUBIC), name=f"blobs {seed}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_checkpoint(tmp_path_factory.mktemp("words"), "sd1")
    save_text_encoder(folder, UNETS["sd1"]["cross_attention_dim"])
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> DiffusionModel:
    return DiffusionModel.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def toy() -> DiffusionModel:
    return DiffusionModel.from_pretrained("toy", device="cpu")


# --- words and their tokens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a cat with a red tail", ["a", "cat", "with", "a", "red", "tail"]),
        ("a cat,with (red) tail: 'big'!", ["a", "cat", "with", "red", "tail", "big"]),
        ("the cat's t-shirt — 3.5 cm ...", ["the", "cat's", "t-shirt", "3.5", "cm"]),
        ("  eine Kätzin\n🐈 mit\tRückenlehne", ["eine", "Kätzin", "mit", "Rückenlehne"]),
        (" \t\n", []),
        ("... — !?", []),
    ],
)
def test_words_are_what_lies_between_spaces_without_punctuation_around_them(prompt: str, words: list[str]):
    assert split_words(prompt) == words


def test_byte_pairs_belong_to_the_words_that_they_are_pieces_of(model: DiffusionModel):
    pieces = model.text_encoder().pieces(PROMPT, 77)
    for word, tokens in TOKENS.items():
        start = PROMPT.index(word)
        own = [piece for piece in pieces if start <= piece.start < start + len(word)]
        assert [piece.position for piece in own] == tokens
        assert "".join(PROMPT[piece.start : piece.end] for piece in own) == word
    assert all(piece.kept and piece.known for piece in pieces)
    ids = clip_tokenizer()(PROMPT)["input_ids"]
    assert len(pieces) == len(ids) - 2 == 10
    assert clip_tokenizer().convert_ids_to_tokens(ids)[7:9] == ["stri", "ped</w>"]


def test_pieces_beyond_the_context_are_not_kept(model: DiffusionModel):
    pieces = model.text_encoder().pieces(PROMPT, 8)  # start, six pieces, end
    assert [piece.position for piece in pieces if piece.kept] == [1, 2, 3, 4, 5, 6]


# --- maps -------------------------------------------------------------------------------------------------------------


def test_maps_are_the_mean_over_tokens_samples_heads_and_layers(model: DiffusionModel, folder: Path):
    """Everything again with transformers' own encoder, one pass of the whole U-Net, and plain means."""
    image, calls = blobs(0, (150, 90)), []
    spec = ["up_blocks.1.attentions.1", "up_blocks.2.attentions.0", "mid_block.attentions.0"]
    maps = word_maps(
        model,
        image,
        PROMPT,
        layers=spec,
        samples=5,
        seed=3,
        progress=lambda stage, done, total, **_: calls.append((stage, done, total)),
    )
    assert (maps.words, maps.image_size, maps.prompt) == (tuple(TOKENS), (150, 90), PROMPT)
    assert calls == [("words", 4, 5), ("words", 5, 5)]

    key = hashlib.sha256(f"words|3|{image.sha256}".encode()).digest()[:8]
    generator = torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
    noise = torch.randn(5, 4, 16, 16, generator=generator)
    square = F.interpolate(image.tensor()[None], (128, 128), mode="bilinear", antialias=True)
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
    ids = clip_tokenizer()([PROMPT], padding="max_length", max_length=77, return_tensors="pt")["input_ids"]
    signal = float(model.scheduler.alphas_cumprod[140])  # step 8 of 50
    with torch.no_grad():
        noisy = signal**0.5 * model.encode(square) + (1 - signal) ** 0.5 * noise
        context = encoder(ids).last_hidden_state.expand(5, -1, -1)
        attention = whole_unet_maps(model, noisy, 140, context)
    for number, tokens in enumerate(TOKENS.values()):
        layers = []
        for name in spec:
            mean = attention[name].mean(dim=(0, 1))[:, tokens].mean(dim=1)
            side = round(len(mean) ** 0.5)
            layers.append(F.interpolate(mean.reshape(1, 1, side, side), (128, 128), mode="bilinear")[0, 0])
        expected = torch.stack(layers).mean(dim=0).numpy()
        assert_close_to_scale(maps.heatmaps[number], expected)
        row, column = np.unravel_index(expected.argmax(), expected.shape)
        peak = ((column + 0.5) * 150 / 128, (row + 0.5) * 90 / 128)
        np.testing.assert_allclose(maps.peak_of(number), peak, rtol=0, atol=150 / 128 + 1e-6)
    assert maps.heatmaps.std() > 1e-4  # they are not flat


def test_the_layers_are_the_prompt_methods_and_noise_follows_the_seed(model: DiffusionModel):
    image = blobs(1, (64, 64))
    one, same, other = (word_maps(model, image, "a cat", samples=2, seed=seed) for seed in (0, 0, 1))
    assert one.layer_names == tuple(layer.name for layer in model.select_layers(["up/4", "up/2:0"]))
    np.testing.assert_array_equal(one.heatmaps, same.heatmaps)
    assert np.abs(one.heatmaps - other.heatmaps).max() > 1e-4
    assert one.heatmaps.dtype == np.float32
    assert not one.heatmaps.flags.writeable


def test_the_word_of_a_part_lights_that_part_up(toy: DiffusionModel):
    """Drawings of the test split, whose parts are known to the pixel; a random position is on the part once in 40."""
    hits = measure(toy, "test", 24, samples=4)
    assert hits.words >= 3 * 24
    assert hits.by_chance < 0.05
    assert hits.inside >= 0.85 * hits.words
    assert hits.near >= 0.7 * hits.words


# --- results ----------------------------------------------------------------------------------------------------------


def handmade() -> WordMaps:
    """Five words on an image of 20 by 10; the n-th map has its peak in column n of row 0."""
    maps = np.zeros((5, 5, 5), np.float32)
    for number in range(5):
        maps[number, 0, number] = 1 + number
    return WordMaps(
        prompt="Red wing, red hind leg", words=("Red", "wing", "red", "hind", "leg"), heatmaps=maps, image_size=(20, 10)
    )


def test_a_repeated_word_is_the_mean_and_several_words_are_a_phrase():
    maps = handmade()
    assert maps.find("RED") == (0, 2)
    assert maps.find("hind leg") == (3, 4)
    assert maps.find("red  hind,") == (2, 3)
    np.testing.assert_array_equal(maps.heatmap("red"), (maps.heatmaps[0] + maps.heatmaps[2]) / 2)
    assert maps.peak("wing") == (6, 1)
    assert maps.peak("red") == (10, 1)
    with pytest.raises(
        SettingsError, match=r"no word 'wings'. Did you mean 'wing'\? Its words are: Red, wing, red, hind"
    ):
        maps.find("wings")
    for word in ("wing leg", "", "leg hind"):
        with pytest.raises(SettingsError, match="no word"):
            maps.find(word)


def test_a_figure_has_a_panel_for_each_word_that_names_something():
    maps, image = handmade(), blobs(0, (20, 10))
    everything = draw_word_maps(maps, image, height=100)
    one = draw_word_maps(maps, image, "wing", height=100)
    assert everything.width > 2 * one.width  # the image, and four words of which one is twice there
    small = WordMaps(prompt="a the", words=("a", "the"), heatmaps=np.eye(2)[:, None], image_size=(20, 10))
    assert draw_word_maps(small, image, height=100).width > one.width  # nothing is named: all are shown
    with pytest.raises(ImageError, match="20 × 10 pixels, got 'blobs 0' with 10 × 20"):
        draw_word_maps(maps, blobs(0, (10, 20)))
    with pytest.raises(SettingsError, match="no word 'tail'"):
        draw_word_maps(maps, image, "tail")


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["", "  ", "?!"])
def test_a_prompt_needs_a_word(toy: DiffusionModel, prompt: str):
    with pytest.raises(SettingsError, match="at least one word"):
        word_maps(toy, blobs(0, (32, 32)), prompt)


def test_too_long_a_prompt_is_refused_with_the_words_that_fall_off(toy: DiffusionModel):
    prompt = ", ".join(["red tail"] * 10) + " and blue wing"  # 10 x 2 + 9 commas + 3 of the 30 that there is room for
    with pytest.raises(SettingsError, match="32 tokens, more than the 30 that 'toy' takes: 'blue wing' falls off"):
        word_maps(toy, blobs(0, (32, 32)), prompt)
    assert len(word_maps(toy, blobs(0, (32, 32)), ", ".join(["red tail"] * 10), samples=1).words) == 20


def test_a_word_that_the_vocabulary_lacks_is_refused_with_the_nearest(toy: DiffusionModel):
    with pytest.raises(
        SettingsError, match=r"'toy' does not know the word 'Tial'. Did you mean 'tail'\? It knows: a, "
    ):
        word_maps(toy, blobs(0, (32, 32)), "a cat with a Tial")


def test_what_else_is_refused(toy: DiffusionModel, tiny_sd: Path):
    image = blobs(0, (32, 32))
    with pytest.raises(SettingsError, match="samples: expected at least 1, got 0"):
        word_maps(toy, image, "a cat", samples=0)
    with pytest.raises(LayerError, match="up/9"):
        word_maps(toy, image, "a cat", layers=["up/9"])
    with pytest.raises(
        ModelError, match=r"own text encoder and tokenizer\. .*no text_encoder/ folder.* whole checkpoint"
    ):
        word_maps(DiffusionModel.from_pretrained(tiny_sd, device="cpu"), image, "a cat")


def test_both_names_are_public():
    assert semcorr.word_maps is word_maps
    assert semcorr.WordMaps is WordMaps
