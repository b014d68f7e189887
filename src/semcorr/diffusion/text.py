"""Encode prompts into contexts with a checkpoint's own text encoders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection

from semcorr.checkpoints.weights import reading
from semcorr.diffusion.layers import Family

_PARTS: dict[bool, tuple[tuple[str, str, Any], ...]] = {
    False: (("tokenizer", "text_encoder", CLIPTextModel),),
    True: (
        ("tokenizer", "text_encoder", CLIPTextModel),
        ("tokenizer_2", "text_encoder_2", CLIPTextModelWithProjection),
    ),
}


class TextEncoder:
    """A checkpoint's tokenizers and text encoders, in float32 on one device."""

    def __init__(self, folder: Path, model_id: str, family: Family, device: torch.device) -> None:
        self._device = device
        self._sdxl = family == "sdxl"
        self._pairs: list[tuple[Any, Any]] = []
        for tokenizer, encoder, kind in _PARTS[self._sdxl]:
            with reading("text encoder", model_id):
                network = kind.from_pretrained(folder / encoder, use_safetensors=True, local_files_only=True)
                words = AutoTokenizer.from_pretrained(folder / tokenizer, local_files_only=True)
            self._pairs.append((words, network.float().to(device).eval().requires_grad_(False)))

    @staticmethod
    def parts(family: Family) -> list[str]:
        """The names of the folders that a family's text encoding needs."""
        return [name for tokenizer, encoder, _ in _PARTS[family == "sdxl"] for name in (encoder, tokenizer)]

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], tokens: int) -> Float[Tensor, "batch tokens dim"]:
        """Encode prompts, cut or padded to ``tokens`` tokens.

        The last hidden state, normalised, for Stable Diffusion 1.x, 2.x and the toy. For SDXL the last but
        one of both encoders side by side.
        """
        found = []
        for words, network in self._pairs:
            ids = words(list(prompts), padding="max_length", truncation=True, max_length=tokens, return_tensors="pt")
            output = network(ids["input_ids"].to(self._device), output_hidden_states=self._sdxl)
            found.append(output.hidden_states[-2] if self._sdxl else output.last_hidden_state)
        return torch.cat(found, dim=-1)
