"""Annotation transfer: key-points of a few annotated images, carried over to images without any."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semcorr.transfer.run import Transferred, transfer_annotations

__all__ = ["Transferred", "transfer_annotations"]


def __getattr__(name: str) -> object:
    # PEP 562: the review chooses supports without PyTorch, which everything else here needs.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from semcorr.transfer import run

    return getattr(run, name)
