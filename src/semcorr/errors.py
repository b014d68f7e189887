"""The errors that semcorr raises. Each message says what was expected, what came, and what to do next."""

import difflib
from collections.abc import Iterable


class SemcorrError(Exception):
    """Base of every error that semcorr raises on purpose."""


class ImageError(SemcorrError):
    """An image is missing, broken, too large or too small."""


class PointError(SemcorrError):
    """Points are missing, not finite, of the wrong shape, or outside their image."""


class SettingsError(SemcorrError):
    """A preset or a setting is unknown, or its value is invalid."""


class ModelError(SemcorrError):
    """A checkpoint cannot be found, read or used."""


class LayerError(ModelError):
    """The network does not have a requested layer."""


class QueryError(SemcorrError):
    """A query file is broken, or belongs to another model or method."""


class CalibrationError(SemcorrError):
    """A calibration cannot be read or fitted, or belongs to another method, model or setting."""


class FlowError(SemcorrError):
    """The arrays of a flow do not match, or its file is broken."""


class TransferError(SemcorrError):
    """There are no points or no images to transfer, or a result cannot be written."""


class ReviewError(SemcorrError):
    """There is nothing to review, a change does not fit, or corrections cannot be stored or written."""


class RunError(SemcorrError):
    """The folder of a run or a transfer cannot be written, is broken or of something else, or is in use."""


class ServerError(SemcorrError):
    """Another program's server cannot be reached, or refuses."""


class DatasetError(SemcorrError):
    """A benchmark is unknown, cannot be downloaded, or its folder is incomplete or broken."""


class OutOfMemoryError(SemcorrError):
    """Even the smallest batch does not fit into memory."""


class NumericsError(SemcorrError):
    """The output of a network, a loss or a gradient is NaN or infinite.

    Args:
        what: What is NaN or infinite, and where.
        advice: What to do.
        precision: Of the network: "float32", "float16" or "bfloat16".
        layer: Name of the first module with such an output; None if there is none.
    """

    def __init__(self, what: str, advice: str, precision: str, layer: str | None = None) -> None:
        super().__init__(what, advice, precision, layer)
        self.what, self.advice, self.precision, self.layer = what, advice, precision, layer

    def __str__(self) -> str:
        return f"{self.what} {self.advice}"

    def at(self, position: str) -> "NumericsError":
        """Return the same error with the step, crop or point at which it occurred."""
        return NumericsError(f"At {position}: {self.what}", self.advice, self.precision, self.layer)


def suggest(unknown: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest known name, or an empty string."""
    near = difflib.get_close_matches(unknown, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""
