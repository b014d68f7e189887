"""Rename diffusers' weights to those of the original code base, written from its module structure."""

import re

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_names(unet: UNet2DConditionModel) -> dict[str, str]:
    """Module names of diffusers' U-Net -> those of the original, without the weight's own name."""
    names = dict(UNET_ENDS)

    def add(module: str, target: str, kind: str) -> None:
        if kind == "resnet":
            names.update({f"{module}.{old}": f"{target}.{new}" for old, new in RESNET.items()})
        else:
            names[module] = target

    position = 1
    for i, block in enumerate(unet.down_blocks):
        for j in range(len(block.resnets)):
            add(f"down_blocks.{i}.resnets.{j}", f"input_blocks.{position}.0", "resnet")
            add(f"down_blocks.{i}.attentions.{j}", f"input_blocks.{position}.1", "attention")
            position += 1
        if block.downsamplers is not None:
            add(f"down_blocks.{i}.downsamplers.0.conv", f"input_blocks.{position}.0.op", "conv")
            position += 1
    add("mid_block.resnets.0", "middle_block.0", "resnet")
    add("mid_block.attentions.0", "middle_block.1", "attention")
    add("mid_block.resnets.1", "middle_block.2", "resnet")
    position = 0
    for i, block in enumerate(unet.up_blocks):
        attentions = hasattr(block, "attentions")
        for j in range(len(block.resnets)):
            add(f"up_blocks.{i}.resnets.{j}", f"output_blocks.{position}.0", "resnet")
            add(f"up_blocks.{i}.attentions.{j}", f"output_blocks.{position}.1", "attention")
            if j == len(block.resnets) - 1 and block.upsamplers is not None:
                add(f"up_blocks.{i}.upsamplers.0.conv", f"output_blocks.{position}.{1 + attentions}.conv", "conv")
            position += 1
    return names


def unet_name(names: dict[str, str], weight: str) -> str:
    module = max((name for name in names if weight.startswith(f"{name}.")), key=len)
    return names[module] + weight[len(module) :]


def vae_name(weight: str, levels: int) -> str:
    name = weight.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"mid_block\.attentions\.0\.(.*)\.(weight|bias)", lambda m: f"mid.attn_1.{VAE_ATTENTION[m[1]]}.{m[2]}", name)  # fmt: skip  # noqa: E501
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)


def original_weights(unet: UNet2DConditionModel, vae: AutoencoderKL) -> dict[str, Tensor]:
    """All weights of both networks under their original names."""
    names = original_names(unet)
    weights = {f"model.diffusion_model.{unet_name(names, name)}": value for name, value in unet.state_dict().items()}
    for name, value in vae.state_dict().items():
        # Attention was made of 1x1 convolutions.
        convolution = ".attentions." in name and name.endswith("weight") and value.ndim == 2
        renamed = vae_name(name, len(vae.config.block_out_channels))
        weights[f"first_stage_model.{renamed}"] = value[..., None, None] if convolution else value
    return {name: value.contiguous() for name, value in weights.items()}
