"""A tokenizer as CLIP's, with a handful of byte pairs and marks at the ends of words; and a text encoder."""

from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

# Each merge joins what is there already; ``</w>`` ends a word. Words that no merge makes stay single characters.
MERGES = [
    *(("c", "a"), ("ca", "t</w>")),
    *(("t", "a"), ("i", "l</w>"), ("ta", "il</w>")),
    *(("s", "t"), ("r", "i"), ("st", "ri"), ("p", "e"), ("pe", "d</w>")),
    *(("w", "i"), ("t", "h</w>"), ("wi", "th</w>")),
    *(("r", "e"), ("re", "d</w>")),
]
START, END = "<|startoftext|>", "<|endoftext|>"


def clip_tokenizer(tokens: int = 77) -> CLIPTokenizer:
    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in MERGES), START, END]
    return CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(dict.fromkeys(pieces))},
        merges=MERGES,
        model_max_length=tokens,
    )


def save_text_encoder(folder: Path, dim: int, tokens: int = 77) -> None:
    """Add a tokenizer and a random text encoder to a checkpoint's folder."""
    tokenizer = clip_tokenizer(tokens)
    tokenizer.save_pretrained(folder / "tokenizer")
    torch.manual_seed(11)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=dim,
        intermediate_size=2 * dim,
        projection_dim=dim,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=tokens,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    encoder = CLIPTextModel(config)
    encoder.get_input_embeddings().weight.data.mul_(40)  # else all contexts are nearly the same
    encoder.save_pretrained(folder / "text_encoder")
