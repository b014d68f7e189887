"""By how much running peaks lead: where they do, rounding cannot choose another crop, and with it another map."""

import numpy as np
import torch

from semcorr.imaging.geometry import squash
from semcorr.imaging.image import Image
from semcorr.matchers.prompt import PromptMatcher
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.crops import CORNERS, CropLatents
from semcorr.matchers.prompt.locate import locate_rows
from semcorr.matchers.prompt.random_streams import SeededStreams
from semcorr.matchers.results import Query


def crops_lead(matcher: PromptMatcher, query: Query, target: Image) -> float:
    """The least lead of any running peak over the pixels that would allow other crops, as a share of the peak."""
    reader = AttentionReader(matcher.model, matcher.settings)
    histories: list[torch.Tensor] = []
    rows = locate_rows(
        reader,
        CropLatents(matcher.model, squash(target.tensor(), reader.resolution)),
        torch.from_numpy(np.array(query.tensors["embeddings"])),
        SeededStreams(matcher.settings.seed, target.sha256, query.points),
        batch=8,
        on_crops=histories.append,
    )
    assert len(list(rows)) == len(histories)
    allowed = [reader.locate_range(pixel + 0.5, pixel + 0.5) for pixel in range(reader.resolution)]
    bounds = np.array([(one.left_min, one.left_max) for one in allowed])
    return min(
        _lead(maps.mean(dim=0).numpy(), bounds) for history in histories for maps in history[len(CORNERS) - 1 : -1]
    )


def _lead(running: np.ndarray, bounds: np.ndarray) -> float:
    row, column = np.unravel_index(running.argmax(), running.shape)
    down, across = ((bounds == bounds[pixel]).all(axis=1) for pixel in (row, column))
    others = running[~(down[:, None] & across[None, :])]
    return 1.0 if not others.size else float(1 - others.max() / running.max())
