"""The attention that an image pays to each word of a prompt: the paper's Figure 2.

The optimized embeddings of the method take the role of such words.
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
from semcorr.imaging import heatmaps as heatmap_functions
from semcorr.imaging.geometry import scale_points, squash
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.noise import sum_over_noise
from semcorr.matchers.prompt import paper
from semcorr.models.diffusion import CrossAttentionLayer, DiffusionModel
from semcorr.progress import Progress

SAMPLES = 8
"""Noise samples that are averaged by default."""

# What ends a word besides white space. A hyphen and an apostrophe do not: "t-shirt" and "cat's" are one each.
_BETWEEN = re.compile(r"[\s,;:/|()\[\]{}]+")

# Words of an English prompt that name nothing: their maps say little and would fill a figure.
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
        prompt: The whole prompt.
        words: Its words in their order, as they are written there.
        heatmaps: One map a word; each covers the whole image, whatever its proportions. Values are attention
            probabilities (between 0 and 1, all tokens of the prompt sharing 1), the mean over tokens of the word,
            noise samples, heads and layers.
        image_size: The image's (width, height).
        layer_names: The layers that were averaged.
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
        """Return the numbers of the words that a text names, counted from 0; upper and lower case are the same.

        A word that the prompt has several times names all of them, and several words ("front leg") name each of those
        that stand there one after the other.

        Raises:
            SettingsError: The prompt does not have it.
        """
        return _find(word, self.words, self.prompt)

    def heatmap(self, word: str) -> Float[np.ndarray, "height width"]:
        """Return the mean of the maps of all words that :meth:`find` returns, whose error it has."""
        return self.heatmaps[list(self.find(word))].mean(axis=0)

    def peak(self, word: str) -> tuple[float, float]:
        """Return the peak of :meth:`heatmap`, (x, y) in pixels of the image."""
        return self._peak(self.heatmap(word))

    def peak_of(self, number: int) -> tuple[float, float]:
        """Return the peak of the map of one of ``words``, counted from 0: (x, y) in pixels of the image."""
        return self._peak(self.heatmaps[number])

    def _peak(self, heatmap: Float[np.ndarray, "height width"]) -> tuple[float, float]:
        peak = heatmap_functions.peak(torch.from_numpy(np.array(heatmap))).numpy()
        x, y = scale_points(peak, heatmap.shape[::-1], self.image_size).tolist()
        return x, y

    def distinct_words(self) -> list[str]:
        """Return each different word that names something; all if none does."""
        once = {word.casefold(): word for word in reversed(self.words)}
        order = dict.fromkeys(word.casefold() for word in self.words)
        return [once[key] for key in order if key not in _SMALL_WORDS] or [once[key] for key in order]


def word_maps(
    model: DiffusionModel,
    image: "ImageSource",
    prompt: str,
    *,
    layers: Sequence[str] | None = None,
    samples: int = SAMPLES,
    step: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> WordMaps:
    """Return the attention that an image pays to each word of a prompt (paper, Figure 2).

    The image is squashed to the model's square, encoded, and given noise; the network runs once a noise sample with the
    prompt, and the cross-attention of the prompt's tokens is read (paper section 3.2, equation 3). A word of several
    tokens has the mean over them. The result depends on the seed, the image and the prompt.

    Args:
        model: The frozen network, which must have a text encoder.
        image: A path, a PIL image, an array or a tensor; see :func:`semcorr.imaging.image.load_image`.
        prompt: A description of the image.
        layers: Cross-attention layers by name or rule; those of the prompt method (the paper's) if None.
        samples: Noise samples that are averaged.
        step: Diffusion step, counted from the clean end of 50; the prompt method's 8 if None.
        seed: Seed of the noise.
        progress: Called as ``("words", samples done, samples in all)``; raise from it to stop.

    Raises:
        SettingsError: The prompt has no word, one that is not in the vocabulary, or more tokens than the context; or
            there are no samples.
        ModelError: The model has no text encoder.
        LayerError: A requested layer is not in the model.
        ImageError: The image cannot be used.
        OutOfMemoryError: Not even one sample fits into memory.
    """
    if samples < 1:
        raise SettingsError(f"samples: expected at least 1, got {samples}.")
    chosen, preset = model.select_layers(layers), paper(model.family)
    t = model.timestep(preset.locate_step if step is None else step, preset.steps_of)
    words = _tokens_of_words(model, prompt)
    loaded, tokens = load_image(image), [tokens for _, tokens in words]
    maps = _attention(model, loaded, prompt, tokens, chosen, t, samples=samples, seed=seed, progress=progress)
    side = (model.resolution, model.resolution)
    return WordMaps(
        prompt=prompt,
        words=tuple(word for word, _ in words),
        heatmaps=heatmap_functions.fuse_mean(maps, side).cpu().numpy(),
        image_size=loaded.size,
        layer_names=tuple(layer.name for layer in chosen),
    )


def check_words(prompt: str, word: str | None = None) -> None:
    """Check that a prompt has words, and among them ``word`` if it is given; no model is needed.

    Raises:
        SettingsError: It does not.
    """
    words = split_words(prompt)
    if not words:
        raise SettingsError(
            f'Expected a prompt with at least one word, such as "a cat with a red tail", got {prompt!r}.'
        )
    if word is not None:
        _find(word, words, prompt)


def split_words(prompt: str) -> list[str]:
    """Return the words of a prompt, without white space and without punctuation before and after them."""
    return [prompt[start:end] for start, end in _spans(prompt)]


def _spans(prompt: str) -> list[tuple[int, int]]:
    """Return the first character and the one after the last of each word."""
    spans, start = [], 0
    for gap in [*_BETWEEN.finditer(prompt), None]:
        end = len(prompt) if gap is None else gap.start()
        letters = [index for index in range(start, end) if unicodedata.category(prompt[index])[0] not in "PSZC"]
        if letters:
            spans.append((letters[0], letters[-1] + 1))
        start = end if gap is None else gap.end()
    return spans


def _find(word: str, words: Sequence[str], prompt: str) -> tuple[int, ...]:
    """Return the numbers of a prompt's words that a text names, as :meth:`WordMaps.find` does."""
    named, known = [one.casefold() for one in split_words(word)], [one.casefold() for one in words]
    possible = range(len(known) - len(named) + 1) if named else range(0)
    starts = [start for start in possible if known[start : start + len(named)] == named]
    if not starts:
        raise SettingsError(
            f"The prompt {prompt!r} has no word {word!r}.{suggest(word, words)} Its words are: "
            f"{', '.join(dict.fromkeys(words))}."
        )
    return tuple(start + step for start in starts for step in range(len(named)))


def _tokens_of_words(model: DiffusionModel, prompt: str) -> list[tuple[str, list[int]]]:
    """Return each word with its tokens' positions in the context; refuse words that the model does not know."""
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
            f"The prompt has {len(pieces)} tokens, more than the {sum(piece.kept for piece in pieces)} that "
            f"{model.model_id!r} takes: {' '.join(lost)!r} falls off. Make it shorter."
        )
    unknown = next((word for word, own in words if not own or not all(piece.known for piece in own)), None)
    if unknown is not None:
        known = [piece for piece in encoder.vocabulary() if piece.isalnum()]
        raise SettingsError(
            f"{model.model_id!r} does not know the word {unknown!r}.{suggest(unknown.lower(), known)} "
            + (f"It knows: {', '.join(known)}." if len(known) < 100 else "Use another word.")
        )
    return [(word, [piece.position for piece in own]) for word, own in words]


def _attention(
    model: DiffusionModel,
    image: Image,
    prompt: str,
    words: Sequence[Sequence[int]],
    layers: Sequence[CrossAttentionLayer],
    t: int,
    *,
    samples: int,
    seed: int,
    progress: Progress | None,
) -> list[Float[Tensor, "words _h _w"]]:
    """Return each layer's maps of words, given their tokens: the mean over noise samples, heads and tokens."""
    latent = model.encode(squash(image.tensor(), model.resolution)[None])
    context = model.encode_text([prompt])
    tokens = sorted({token for word in words for token in word})

    @torch.no_grad()
    def evaluate(latents: Tensor, noise: Tensor) -> list[Tensor]:
        contexts = context.expand(len(latents), -1, -1)
        attention = model.attention(model.add_noise(latents, noise, t), t, contexts, layers, tokens=tokens)
        return [attention[layer.name].mean(dim=1).sum(dim=0) for layer in layers]

    # The text of the key decides the noise: it stays as it is.
    key = f"words|{seed}|{image.sha256}"
    totals = sum_over_noise(evaluate, latent, samples, key, stage="words", progress=progress)
    rows = [[tokens.index(token) for token in word] for word in words]
    return [torch.stack([total[own].mean(dim=0) for own in rows]) / samples for total in totals]
