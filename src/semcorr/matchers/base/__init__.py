"""What all methods share: the interface of a matcher, and the skeleton of one that runs a frozen network."""

from semcorr.matchers.base.matcher import Capabilities, Matcher, PointsAndConfidence
from semcorr.matchers.base.model_identity import ModelIdentity
from semcorr.matchers.base.network_matcher import NetworkMatcher, Tensors

__all__ = ["Capabilities", "Matcher", "ModelIdentity", "NetworkMatcher", "PointsAndConfidence", "Tensors"]
