"""Methods that look for the nearest neighbour among features: DIFT, DINO, and both together."""

from semcorr.matchers.features.best_buddies import BuddyMatcher, DiftBuddyMatcher
from semcorr.matchers.features.dift import DiftMatcher
from semcorr.matchers.features.dino import DinoBuddyMatcher, DinoMatcher
from semcorr.matchers.features.matcher import FeatureMatcher
from semcorr.matchers.features.settings import (
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
