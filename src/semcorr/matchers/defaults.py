"""The method that is taken where none is named, in Python and in the command alike.

A module of its own, because the command reads it before PyTorch is worth importing.
"""

DEFAULT_METHOD = "attention-dift"
"""The method. The paper's own is ``"prompt"``."""
