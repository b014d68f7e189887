"""The models' parts: Stable Diffusion's and PixArt's own classes, at a size that two cores can train."""

from collections.abc import Iterable

import torch
from diffusers import AutoencoderKL, DDIMScheduler, PixArtTransformer2DModel, UNet2DConditionModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from semcorr.toy.objects import BUILDERS, CATEGORIES
from semcorr.toy.render import PALETTE, rng_for

IMAGE_SIDE = 64
LATENT_SIDE = 16
CAPTION_TOKENS = 32
SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")


def vocabulary() -> list[str]:
    """Return every word that a caption can hold, in a fixed order."""
    words: list[str] = ["a", "with", "and", ","]
    words += list(PALETTE)
    for category, kinds in CATEGORIES.items():
        for kind in kinds:
            words.append(kind)
            parts = BUILDERS[category](kind, rng_for(0, "train"))
            words += [word for part in parts for word in part.word.split()]
    return [*SPECIAL, *dict.fromkeys(words)]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return a word tokenizer: <start> words <end>, padded to 32 tokens."""
    ids = {word: i for i, word in enumerate(vocabulary())}
    words = Tokenizer(WordLevel(ids, unk_token="<unknown>"))  # noqa: S106  # a vocabulary token, not a secret
    words.normalizer = Lowercase()
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", ids["<start>"]), ("<end>", ids["<end>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_max_length=CAPTION_TOKENS,
        bos_token="<start>",  # noqa: S106
        eos_token="<end>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        unk_token="<unknown>",  # noqa: S106
    )


def build_text_encoder() -> CLIPTextModel:
    """Return CLIP's text transformer with 3 layers of 128 channels; about 0.6 M parameters."""
    ids = {word: i for i, word in enumerate(vocabulary())}
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(ids),
            hidden_size=128,
            intermediate_size=512,
            projection_dim=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=CAPTION_TOKENS,
            bos_token_id=ids["<start>"],
            eos_token_id=ids["<end>"],
            pad_token_id=ids["<pad>"],
        )
    )


def build_vae() -> AutoencoderKL:
    """Return an autoencoder with 8 latent channels at a quarter of the size.

    It has no attention, so that it trains on small crops and works at any size.
    """
    return AutoencoderKL(
        block_out_channels=(32, 64, 128),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=16,
        sample_size=IMAGE_SIDE,
        mid_block_add_attention=False,
    )


def build_unet(bottom: int = 192) -> UNet2DConditionModel:
    """Return a U-Net for 16² latents with cross-attention at 16², 8² and in the middle (4², ``bottom`` channels).

    It has 4 heads and about 9 M parameters.
    """
    return UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=8,
        out_channels=8,
        block_out_channels=(64, 128, bottom),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,  # the number of heads, as in Stable Diffusion 1.x's configuration
        norm_num_groups=32,
    )


def build_transformer(width: int = 256, blocks: int = 8) -> PixArtTransformer2DModel:
    """Return PixArt's transformer with a token for each of the 16² cells of a latent; about 9 M parameters.

    Its maps are as fine as the finest of the U-Net. As PixArt's (Chen et al., 2023), it starts with nothing from the
    text and predicts zeros; its time embedding starts small.
    """
    transformer = PixArtTransformer2DModel(
        sample_size=LATENT_SIDE,
        patch_size=1,
        in_channels=8,
        out_channels=8,
        num_layers=blocks,
        num_attention_heads=4,
        attention_head_dim=width // 4,
        cross_attention_dim=width,
        caption_channels=128,
    )
    for module in transformer.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    embedder = transformer.adaln_single.emb.timestep_embedder
    for linear in (embedder.linear_1, embedder.linear_2, transformer.adaln_single.linear):
        nn.init.normal_(linear.weight, std=0.02)
    for block in transformer.transformer_blocks:
        nn.init.zeros_(block.attn2.to_out[0].weight)
    nn.init.zeros_(transformer.proj_out.weight)
    return transformer


def build_scheduler() -> DDIMScheduler:
    """Return Stable Diffusion's noise schedule with v-prediction, which gives the noisy, semantic steps more weight."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        prediction_type="v_prediction",
    )


def tokenize(tokenizer: PreTrainedTokenizerFast, captions: Iterable[str]) -> torch.Tensor:
    """Return token ids (captions, 32)."""
    encoded = tokenizer(
        list(captions), padding="max_length", truncation=True, max_length=CAPTION_TOKENS, return_tensors="pt"
    )
    return encoded["input_ids"]
