"""The paper's method: learn prompt embeddings for points of one image, find them in others."""

from semcorr.prompt.matcher import PromptMatcher
from semcorr.prompt.presets import PRESETS, fast, paper, preset, reference
from semcorr.prompt.replay import Replay, replay
from semcorr.prompt.settings import PromptSettings
from semcorr.settings import override

__all__ = [
    "PRESETS",
    "PromptMatcher",
    "PromptSettings",
    "Replay",
    "fast",
    "override",
    "paper",
    "preset",
    "reference",
    "replay",
]
