"""Methods that put attention and features together."""

from semcorr.fusion.attention_dift import AttentionDiftMatcher, AttentionDiftSettings

__all__ = ["AttentionDiftMatcher", "AttentionDiftSettings"]
