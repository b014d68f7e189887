"""Methods that compare features: the nearest neighbour, best buddies, mutual matches. A file a method.

What a new one stands on is here; a method's own file is imported with its network.
"""

from semcorr.matchers.features.matcher import FeatureMatcher
from semcorr.matchers.features.settings import FeatureSettings

__all__ = ["FeatureMatcher", "FeatureSettings"]
