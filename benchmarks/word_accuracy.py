"""Whether words lie on their parts: where each word attends in drawings, against the renderer's own masks."""

import sys
from dataclasses import dataclass

import numpy as np

from benchmarks.command import main, new_app
from semcorr.cli import console
from semcorr.errors import SettingsError
from semcorr.evaluation.metrics.pck import is_correct
from semcorr.matchers.prompt.word_attention import WordMaps, split_words, word_maps
from semcorr.models.diffusion import DiffusionModel
from semcorr.toy.render import Scene, Split, render_scene

app = new_app("word_accuracy", "Whether words lie on their parts.")

NEAR = 0.1
"""How far from a part's key-point a peak may be, as a part of the object's longer side."""


@dataclass(frozen=True, kw_only=True)
class Hits:
    """How many part words there were, and how many of their maps' peaks are right.

    ``inside`` counts peaks on the part's own pixels, ``near`` those at most ``NEAR`` from its key-point. ``by_chance``
    is the share of the image that the parts cover: what a random location would be inside.
    """

    words: int
    inside: int
    near: int
    by_chance: float


@app.default
def words(*, split: Split = "test", drawings: int = 100, model: str = "toy") -> int:
    """Whether words lie on their parts.

    Args:
        split: Drawings of this split; the bundled model was trained on train.
        drawings: How many, each with its own caption.
        model: The bundled model, or a folder that `python -m tools.toy_model` wrote.
    """
    if drawings < 1:
        raise SettingsError(f"Expected --drawings to be at least 1, got {drawings}.")
    hits_of_all = measure(DiffusionModel.from_pretrained(model), split, drawings)
    if not hits_of_all.words:
        raise SettingsError(f"None of the {drawings} drawings shows a part that its caption names: ask for more.")
    inside, near = (100 * hits / hits_of_all.words for hits in (hits_of_all.inside, hits_of_all.near))
    console.say(
        f"{drawings} {split} drawings, {hits_of_all.words} words of visible parts: the map's peak is on the part for "
        f"{inside:.1f} % (a random location is for {100 * hits_of_all.by_chance:.1f} %), within {NEAR} of "
        f"the object's size of its key-point for {near:.1f} %"
    )
    return 0


def measure(model: DiffusionModel, split: Split, drawings: int, *, samples: int = 8) -> Hits:
    """Read each drawing with its own caption; look at every part named there whose key-point can be seen."""
    inside, near, shares = [], [], []
    for seed in range(drawings):
        scene = render_scene(seed, split=split)
        maps = word_maps(model, scene.image, scene.caption, samples=samples)
        for part in _named(scene, maps):
            x, y = maps.peak(part)
            mask = scene.labels == 1 + scene.words.index(part)
            inside.append(bool(mask[int(y), int(x)]))
            size = max(scene.box[2] - scene.box[0], scene.box[3] - scene.box[1])
            away = np.hypot(x - scene.keypoints[part][0], y - scene.keypoints[part][1])
            near.append(bool(is_correct(np.array([away / size]), NEAR)[0]))
            shares.append(float(mask.mean()))
    return Hits(words=len(inside), inside=sum(inside), near=sum(near), by_chance=float(np.mean(shares or [0])))


def _named(scene: Scene, maps: WordMaps) -> list[str]:
    """Visible parts of which the caption speaks; a key-point that is called as its part lies on it."""
    said = " ".join(maps.words)
    return [part for part in scene.words if part in scene.visible and f" {' '.join(split_words(part))} " in f"{said} "]


if __name__ == "__main__":
    sys.exit(main(app))
