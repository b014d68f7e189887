"""A cache of rendered training scenes on disk: images, part masks and captions as flat arrays."""

import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semcorr.errors import ModelError
from semcorr.progress import Progress
from semcorr.toy.render import Split, render_scene
from tools.toy_model.networks import CAPTION_TOKENS, IMAGE_SIDE, LATENT_SIDE, build_tokenizer, tokenize

PHRASES = 8
"""The most parts that one caption can name: animals have seven words, cars eight."""


@dataclass(frozen=True, kw_only=True)
class SceneCache:
    """Memory-mapped uint8 arrays of ``count`` scenes.

    Attributes:
        images: (count, 64, 64, 3).
        tokens: (count, 32), token ids of the captions.
        coverage: (count, 8, 16, 16), the share (of 255) of each latent cell that the i-th named part covers.
        phrases: (count, 8, 32), 1 for each token of the caption that names the part (its noun, not its colour).
    """

    images: np.ndarray
    tokens: np.ndarray
    coverage: np.ndarray
    phrases: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


_SHAPES = {
    "images": (IMAGE_SIDE, IMAGE_SIDE, 3),
    "tokens": (CAPTION_TOKENS,),
    "coverage": (PHRASES, LATENT_SIDE, LATENT_SIDE),
    "phrases": (PHRASES, CAPTION_TOKENS),
}


def open_scenes(
    folder: Path, count: int, split: Split, progress: Progress | None = None, workers: int = 2
) -> SceneCache:
    """Return the cache in ``folder``, rendering what is missing; a killed run loses at most one chunk a worker."""
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / "scenes.json"
    settings = {"count": count, "split": split}
    if marker.exists():
        earlier = json.loads(marker.read_text())
        if {k: earlier[k] for k in settings} != settings:
            raise ModelError(f"{folder} holds scenes of other settings: expected {settings}, got {earlier}.")
    arrays = {
        name: np.lib.format.open_memmap(
            folder / f"{name}.npy",
            mode="r+" if (folder / f"{name}.npy").exists() else "w+",
            dtype=np.uint8,
            shape=(count, *shape),
        )
        for name, shape in _SHAPES.items()
    }
    done = json.loads(marker.read_text())["done"] if marker.exists() else 0
    chunks = [(split, i, min(i + 256, count)) for i in range(done, count, 256)]
    if chunks:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            results: Iterator = pool.imap(render_chunk, chunks)
            for (_, first, last), chunk in zip(chunks, results, strict=True):
                for name, values in chunk.items():
                    arrays[name][first:last] = values
                marker.write_text(json.dumps({**settings, "done": last}))
                if progress:
                    progress("render", last, count)
    return SceneCache(**arrays)


def render_chunk(chunk: tuple[Split, int, int]) -> dict[str, np.ndarray]:
    """Return the arrays of ``SceneCache`` for the seeds of a chunk (split, first, last), ``last`` excluded."""
    split, first, last = chunk
    scenes = [render_scene(seed, IMAGE_SIDE, split=split) for seed in range(first, last)]
    tokenizer = build_tokenizer()
    tokens = tokenize(tokenizer, [scene.caption for scene in scenes]).numpy()
    coverage = np.zeros((len(scenes), *_SHAPES["coverage"]), np.uint8)
    phrases = np.zeros((len(scenes), *_SHAPES["phrases"]), np.uint8)
    cell = IMAGE_SIDE // LATENT_SIDE
    for i, scene in enumerate(scenes):
        for k, (word, positions) in enumerate(_named_parts(scene.words, scene.caption)):
            mask = scene.labels == scene.words.index(word) + 1
            share = mask.reshape(LATENT_SIDE, cell, LATENT_SIDE, cell).mean((1, 3))
            coverage[i, k] = np.round(share * 255)
            phrases[i, k, positions] = 1
    images = np.stack([scene.image for scene in scenes])
    return {"images": images, "tokens": tokens.astype(np.uint8), "coverage": coverage, "phrases": phrases}


def _named_parts(words: tuple[str, ...], caption: str) -> list[tuple[str, list[int]]]:
    """Return the parts that a caption names, with the token positions of each (1 + word index: token 0 is <start>)."""
    spoken = caption.replace(",", " ,").split()
    start = spoken.index("with") + 1
    named = []
    for word in words:
        parts = word.split()
        for at in range(start, len(spoken) - len(parts) + 1):
            exact = spoken[at : at + len(parts)] == parts
            if exact and not (len(parts) == 1 and spoken[at - 1] in ("left", "right", "front", "rear", "hind")):
                named.append((word, [at + 1 + j for j in range(len(parts))]))
                break
    return named[:PHRASES]
