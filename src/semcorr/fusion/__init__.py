"""Methods that put attention and features together, or features of two networks."""

from semcorr.fusion.attention_dift import AttentionDiftMatcher, AttentionDiftSettings
from semcorr.fusion.sd_dino import SdDinoMatcher, SdDinoSettings

__all__ = ["AttentionDiftMatcher", "AttentionDiftSettings", "SdDinoMatcher", "SdDinoSettings"]
