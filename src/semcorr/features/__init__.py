"""Methods that look for the nearest neighbour among features: DIFT, DINO, and both together."""

from semcorr.features.dift import DiftMatcher
from semcorr.features.matcher import FeatureMatcher
from semcorr.features.settings import DiftSettings, FeatureSettings

__all__ = ["DiftMatcher", "DiftSettings", "FeatureMatcher", "FeatureSettings"]
