"""Encode prompts into contexts with a checkpoint's own text encoders."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from jaxtyping import Float
from torch import Tensor

from semcorr.models.diffusion.families import TextPart
from semcorr.models.diffusion.offloading import Offloaded
from semcorr.models.finite import check
from semcorr.models.weights import as_model_error, check_files, folder_weights, read_json


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
    """A checkpoint's tokenizers and text encoders, in float32 on one device.

    Args:
        folder: The checkpoint's folder.
        model_id: Name of the model.
        parts: The text encoders of its family.
        device: Where they run.
        variant: Preferred variant of their files.
        padded: Whether prompts are padded to the full length, and padding takes part.
        large_dtype: Precision of those with billions of weights.
        offload: Whether those are offloaded: see :class:`semcorr.models.diffusion.offloading.Offloaded`.
    """

    def __init__(
        self,
        folder: Path,
        model_id: str,
        parts: Sequence[TextPart],
        device: torch.device,
        variant: str | None = None,
        *,
        padded: bool = True,
        large_dtype: torch.dtype = torch.float32,
        offload: bool = False,
    ) -> None:
        self._device, self._padded, self._parts = device, padded, tuple(parts)
        self._pairs: list[tuple[Any, Any]] = []
        for part in parts:
            dtype = large_dtype if part.large else torch.float32
            with as_model_error("text encoder", model_id):
                chosen, files = folder_weights(folder / part.encoder, "model", variant)
                check_files(folder / part.encoder, files, read_json(folder / part.encoder / "config.json"))
                network = getattr(transformers, part.kind).from_pretrained(
                    folder / part.encoder,
                    variant=chosen,
                    torch_dtype=dtype,  # else billions of weights are first read into memory as they were saved
                    use_safetensors=True,
                    local_files_only=True,
                )
                words = transformers.AutoTokenizer.from_pretrained(folder / part.tokenizer, local_files_only=True)
            network = network.to(dtype).eval().requires_grad_(False)  # some weights are read in float32 all the same
            if offload and part.large:
                Offloaded(network, device)
            self._pairs.append((words, network if offload and part.large else network.to(device)))

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], tokens: int) -> list[Float[Tensor, "batch _tokens _dim"]]:
        """Return each encoder's hidden states of prompts, cut to ``tokens`` tokens or its share of them, in float32.

        They are padded to that many, or not at all: the prompts must then have equal numbers of tokens.
        """
        states = []
        for part, (words, network) in zip(self._parts, self._pairs, strict=True):
            padding = "max_length" if self._padded else False
            limit = tokens if part.tokens is None else min(part.tokens, tokens)
            before, after, how = _frame(words, part)
            texts = [before + prompt + after for prompt in prompts]
            ids = words(texts, padding=padding, truncation=True, max_length=limit, return_tensors="pt", **how)
            mask = {"attention_mask": ids["attention_mask"].to(self._device)} if part.masked else {}
            run = partial(
                network, ids["input_ids"].to(self._device), output_hidden_states=part.hidden != "last", **mask
            )
            states.append(_hidden(run(), part))
            check([states[-1]], "The text encoder", network, run, {})
        return [state.float() for state in states]

    def pieces(self, prompt: str, tokens: int) -> tuple[TextPiece, ...]:
        """Return the tokens of a prompt, without start, end and padding, for a context of ``tokens`` tokens.

        Of several tokenizers the first one's: SDXL's two share a vocabulary and agree, Hunyuan-DiT's have a part of the
        context each.
        """
        words, part = self._pairs[0][0], self._parts[0]
        tokens = min(tokens, part.tokens or tokens)
        before, after, how = _frame(words, part)
        text, begin = before + prompt + after, len(before)
        encoding = words(text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False, **how)
        special = [bool(mark) for mark in encoding["special_tokens_mask"]]
        ends = special[::-1].index(False) if False in special else 0  # the end token is always kept
        # Padding on the left moves the tokens.
        first = max(0, tokens - len(special)) if self._padded and words.padding_side == "left" else 0
        unknown = words.unk_token_id
        return tuple(
            TextPiece(
                position=first + at,
                start=max(start - begin, 0),
                end=min(end - begin, len(prompt)),
                known=token != unknown,
                kept=at < tokens - ends,
            )
            for at, (token, (start, end)) in enumerate(
                zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
            )
            if not special[at] and (part.chat is None or (start < begin + len(prompt) and end > begin))
        )

    def vocabulary(self) -> list[str]:
        """Return every token of the tokenizer, in its own spelling and order."""
        numbers: dict[str, int] = self._pairs[0][0].get_vocab()
        return sorted(numbers, key=numbers.__getitem__)


_PROMPT = "\N{OBJECT REPLACEMENT CHARACTER}"


def _frame(words: Any, part: TextPart) -> tuple[str, str, dict[str, bool]]:
    """Return what a conversation has before a prompt and after it, and how the tokenizer is to read the whole."""
    if part.chat is None:
        return "", "", {}
    said = [("user", _PROMPT)]
    if part.chat.system:
        module, _, name = part.chat.system.partition(":")
        said.insert(0, ("system", getattr(importlib.import_module(module), name)))
    messages = [
        {"role": role, "content": [{"type": "text", "text": text}] if part.chat.listed else text} for role, text in said
    ]
    before, _, after = words.apply_chat_template(messages, tokenize=False, **part.chat.options).partition(_PROMPT)
    return before, after, {"add_special_tokens": part.chat.marked}


def _hidden(output: Any, part: TextPart) -> Tensor:
    if isinstance(part.hidden, tuple):
        return torch.cat([output.hidden_states[number] for number in part.hidden], dim=-1)
    state: Tensor = output.hidden_states[-2] if part.hidden == "penultimate" else output.last_hidden_state
    return state
