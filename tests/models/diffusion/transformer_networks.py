"""Tiny instances of the transformers' real classes, and of their text encoders, with random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    HunyuanDiT2DModel,
    Lumina2Transformer2DModel,
    PixArtTransformer2DModel,
    SanaTransformer2DModel,
    SCMScheduler,
    SD3Transformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
)

TRANSFORMERS = ("pixart-alpha", "pixart-sigma", "sana", "sana-sprint", "hunyuan-dit")
"""With cross-attention."""
JOINT = ("sd3", "flux-dev", "flux-schnell", "flux2-dev", "flux2-klein", "lumina2")
"""With joint attention."""
SIBLINGS = ("pixart-sigma", "sana-sprint", "flux-schnell", "flux2-klein")
"""Each differs from another of these by a condition that it takes, and by its texts, alone."""
WORDS = ("a", "cat", "with", "red", "tail", "dog", "s")
CHANNELS, SIDE, DIM = 4, 16, 24
"""Of latents, of the native latent in positions, and width of a context."""

_PIXART: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "in_channels": CHANNELS,
    "out_channels": 2 * CHANNELS,
    "num_layers": 4,
    "cross_attention_dim": 16,
    "sample_size": SIDE,
    "patch_size": 2,
    "caption_channels": DIM,
}
_SANA: dict[str, Any] = {
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "num_attention_heads": 4,
    "attention_head_dim": 4,
    "num_layers": 4,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 8,
    "cross_attention_dim": 16,
    "caption_channels": DIM,
    "sample_size": SIDE,
    "patch_size": 1,
    "qk_norm": "rms_norm_across_heads",
}
_FLUX: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "axes_dims_rope": (4, 4, 4),
    "in_channels": 4 * CHANNELS,
    "num_layers": 2,
    "num_single_layers": 3,
    "joint_attention_dim": DIM,
    "pooled_projection_dim": 8,
}
_FLUX2: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "axes_dims_rope": (2, 2, 2, 2),
    "in_channels": 4 * CHANNELS,
    "num_layers": 2,
    "num_single_layers": 3,
    "joint_attention_dim": DIM,
}
NETWORKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "pixart-alpha": (
        PixArtTransformer2DModel,
        _PIXART | {"attention_head_dim": 12, "cross_attention_dim": 24, "use_additional_conditions": True},
    ),
    "pixart-sigma": (PixArtTransformer2DModel, _PIXART | {"use_additional_conditions": False}),
    "sana": (SanaTransformer2DModel, _SANA),
    "sana-sprint": (
        SanaTransformer2DModel,
        _SANA | {"guidance_embeds": True, "num_attention_heads": 2, "attention_head_dim": 8},
    ),
    "hunyuan-dit": (
        HunyuanDiT2DModel,
        {
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "in_channels": CHANNELS,
            "patch_size": 2,
            "sample_size": SIDE,
            "hidden_size": 16,
            "num_layers": 6,
            "mlp_ratio": 2.0,
            "cross_attention_dim": DIM,
            "cross_attention_dim_t5": 16,
            "pooled_projection_dim": 8,
        },
    ),
    "sd3": (
        SD3Transformer2DModel,
        {
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "in_channels": CHANNELS,
            "out_channels": CHANNELS,
            "num_layers": 4,
            "joint_attention_dim": DIM,
            "caption_projection_dim": 16,
            "pooled_projection_dim": 8,
            "sample_size": SIDE,
            "patch_size": 2,
            "pos_embed_max_size": 16,
            "dual_attention_layers": (0, 2),
            "qk_norm": "rms_norm",
        },
    ),
    "flux-dev": (FluxTransformer2DModel, _FLUX | {"guidance_embeds": True}),
    "flux-schnell": (FluxTransformer2DModel, _FLUX),
    "flux2-dev": (Flux2Transformer2DModel, _FLUX2),
    "flux2-klein": (Flux2Transformer2DModel, _FLUX2 | {"guidance_embeds": False}),
    "lumina2": (
        Lumina2Transformer2DModel,
        {
            "sample_size": SIDE,
            "in_channels": CHANNELS,
            "hidden_size": 24,
            "num_layers": 4,
            "num_refiner_layers": 1,
            "num_attention_heads": 4,
            "num_kv_heads": 2,
            "multiple_of": 8,
            "axes_dim_rope": (2, 2, 2),
            "axes_lens": (300, 16, 16),
            "cap_feat_dim": DIM,
        },
    ),
}
PAD, UNKNOWN = "<pad>", "<unk>"
PIPELINES = {
    "pixart-alpha": "PixArtAlphaPipeline",
    "pixart-sigma": "PixArtSigmaPipeline",
    "sana": "SanaPipeline",
    "sana-sprint": "SanaSprintPipeline",
    "hunyuan-dit": "HunyuanDiTPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "flux-dev": "FluxPipeline",
    "flux-schnell": "FluxPipeline",
    "flux2-dev": "Flux2Pipeline",
    "flux2-klein": "Flux2KleinPipeline",
    "lumina2": "Lumina2Pipeline",
}
_SCHEDULES: dict[str, Any] = {
    "pixart": {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"},
    "hunyuan": {
        "beta_start": 0.00085,
        "beta_end": 0.03,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
    },
}


_VAE: dict[str, Any] = {
    "block_out_channels": (32, 32, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "latent_channels": CHANNELS,
    "mid_block_add_attention": False,
}


def make_transformer(family: str, seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    kind, config = NETWORKS[family]
    network = kind(**{**config, **changes}).eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        if name.endswith(("attn2.to_q.weight", "attn2.to_k.weight", "attn.to_q.weight", "attn.add_k_proj.weight")):
            weight.mul_(2.0)  # else every map is nearly flat
        if ("attn2.norm_" in name or "attn.norm_" in name) and name.endswith("weight"):
            weight.copy_(1 + 0.5 * torch.rand_like(weight))
    return network


def make_vae(family: str, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    if family.startswith("sana"):
        levels = 3
        vae = AutoencoderDC(
            latent_channels=CHANNELS,
            attention_head_dim=8,
            encoder_block_out_channels=(8,) * levels,
            decoder_block_out_channels=(8,) * levels,
            encoder_layers_per_block=(1,) * levels,
            decoder_layers_per_block=(1,) * levels,
            encoder_qkv_multiscales=((),) * levels,
            decoder_qkv_multiscales=((),) * levels,
            scaling_factor=0.41407,
        )
    elif family.startswith("flux2"):
        vae = AutoencoderKLFlux2(**_VAE, layers_per_block=1)
        vae.bn.running_mean.uniform_(-0.5, 0.5)
        vae.bn.running_var.uniform_(0.5, 2)
    else:
        vae = AutoencoderKL(
            **_VAE,
            scaling_factor=0.18215 if family != "pixart-sigma" else 0.13025,
            shift_factor=0.0609 if family in JOINT else None,
        )
    return vae.eval().requires_grad_(False)


def make_scheduler(family: str) -> Any:
    if family == "sana-sprint":
        return SCMScheduler()
    if family.startswith("flux"):
        return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=family != "flux-schnell")
    if family in ("sana", "sd3", "lumina2"):
        return FlowMatchEulerDiscreteScheduler(shift=6.0 if family == "lumina2" else 3.0)
    return DDIMScheduler(**_SCHEDULES[family.split("-")[0]])


def save_tokenizer(folder: Path, *, start: str | None, end: str | None, chat: str | None = None) -> int:
    """Write a tokenizer of whole words between marks, as ``tokenizer.json``; return the number of its tokens."""
    marks = [mark for mark in (start, end) if mark]
    vocabulary = {word: number for number, word in enumerate([PAD, UNKNOWN, *marks, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join([*([start] if start else []), "$A", *([end] if end else [])]),
        special_tokens=[(mark, vocabulary[mark]) for mark in marks],
    )
    side = {} if chat is None else {"padding_side": "left", "chat_template": chat}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN, bos_token=start, eos_token=end, **side
    ).save_pretrained(folder)
    return len(vocabulary)


def save_text(folder: Path, family: str) -> None:
    """Add the text encoders of a family to a checkpoint's folder."""
    torch.manual_seed(3)
    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    if family == "hunyuan-dit":
        size = save_tokenizer(folder / "tokenizer", start="[CLS]", end="[SEP]")
        BertModel(BertConfig(vocab_size=size, hidden_size=DIM, **small)).save_pretrained(folder / "text_encoder")
        _save_t5(folder, 16, "_2")
    elif family in ("sana", "sana-sprint", "lumina2"):
        size = save_tokenizer(folder / "tokenizer", start="<bos>", end=None)
        own = small | {"num_hidden_layers": 2 if family == "lumina2" else 1}
        config = Gemma2Config(vocab_size=size, hidden_size=DIM, head_dim=12, num_key_value_heads=2, **own)
        Gemma2Model(config).save_pretrained(folder / "text_encoder")
    elif family == "sd3":
        for suffix in ("", "_2"):
            size = save_tokenizer(folder / f"tokenizer{suffix}", start="<start>", end="<end>")
            clip = CLIPTextConfig(
                vocab_size=size, hidden_size=8, projection_dim=4, eos_token_id=3, **small | {"num_hidden_layers": 2}
            )
            CLIPTextModelWithProjection(clip).save_pretrained(folder / f"text_encoder{suffix}")
        _save_t5(folder, DIM, "_3")
    elif family.startswith("flux2"):
        _save_language_model(folder, family)
    elif family.startswith("flux"):
        _save_t5(folder, DIM, "_2")
    else:
        _save_t5(folder, DIM, "")


CHATS = {
    "flux2-dev": "{% for one in messages %}<{{ one.role }}> {{ one.content[0].text }} </s>{% endfor %}",
    "flux2-klein": (
        "<user> {{ messages[0].content }} </s>{% if add_generation_prompt and not enable_thinking %} a s {% endif %}"
    ),
}


def _save_language_model(folder: Path, family: str) -> None:
    """Write as many layers as are read, each a third of a context wide."""
    size = save_tokenizer(folder / "tokenizer", start="<user>", end="</s>", chat=CHATS[family])
    small = {"vocab_size": size, "hidden_size": DIM // 3, "intermediate_size": 8, "num_hidden_layers": 30}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4}
    if family == "flux2-klein":
        Qwen3ForCausalLM(Qwen3Config(**small, **heads)).save_pretrained(folder / "text_encoder")
        return
    image = {"model_type": "pixtral", **small, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 4}
    config = Mistral3Config(text_config={"model_type": "mistral", **small, **heads}, vision_config=image)
    Mistral3ForConditionalGeneration(config).save_pretrained(folder / "text_encoder")


def _save_t5(folder: Path, dim: int, suffix: str) -> None:
    size = save_tokenizer(folder / f"tokenizer{suffix}", start=None, end="</s>")
    config = T5Config(vocab_size=size, d_model=dim, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder / f"text_encoder{suffix}")


def save_transformer(folder: Path, family: str, **changes: Any) -> Path:
    """Write a folder as a pipeline of diffusers does."""
    make_transformer(family, **changes).save_pretrained(folder / "transformer")
    make_vae(family).save_pretrained(folder / "vae")
    make_scheduler(family).save_pretrained(folder / "scheduler")
    save_text(folder, family)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": PIPELINES[family]}))
    return folder


def inputs(
    height: int = SIDE, width: int = SIDE, tokens: int = 7, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """A random noisy latent of two images and a random context."""
    generator = torch.Generator().manual_seed(7)
    noisy = torch.randn(2, CHANNELS, height, width, generator=generator, dtype=dtype)
    return noisy, torch.randn(2, tokens, DIM, generator=generator, dtype=dtype)
