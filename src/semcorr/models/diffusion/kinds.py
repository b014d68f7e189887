"""Recognise checkpoints that are not supported, so that none is mistaken for a supported family."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semcorr.errors import ModelError

SUPPORTED = (
    "Expected a text-to-image network of Stable Diffusion 1.x, 2.x or SDXL (base), or a folder of PixArt, Sana, "
    "Hunyuan-DiT, Stable Diffusion 3.x, FLUX.1, FLUX.2 or Lumina-Image 2.0"
)

# The pooled prompt's width, and the six numbers of size and cut, as SDXL takes them; its refiner takes five numbers.
_POOLED, _NUMBER = 1280, 256
_KOLORS_POOLED = 4096
_SDXL_CONTEXT, _REFINER_CONTEXT = 2048, 1280
_FOUR_LEVELS = 4

_CHANNELS: Mapping[int, str] = {
    3: "a network on pixels, such as DeepFloyd IF",
    5: "depth-to-image",
    6: "an upscaler on pixels, such as DeepFloyd IF's",
    7: "the upscaler",
    8: "an editing or view-changing network, such as InstructPix2Pix",
    9: "inpainting",
}

_CLASSES: Sequence[tuple[str, str]] = (
    ("ControlNet|ControlLoRA", "a ControlNet"),
    ("T2IAdapter", "a T2I adapter"),
    ("IPAdapter", "an IP-Adapter"),
    ("MotionAdapter|AnimateDiff|Video|UNet3D|UNetMotion|UNetSpatioTemporal|^Wan|^LTX|^CogV|^Mochi", "a video model"),
    ("StableDiffusion3|SD3", "Stable Diffusion 3"),
    ("Flux2", "FLUX.2"),
    ("Flux|Chroma", "Flux"),
    ("PixArt", "PixArt"),
    ("StableCascade|Wuerstchen", "Stable Cascade (Wuerstchen)"),
    ("UnCLIP", "an unCLIP model"),
    ("Kandinsky", "Kandinsky"),
    ("Kolors", "Kolors"),
    ("AuraFlow", "AuraFlow"),
    ("HunyuanDiT|Hunyuan", "Hunyuan"),
    ("Sana", "Sana"),
    ("Lumina|ZImage", "Lumina"),
    ("Qwen", "Qwen-Image"),
    ("Audio|MusicLDM", "an audio model"),
    ("Depth2Img", "depth-to-image Stable Diffusion"),
    ("Upscale", "an upscaler"),
    ("Inpaint|Fill", "inpainting Stable Diffusion"),
    ("InstructPix2Pix", "InstructPix2Pix"),
    ("^IF|DeepFloyd", "DeepFloyd IF"),
    ("^DiT|Transformer", "a diffusion transformer"),
    ("^(Autoencoder|AsymmetricAutoencoder|VQModel)", "an autoencoder alone"),
    ("^CLIPText|^T5|TextModel", "a text encoder alone"),
    ("^UNet2DConditionModel$", "a U-Net alone"),
)

_BELOW = r"^(?:model\.diffusion_model\.|diffusion_model\.|transformer\.|unet\.|net\.)?"
_WEIGHTS: Sequence[tuple[str, str]] = (
    (r"lora[_.]|\.dora_scale$|\.(hada|lokr|oft)_", "an adapter (LoRA)"),
    (r"^control_model\.|^controlnet_|^input_hint_block\.|^control_add_embedding\.|^task_embedding", "a ControlNet"),
    (r"^ip_adapter\.|^image_proj\.", "an IP-Adapter"),
    (r"^(adapter\.)?body\.\d+\.", "a T2I adapter"),
    (r"motion_modules\.|\.time_stack\.|temporal_transformer", "a video model"),
    (r"^(emb_params|clip_l|clip_g|string_to_param.*|<.+>)$", "an embedding (textual inversion)"),
    (_BELOW + r"(double_blocks|single_blocks|single_transformer_blocks)\.", "Flux or a transformer like it"),
    (_BELOW + r"joint_blocks\.|^transformer_blocks\.0\.attn\.add_q_proj", "Stable Diffusion 3"),
    (_BELOW + r"(double_layers|joint_transformer_blocks)\.", "AuraFlow"),
    (_BELOW + r"(attention_y_norm|caption_norm)\.", "Sana"),
    (_BELOW + r"(t_block|t_embedder.*y_embedder|adaln_single|y_embedder\.y_proj|caption_projection)\b", "PixArt"),
    (_BELOW + r"(mlp_t5|extra_embedder|time_extra_emb)\.", "Hunyuan"),
    (_BELOW + r"(cap_embedder|context_refiner|noise_refiner)\.", "Lumina"),
    (_BELOW + r"(clip_txt_mapper|clip_txt_pooled_mapper|clip_mapper|effnet_mapper)\.", "Stable Cascade (Wuerstchen)"),
    (_BELOW + r"encoder_hid_proj\.", "Kolors or another network with its own text encoder"),
)
_PARTS: Sequence[tuple[str, str]] = (
    (r"^(model\.diffusion_model\.)?input_blocks\.|^(down_blocks|mid_block|conv_in)\.", "a U-Net alone"),
    (_BELOW + r"(transformer_)?(blocks|layers)\.\d+\.", "a diffusion transformer"),
    (r"^(first_stage_model\.|vae\.)?(en|de)coder\.(down|up|mid|conv|layers)", "an autoencoder (VAE) alone"),
    (r"(^|\.)(text_model|transformer\.resblocks)\.|^(cond_stage_model|conditioner)\.", "a text encoder alone"),
    (r"^(shared|encoder)\.", "a text encoder alone"),
)


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Properties that distinguish U-Nets, read from a configuration or from the shapes of weights.

    Attributes:
        levels: Number of resolutions.
        attention_first: Whether the first level has cross-attention.
        context: Width of the cross-attention's context; not a number if there are several.
        added: Condition that is added to the time embedding: None, :data:`SIZES`, :data:`IMAGE`, :data:`LABELS` or
            another name.
        added_width: Width of the added condition.
        requires_aesthetics: Whether the pipeline requires an aesthetic score, as only SDXL's refiner does.
    """

    levels: int
    attention_first: bool
    context: object
    added: str | None = None
    added_width: int | None = None
    requires_aesthetics: bool = False


SIZES, IMAGE, LABELS = "text_time", "image embedding", "class labels"
"""Conditions that may be added to the time embedding; ``SIZES`` is a pooled prompt with image sizes."""


def traits_of_config(config: Mapping[str, Any], index: Mapping[str, Any]) -> Traits:
    """Read the traits of a U-Net from its configuration and from ``model_index.json``."""
    blocks = config.get("down_block_types") or ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    kind, added = config.get("class_embed_type"), config.get("addition_embed_type")
    if kind in ("projection", "simple_projection"):
        added = IMAGE
    elif kind is not None or config.get("num_class_embeds") is not None:
        added = LABELS
    return Traits(
        levels=len(blocks),
        attention_first="CrossAttn" in str(blocks[0]),
        context=config.get("cross_attention_dim", 1280),
        added=added,
        added_width=config.get("projection_class_embeddings_input_dim"),
        requires_aesthetics=bool(index.get("requires_aesthetics_score")),
    )


def check_kind(model_id: str, traits: Traits) -> None:
    """Check that a U-Net's width, levels and added conditions are those of a supported family.

    Raises:
        ModelError: They are another network's, which the message names if it is known.
    """
    reason = _other_kind(traits)
    if reason:
        raise ModelError(f"The U-Net of {model_id} is {reason}, which is not supported. {SUPPORTED}.")


def _other_kind(traits: Traits) -> str:
    width = traits.added_width or 0
    if traits.added == IMAGE:
        return f"that of an unCLIP model: it takes an image embedding ({width} numbers) besides the prompt"
    if traits.added == LABELS:
        return "one that takes class labels, as upscalers do"
    if traits.added is None:
        if traits.context == _SDXL_CONTEXT:
            return f"{_SDXL_CONTEXT} wide in its context as SDXL's, but lacks SDXL's size conditions"
        return ""
    if traits.added != SIZES:
        return f"one that takes {traits.added!r} conditions, as Kandinsky or DeepFloyd IF does"
    pooled = width - 6 * _NUMBER
    refiner = width == _POOLED + 5 * _NUMBER or traits.context == _REFINER_CONTEXT or pooled <= 0 < pooled + _NUMBER
    if refiner or traits.requires_aesthetics or traits.levels == _FOUR_LEVELS:
        return (
            "that of the SDXL refiner: it takes five numbers besides the prompt, an aesthetic score among them "
            f"({traits.levels} levels, {traits.context} wide context, {width} numbers of conditions)"
        )
    if traits.attention_first or pooled <= 0 or not isinstance(traits.context, int) or pooled > traits.context:
        own = ", but Kolors'" if pooled == _KOLORS_POOLED else ""
        return (
            f"not SDXL's, whose conditions it has{own}: {traits.levels} levels, {traits.context} wide context, {width} "
            "numbers of conditions"
        )
    return ""


def describe_channels(channels: int) -> str:
    """Name, in brackets, the kind of network that takes so many input channels; an empty string if unknown."""
    return f" ({_CHANNELS[channels]})" if channels in _CHANNELS else ""


def kind_of_class(*names: object) -> str:
    """Name the kind of a pipeline or network by its class names; return an empty string if unknown."""
    texts = [name for name in names if isinstance(name, str)]
    return next((kind for pattern, kind in _CLASSES for name in texts if re.search(pattern, name)), "")


def of_folders(kind: str) -> str:
    """Return a sentence that says how a kind of transformer is read, for one that comes as a single file."""
    known = any(kind.startswith(name) for name in ("Stable Diffusion 3", "Flux", "PixArt", "Hunyuan", "Sana", "Lumina"))
    return " Transformers are read from folders and by hub ids, as diffusers saves them." if known else ""


def kind_of_weights(names: Iterable[str], *, parts: bool = True) -> str:
    """Name the kind of a file by the names of its weights; return an empty string if unknown.

    ``parts`` includes single parts of a model.
    """
    every = list(names)
    patterns = [*_WEIGHTS, *(_PARTS if parts else ())]
    return next((kind for pattern, kind in patterns if any(re.search(pattern, name) for name in every)), "")
