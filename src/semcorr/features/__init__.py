"""Methods that look for the nearest neighbour among features: DIFT, DINO, and both together."""

from semcorr.features.dift import DiftMatcher
from semcorr.features.dino import DinoBuddyMatcher, DinoMatcher
from semcorr.features.matcher import FeatureMatcher
from semcorr.features.nbb import BuddyMatcher, DiftBuddyMatcher
from semcorr.features.settings import (
    BuddySettings,
    DiftBuddySettings,
    DiftSettings,
    DinoBuddySettings,
    DinoSettings,
    FeatureSettings,
)

__all__ = [
    "BuddyMatcher",
    "BuddySettings",
    "DiftBuddyMatcher",
    "DiftBuddySettings",
    "DiftMatcher",
    "DiftSettings",
    "DinoBuddyMatcher",
    "DinoBuddySettings",
    "DinoMatcher",
    "DinoSettings",
    "FeatureMatcher",
    "FeatureSettings",
]
