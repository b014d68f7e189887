"""Where a text-to-image network looks for each word of a prompt: the paper's Figure 2.

The learned embeddings of the method take the place of such words; this is what they start from.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import ModelError, SettingsError, suggest
from semcorr.imaging import heatmaps as maps_of
from semcorr.imaging.geometry import scale_points, squash
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.prompt import paper
from semcorr.matchers.seeds import seeded_generator
from semcorr.models.diffusion import CrossAttentionLayer, DiffusionModel
from semcorr.models.diffusion.text_encoder import TextPiece
from semcorr.models.memory import in_batches
from semcorr.progress import Progress

SAMPLES = 8
"""Noise samples that are averaged unless told otherwise."""

_TOGETHER = 4
"""Samples that go through the network together, at most."""

# What ends a word besides white space. A hyphen and an apostrophe do not: "t-shirt" and "cat's" are one each.
_BETWEEN = re.compile(r"[\s,;:/|()\[\]{}]+")

# What an English prompt has between the things that it names: their maps say little and would fill a picture.
_SMALL_WORDS = frozenset(
    (
        *("a", "an", "the", "and", "or", "of", "in", "on", "at", "with", "without", "to", "from", "by", "for", "as"),
        *("is", "are", "its", "it", "his", "her", "their", "this", "that"),
    )
)


@dataclass(frozen=True, kw_only=True, eq=False)
class WordMaps:
    """The attention that an image pays to each word of a prompt.

    Attributes:
        prompt: the whole prompt.
        words: its words in their order, as they are written there.
        heatmaps: one map a word; each covers the whole image, whatever its proportions. Values are attention
            probabilities (between 0 and 1, all tokens of the prompt sharing 1), the mean over tokens of the word,
            noise samples, heads and layers.
        image_size: the image's (width, height).
        layer_names: the layers that were averaged.
    """

    prompt: str
    words: tuple[str, ...]
    heatmaps: Float[np.ndarray, "words height width"]
    image_size: tuple[int, int]
    layer_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        heatmaps = np.array(self.heatmaps, dtype=np.float32, order="C")
        heatmaps.flags.writeable = False
        object.__setattr__(self, "heatmaps", heatmaps)

    def find(self, word: str) -> tuple[int, ...]:
        """Return which words a word stands for, counted from 0; upper and lower case are the same.

        A word that the prompt has several times stands for all of them, and several words ("front leg") for each of
        those that stand there one after the other.

        Raises:
            SettingsError: the prompt does not have it.
        """
        return _find(word, self.words, self.prompt)

    def heatmap(self, word: str) -> Float[np.ndarray, "height width"]:
        """Return the map of a word, the mean over all that :meth:`find` finds.

        Raises:
            SettingsError: the prompt does not have it.
        """
        return self.heatmaps[list(self.find(word))].mean(axis=0)

    def peak(self, word: str) -> tuple[float, float]:
        """Return where a word's map is highest, (x, y) in pixels of the image.

        Raises:
            SettingsError: the prompt does not have it.
        """
        return self._place(self.heatmap(word))

    def peak_of(self, number: int) -> tuple[float, float]:
        """The same for one of ``words``, counted from 0."""
        return self._place(self.heatmaps[number])

    def _place(self, heatmap: Float[np.ndarray, "height width"]) -> tuple[float, float]:
        at = maps_of.peak(torch.from_numpy(np.array(heatmap))).numpy()
        x, y = scale_points(at, heatmap.shape[::-1], self.image_size).tolist()
        return x, y

    def distinct_words(self) -> list[str]:
        """Each different word that names something; all if none does."""
        once = {one.casefold(): one for one in reversed(self.words)}
        order = dict.fromkeys(one.casefold() for one in self.words)
        return [once[key] for key in order if key not in _SMALL_WORDS] or [once[key] for key in order]


def word_maps(
    model: DiffusionModel,
    image: ImageSource,
    prompt: str,
    *,
    layers: Sequence[str] | None = None,
    samples: int = SAMPLES,
    step: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> WordMaps:
    """Return the attention that an image pays to each word of a prompt (paper, Figure 2).

    The image is squashed to the model's square, encoded, and given noise; the network sees it with the prompt, and the
    cross-attention of the prompt's tokens is read (paper section 3.2, equation 3). A word of several tokens has the
    mean over them. The result depends on the seed, the image and the prompt.

    Args:
        model: the frozen network, which must have a text encoder.
        image: a path, a PIL image, an array or a tensor; see :func:`semcorr.imaging.image.load_image`.
        prompt: what the image shows, in words.
        layers: cross-attention layers by name or rule; those of the prompt method (the paper's) if None.
        samples: noise samples that are averaged.
        step: diffusion step, counted from the clean end of 50; the prompt method's 8 if None.
        seed: start of the noise.
        progress: called as ``("words", samples done, samples in all)``; raise from it to stop.

    Raises:
        SettingsError: no word in the prompt, one that the vocabulary lacks, more of them than the context takes, or no
            samples.
        ModelError: the model has no text encoder.
        LayerError: a layer that was asked for is not in the model.
        ImageError: the image cannot be used.
        OutOfMemoryError: not even one sample fits into memory.
    """
    if samples < 1:
        raise SettingsError(f"samples: expected at least 1, got {samples}.")
    chosen, usual = model.select_layers(layers), paper(model.family)
    t = model.timestep(usual.locate_step if step is None else step, usual.steps_of)
    words = _words_of(model, prompt)
    picture = load_image(image)
    found = _attention(model, picture, prompt, words, chosen, t, samples=samples, seed=seed, progress=progress)
    side = (model.resolution, model.resolution)
    return WordMaps(
        prompt=prompt,
        words=tuple(word for word, _ in words),
        heatmaps=maps_of.fuse_mean(found, side).cpu().numpy(),
        image_size=picture.size,
        layer_names=tuple(layer.name for layer in chosen),
    )


def check_words(prompt: str, word: str | None = None) -> None:
    """Insist that a prompt has words, and among them ``word`` if it is given; no model is needed for that.

    Raises:
        SettingsError: it has not.
    """
    words = split_words(prompt)
    if not words:
        raise SettingsError(
            f'Expected a prompt with at least one word, such as "a cat with a red tail", got {prompt!r}.'
        )
    if word is not None:
        _find(word, words, prompt)


def split_words(prompt: str) -> list[str]:
    """The words of a prompt, without white space and without punctuation before and after them."""
    return [prompt[start:end] for start, end in _spans(prompt)]


def _spans(prompt: str) -> list[tuple[int, int]]:
    """First and last character (not included) of each word."""
    spans, start = [], 0
    for gap in [*_BETWEEN.finditer(prompt), None]:
        end = len(prompt) if gap is None else gap.start()
        letters = [at for at in range(start, end) if unicodedata.category(prompt[at])[0] not in "PSZC"]
        if letters:
            spans.append((letters[0], letters[-1] + 1))
        start = end if gap is None else gap.end()
    return spans


def _find(word: str, words: Sequence[str], prompt: str) -> tuple[int, ...]:
    """Which of a prompt's words a word stands for, as :meth:`WordMaps.find` says."""
    wanted, known = [part.casefold() for part in split_words(word)], [part.casefold() for part in words]
    starts = range(len(known) - len(wanted) + 1) if wanted else range(0)
    found = [start for start in starts if known[start : start + len(wanted)] == wanted]
    if not found:
        raise SettingsError(
            f"The prompt {prompt!r} has no word {word!r}.{suggest(word, words)} Its words are: "
            f"{', '.join(dict.fromkeys(words))}."
        )
    return tuple(start + step for start in found for step in range(len(wanted)))


def _words_of(model: DiffusionModel, prompt: str) -> list[tuple[str, list[int]]]:
    """Each word with the places of its tokens in the context; refuses what the model cannot be told."""
    check_words(prompt)
    try:
        encoder = model.text_encoder()
    except ModelError as error:
        raise ModelError(
            f"Words need a model with its own text encoder and tokenizer. {error} Name a whole checkpoint instead, as "
            "diffusers saves it."
        ) from error
    pieces = encoder.pieces(prompt, model.context_tokens)
    words = [
        (prompt[start:end], [piece for piece in pieces if piece.start < end and piece.end > start])
        for start, end in _spans(prompt)
    ]
    lost = [word for word, own in words if not all(piece.kept for piece in own)]
    if lost:
        raise SettingsError(
            f"The prompt has {len(pieces)} tokens, more than the {_room(pieces)} that {model.model_id!r} takes: "
            f"{' '.join(lost)!r} falls off. Make it shorter."
        )
    unknown = next((word for word, own in words if not own or not all(piece.known for piece in own)), None)
    if unknown is not None:
        known = [piece for piece in encoder.vocabulary() if piece.isalnum()]
        raise SettingsError(
            f"{model.model_id!r} does not know the word {unknown!r}.{suggest(unknown.lower(), known)} "
            + (f"It knows: {', '.join(known)}." if len(known) < 100 else "Use another word.")
        )
    return [(word, [piece.position for piece in own]) for word, own in words]


def _room(pieces: Sequence[TextPiece]) -> int:
    return sum(piece.kept for piece in pieces)


def _attention(
    model: DiffusionModel,
    image: Image,
    prompt: str,
    words: Sequence[tuple[str, Sequence[int]]],
    layers: Sequence[CrossAttentionLayer],
    t: int,
    *,
    samples: int,
    seed: int,
    progress: Progress | None,
) -> list[Float[Tensor, "words _h _w"]]:
    """Each layer's maps of the words: the mean over noise samples, heads and tokens."""
    latent = model.encode(squash(image.tensor(), model.resolution)[None])
    context = model.encode_text([prompt])
    generator = seeded_generator(f"words|{seed}|{image.sha256}")
    noise = torch.randn(samples, *latent.shape[1:], generator=generator)
    tokens = sorted({token for _, own in words for token in own})
    places = [[tokens.index(token) for token in own] for _, own in words]

    @torch.no_grad()
    def work(numbers: Sequence[int]) -> list[Tensor]:
        count = len(numbers)
        noisy = model.add_noise(latent.expand(count, -1, -1, -1), noise[list(numbers)].to(latent), t)
        found = model.attention(noisy, t, context.expand(count, -1, -1), layers, tokens=tokens)
        return [found[layer.name].mean(dim=1).sum(dim=0) for layer in layers]

    totals: list[Tensor] = []
    done = 0
    for numbers, found in in_batches(range(samples), _TOGETHER, work, stage="words"):
        totals = [total + part for total, part in zip(totals, found, strict=True)] if totals else found
        done += len(numbers)
        if progress is not None:
            progress("words", done, samples)
    return [torch.stack([total[own].mean(dim=0) for own in places]) / samples for total in totals]
