"""What is taken where nothing is named, in Python and in the command alike: the one place that says so.

A module of its own, because the command reads it before PyTorch is worth importing.
"""

DEFAULT_METHOD = "attention-dift"
"""The method. The paper's own is ``"prompt"``."""

PHOTO_MODEL = "CompVis/stable-diffusion-v1-4"
"""The paper's checkpoint: what photographs are matched with unless another is named."""

VISION_MODEL = "facebook/dinov2-base"
"""The same for methods on a vision transformer alone."""
