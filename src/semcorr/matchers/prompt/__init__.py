"""The paper's method: optimize prompt embeddings for points of one image, find them in others."""

from semcorr.matchers.prompt.matcher import PromptMatcher
from semcorr.matchers.prompt.presets import PRESETS, fast, paper, preset, reference
from semcorr.matchers.prompt.settings import PromptSettings
from semcorr.settings import override

__all__ = [
    "PRESETS",
    "PromptMatcher",
    "PromptSettings",
    "fast",
    "override",
    "paper",
    "preset",
    "reference",
]
