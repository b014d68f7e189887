"""The context of a prompt for one image, or zeros where there is none."""

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import ModelError, SettingsError
from semcorr.models.diffusion.model import DiffusionModel


def prompt_context(
    model: DiffusionModel, prompt: str | None, *, setting: str, instead: str
) -> Float[Tensor, "1 tokens dim"]:
    """Return the context that the model's own text encoder makes of a prompt; zeros for None.

    Args:
        model: The network and its text encoder.
        prompt: A text, which may be empty.
        setting: The name of the setting that asks for it, for the message.
        instead: What to do without a text encoder, for the message.

    Raises:
        SettingsError: The model has no text encoder.
    """
    if prompt is None:
        return torch.zeros(1, model.context_tokens, model.context_dim)
    try:
        return model.encode_text([prompt])
    except ModelError as error:
        text = repr(prompt) if prompt else "the empty prompt"
        raise SettingsError(
            f"Setting {setting!r}: expected a model with a text encoder for {text} ({error}). Without one, use "
            f"{instead}."
        ) from error
