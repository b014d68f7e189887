"""Encode prompts into contexts with a checkpoint's own text encoders."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection

from semcorr.models.diffusion.layers import Family
from semcorr.models.finite import check
from semcorr.models.weights import as_model_error, check_files, folder_weights, read_json

_PARTS: dict[bool, tuple[tuple[str, str, Any], ...]] = {
    False: (("tokenizer", "text_encoder", CLIPTextModel),),
    True: (
        ("tokenizer", "text_encoder", CLIPTextModel),
        ("tokenizer_2", "text_encoder_2", CLIPTextModelWithProjection),
    ),
}


@dataclass(frozen=True, kw_only=True)
class TextPiece:
    """One token of a prompt.

    Attributes:
        position: Index in the context, counted from 0 with the start token.
        start, end: The characters ``prompt[start:end]`` that it stands for.
        known: False for a word that the vocabulary lacks.
        kept: False for a token that is cut off because the context is too short.
    """

    position: int
    start: int
    end: int
    known: bool = True
    kept: bool = True


class TextEncoder:
    """A checkpoint's tokenizers and text encoders, in float32 on one device."""

    def __init__(
        self, folder: Path, model_id: str, family: Family, device: torch.device, variant: str | None = None
    ) -> None:
        self._device = device
        self._sdxl = family == "sdxl"
        self._pairs: list[tuple[Any, Any]] = []
        for tokenizer, encoder, kind in _PARTS[self._sdxl]:
            with as_model_error("text encoder", model_id):
                chosen, files = folder_weights(folder / encoder, "model", variant)
                check_files(folder / encoder, files, read_json(folder / encoder / "config.json"))
                network = kind.from_pretrained(
                    folder / encoder, variant=chosen, use_safetensors=True, local_files_only=True
                )
                words = AutoTokenizer.from_pretrained(folder / tokenizer, local_files_only=True)
            self._pairs.append((words, network.float().to(device).eval().requires_grad_(False)))

    @staticmethod
    def parts(family: Family) -> list[str]:
        """Return the folders of a checkpoint that a family's text encoding needs."""
        return [name for tokenizer, encoder, _ in _PARTS[family == "sdxl"] for name in (encoder, tokenizer)]

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], tokens: int) -> Float[Tensor, "batch tokens dim"]:
        """Encode prompts, cut or padded to ``tokens`` tokens.

        Returns the last hidden state, normalised, for Stable Diffusion 1.x, 2.x and the toy, and for SDXL the last but
        one of both encoders, concatenated.
        """
        contexts = []
        for words, network in self._pairs:
            ids = words(list(prompts), padding="max_length", truncation=True, max_length=tokens, return_tensors="pt")
            run = partial(network, ids["input_ids"].to(self._device), output_hidden_states=self._sdxl)
            output = run()
            contexts.append(output.hidden_states[-2] if self._sdxl else output.last_hidden_state)
            check([contexts[-1]], "The text encoder", network, run, {})
        return torch.cat(contexts, dim=-1)

    def pieces(self, prompt: str, tokens: int) -> tuple[TextPiece, ...]:
        """Return the tokens of a prompt, without start, end and padding, for a context of ``tokens`` tokens.

        SDXL's two tokenizers share a vocabulary and agree.
        """
        words, _ = self._pairs[0]
        encoding = words(prompt, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
        special = [bool(mark) for mark in encoding["special_tokens_mask"]]
        after = special[::-1].index(False) if False in special else 0  # the end token is always kept
        unknown = words.unk_token_id
        return tuple(
            TextPiece(position=at, start=start, end=end, known=token != unknown, kept=at < tokens - after)
            for at, (token, (start, end)) in enumerate(
                zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
            )
            if not special[at]
        )

    def vocabulary(self) -> list[str]:
        """Return every token of the tokenizer, in its own spelling and order."""
        numbers: dict[str, int] = self._pairs[0][0].get_vocab()
        return sorted(numbers, key=numbers.__getitem__)
