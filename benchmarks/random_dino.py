"""A small vision transformer of DINOv2's kind with random weights: shows that methods on it run, and nothing else.

``python -m benchmarks.random_dino FOLDER`` writes it as transformers saves a model, for ``--method dino --model ...``.
"""

import sys
from pathlib import Path

import torch
from transformers import Dinov2Config, Dinov2Model
from transformers.utils import logging

from benchmarks.command import main, new_app
from semcorr.cli import console

app = new_app("random_dino", "Write a small vision transformer with random weights.")


@app.default
def random_dino(folder: Path, /) -> int:
    """Write a small vision transformer with random weights.

    Args:
        folder: Where; it is made.
    """
    console.say(str(write(folder)))
    return 0


def write(folder: Path) -> Path:
    """Write the network's folder, unless it is there, and return it."""
    if (folder / "model.safetensors").is_file():
        return folder
    torch.manual_seed(0)
    network = Dinov2Model(
        Dinov2Config(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, image_size=224)
    )
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        network.eval().save_pretrained(folder)
    finally:
        if shown:
            logging.enable_progress_bar()
    return folder


if __name__ == "__main__":
    sys.exit(main(app))
