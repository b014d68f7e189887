"""What keypoints' tests share."""

from predictions import record  # noqa: F401  # a fixture
