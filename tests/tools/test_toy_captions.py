"""Captions as the text encoder sees them, and the masks that grounding uses."""

import numpy as np
import pytest
import torch

from semcorr.toy.render import render_scene
from tools.toy_model.networks import SPECIAL, build_text_encoder, build_tokenizer, build_unet, tokenize, vocabulary
from tools.toy_model.scene_cache import PHRASES, render_chunk
from tools.toy_model.unet import drop_colours, grounding_loss


def test_every_caption_word_is_known() -> None:
    tokenizer = build_tokenizer()
    captions = [render_scene(seed, 64).caption for seed in range(200)]
    ids = tokenize(tokenizer, captions)
    assert not (ids == SPECIAL.index("<unknown>")).any()
    assert (ids[:, 0] == SPECIAL.index("<start>")).all()


def test_text_encoder_takes_the_whole_vocabulary() -> None:
    encoder = build_text_encoder()
    ids = torch.arange(len(vocabulary()))[:32][None]
    assert encoder(ids).last_hidden_state.shape == (1, 32, build_unet().config.cross_attention_dim)


@pytest.fixture(scope="module")
def chunk() -> dict[str, np.ndarray]:
    return render_chunk(("train", 0, 40))


def test_phrases_mark_the_nouns_of_named_parts(chunk: dict[str, np.ndarray]) -> None:
    words = vocabulary()
    for seed in range(40):
        scene = render_scene(seed, 64, split="train")
        spoken = [words[i] for i in chunk["tokens"][seed]]
        named = [
            scene.words[k]
            for k in range(len(scene.words))
            if f"{scene.colours[scene.words[k]]} {scene.words[k]}" in scene.caption
        ]
        marked = [" ".join(spoken[i] for i in np.flatnonzero(row)) for row in chunk["phrases"][seed] if row.any()]
        # A caption of many parts can be longer than the model's 32 tokens; what is cut off is not marked whole.
        assert marked == named[: len(marked)] or spoken[-1] != "<pad>"
        assert len(marked) <= PHRASES


def test_coverage_is_the_share_of_each_cell(chunk: dict[str, np.ndarray]) -> None:
    """Counted pixel by pixel for the first named part of some scenes."""
    for seed in range(10):
        scene = render_scene(seed, 64, split="train")
        first = next(w for w in scene.words if f"{scene.colours[w]} {w}" in scene.caption)
        mask = scene.labels == scene.words.index(first) + 1
        for row in range(16):
            for column in range(16):
                count = sum(bool(mask[4 * row + i, 4 * column + j]) for i in range(4) for j in range(4))
                assert abs(chunk["coverage"][seed, 0, row, column] / 255 - count / 16) < 0.005


def _one_part(attention: torch.Tensor, mask: torch.Tensor) -> float:
    phrases = torch.zeros(1, 1, 2)
    phrases[0, 0, 1] = 1
    both = torch.stack([1 - attention, attention], dim=-1)[None]
    return float(grounding_loss(both, phrases, mask.reshape(1, 1, 4, 4)))


def test_grounding_loss_closed_form() -> None:
    """Uniform attention a on a mask of half the cells: (1 - 1/2)² + the mean binary cross-entropy."""
    mask = torch.tensor([1.0] * 8 + [0.0] * 8)
    a = 0.3
    entropy = -(8 * np.log(a) + 8 * np.log(1 - a)) / 16
    assert _one_part(torch.full((16,), a), mask) == pytest.approx(0.25 + entropy, rel=1e-5)


def test_grounding_loss_of_perfect_attention_is_nearly_nothing() -> None:
    mask = torch.tensor([1.0] * 8 + [0.0] * 8)
    assert _one_part(mask, mask) < 1e-4
    assert _one_part(1 - mask, mask) > 5


def test_grounding_loss_ignores_parts_without_a_mask() -> None:
    assert _one_part(torch.full((16,), 0.5), torch.zeros(16)) == 0


def _spoken(ids: torch.Tensor) -> str:
    words = vocabulary()
    return " ".join(words[i] for i in ids.tolist() if words[i] not in SPECIAL)


def test_colours_can_be_dropped() -> None:
    caption = "a boy with red hair, green left eye and pink nose"
    tokens = tokenize(build_tokenizer(), [caption]).numpy().astype(np.uint8)
    words = _words_of(tokens[0])
    phrases = np.zeros((1, PHRASES, 32), np.uint8)
    phrases[0, 0, words.index("hair")] = 1
    phrases[0, 1, [words.index("left"), words.index("eye")]] = 1
    phrases[0, 2, words.index("nose")] = 1
    g = torch.Generator().manual_seed(0)
    kept, same = drop_colours(tokens, phrases, 0.0, g)
    assert _spoken(kept[0]) == "a boy with red hair , green left eye and pink nose"
    assert (same.numpy() == phrases).all()
    bare, moved = drop_colours(tokens, phrases, 1.0, g)
    assert _spoken(bare[0]) == "a boy with hair , left eye and nose"
    assert [_spoken(bare[0][row.bool()]) for row in moved[0][:3]] == ["hair", "left eye", "nose"]
    assert not moved[0][3:].any()


def _words_of(ids: np.ndarray) -> list[str]:
    words = vocabulary()
    return [words[i] for i in ids]
