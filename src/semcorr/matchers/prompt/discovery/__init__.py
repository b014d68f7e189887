"""Key-points without labels: tokens whose attention shows the same parts in all images of one kind."""

from semcorr.matchers.prompt.descent import OptimizerState
from semcorr.matchers.prompt.discovery.keypoint_tokens import KeypointTokens, check_request, discover_keypoints
from semcorr.matchers.prompt.discovery.settings import DiscoverySettings, settings_for

__all__ = [
    "DiscoverySettings",
    "KeypointTokens",
    "OptimizerState",
    "check_request",
    "discover_keypoints",
    "settings_for",
]
