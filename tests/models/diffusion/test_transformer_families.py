"""What each family of transformers has of its own: latents, noise, time, contexts."""

import pytest
import torch
from diffusers import Flux2KleinPipeline, Flux2Pipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu
from torch import Tensor

from closeness import assert_close_to_scale
from models.diffusion.conftest import Transformers
from models.diffusion.transformer_networks import DIM, inputs
from models.diffusion.whole_transformer import T, conditions
from semcorr.errors import ModelError, SettingsError

# Tokens of a context, side of images, multiple of it, prediction.
FACTS = {
    "pixart-alpha": (120, 64, 8, "epsilon"),
    "sana": (300, 64, 4, "flow_prediction"),
    "sana-sprint": (300, 64, 4, "flow_prediction"),
    "hunyuan-dit": (333, 64, 8, "v_prediction"),
    "sd3": (333, 64, 8, "flow_prediction"),
    "flux-dev": (512, 512, 8, "flow_prediction"),
    "flux-schnell": (256, 512, 8, "flow_prediction"),
    "flux2-dev": (512, 512, 8, "flow_prediction"),
    "flux2-klein": (512, 512, 8, "flow_prediction"),
    "lumina2": (256, 64, 8, "flow_prediction"),
}


@pytest.mark.parametrize("family", FACTS)
def test_what_the_checkpoints_say_of_themselves(transformers: Transformers, family: str) -> None:
    model = transformers[family]
    assert model.family == family
    assert (model.context_tokens, model.resolution, model.side_factor, model.prediction_type) == FACTS[family]
    with pytest.raises(ModelError, match="has a transformer and no U-Net"):
        _ = model.unet


def test_noise_by_the_closed_forms(transformers: Transformers) -> None:
    z, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    kept = torch.cumprod(1 - torch.linspace(0.0001, 0.02, 1000, dtype=torch.float64), dim=0)
    linear = kept[T].sqrt() * z + (1 - kept[T]).sqrt() * noise
    torch.testing.assert_close(transformers["pixart-alpha"].add_noise(z, noise, T), linear.float(), rtol=0, atol=1e-5)
    flow = transformers["sana"]
    torch.testing.assert_close(flow.add_noise(z, noise, 328), 0.672 * z + 0.328 * noise)
    # As diffusers' own schedule has it: shifted by 3, the fraction 0.14 is 0.42 / 1.28.
    scheduler = flow.scheduler
    nearest = scheduler.timesteps[(scheduler.timesteps - 328).abs().argmin()][None]
    torch.testing.assert_close(
        flow.add_noise(z, noise, 328), scheduler.scale_noise(z, nearest, noise), rtol=0, atol=0.02
    )
    assert [flow.timestep(step) for step in (1, 8, 50)] == [0, 328, 993]
    assert [transformers["sd3"].timestep(step) for step in (1, 8, 50)] == [0, 328, 993]
    assert transformers["pixart-alpha"].timestep(8) == transformers["sana-sprint"].timestep(8) == T
    with pytest.raises(SettingsError, match="from 0 to 999, got 1000"):
        flow.add_noise(z, noise, 1000)


@pytest.mark.parametrize("resolution", [64, 128, 512, 528])
def test_time_is_shifted_by_the_number_of_positions(transformers: Transformers, resolution: int) -> None:
    positions = (resolution // 8) ** 2  # more than 4300 at 528 pixels
    for family, mu in (
        ("flux-dev", calculate_shift(positions)),
        ("flux2-dev", compute_empirical_mu(positions, 50)),
    ):
        scheduler = transformers[family].scheduler
        scheduler.set_timesteps(sigmas=[0.14, 0.98], mu=mu)
        own = [transformers[family].timestep(step, resolution=resolution) for step in (1, 8, 50)]
        assert own == [0, *scheduler.timesteps.round().int().tolist()]
    few = transformers["flux2-dev"].timestep(8, 10, resolution=resolution)
    scheduler.set_timesteps(sigmas=[0.7], mu=compute_empirical_mu(positions, 10))
    assert few == round(scheduler.timesteps.item())
    assert transformers["flux-schnell"].timestep(8, resolution=resolution) == 140


def test_encoding_is_the_scaled_mean_or_the_scaled_latent(transformers: Transformers) -> None:
    images = torch.rand(1, 3, 32, 24)
    for family, scale, shift in (
        ("pixart-alpha", 0.18215, 0.0),
        ("sd3", 0.18215, 0.0609),
        ("flux-dev", 0.18215, 0.0609),
    ):
        model = transformers[family]
        moments = model.vae.quant_conv(model.vae.encoder(2 * images - 1))
        assert_close_to_scale(model.encode(images), scale * (moments[:, :4] - shift))
    sana = transformers["sana"]
    assert_close_to_scale(sana.encode(images), 0.41407 * sana.vae.encoder(2 * images - 1))
    assert sana.encode(images).shape == (1, 4, 8, 6)
    vae = transformers["flux2-dev"].vae
    moments = vae.quant_conv(vae.encoder(2 * images - 1))
    squares = torch.nn.functional.batch_norm(
        Flux2Pipeline._patchify_latents(moments[:, :4]), vae.bn.running_mean, vae.bn.running_var, eps=1e-4
    )
    expected = Flux2Pipeline._unpatchify_latents(squares)
    assert_close_to_scale(transformers["flux2-dev"].encode(images), expected, rel=1e-6)


def test_contexts_are_the_prompts_own_tokens(transformers: Transformers) -> None:
    for family in ("pixart-alpha", "sana", "lumina2"):
        model = transformers[family]
        context = model.encode_text(["a red cat"])
        assert context.shape == (1, 4, DIM)
        words, network = model.text_encoder()._pairs[0]
        ids = words(["a red cat"], padding="max_length", max_length=9, return_tensors="pt")
        output = network(ids["input_ids"], attention_mask=ids["attention_mask"], output_hidden_states=True)
        padded = output.hidden_states[-2 if family == "lumina2" else -1]
        # What a pipeline of diffusers passes, without what it masks.
        assert_close_to_scale(context, padded[ids["attention_mask"].bool()][None], rel=1e-5)
        assert [(piece.position, piece.known) for piece in model.text_encoder().pieces("a blue cat", 120)] == [
            (position + (family != "pixart-alpha"), known) for position, known in enumerate((True, False, True))
        ]
        with pytest.raises(ModelError, match=r"no padding, and the prompts have \[\d, 4\] tokens"):
            model.encode_text(["a red cat", "cat"])


def test_contexts_of_hunyuan_dit_are_what_its_blocks_see(transformers: Transformers) -> None:
    model = transformers["hunyuan-dit"]
    context = model.encode_text(["a cat", ""])
    assert context.shape == (2, 333, DIM)
    seen: list[Tensor] = []
    module = model.network.module
    hook = module.blocks[0].attn2.register_forward_pre_hook(
        lambda _module, _args, named: seen.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    (bert, bert_network), (t5, t5_network) = model.text_encoder()._pairs
    noisy, _ = inputs(8, 8)
    given = conditions(model, noisy, torch.zeros(2, 77, DIM))
    for suffix, words, network, length in (("", bert, bert_network, 77), ("_t5", t5, t5_network, 256)):
        ids = words(["a cat", ""], padding="max_length", max_length=length, return_tensors="pt")
        mask = ids["attention_mask"]
        given[f"encoder_hidden_states{suffix}"] = network(ids["input_ids"], attention_mask=mask)[0]
        given[f"text_embedding_mask{suffix}"] = mask
    with torch.no_grad():
        module(**given)
    hook.remove()
    assert_close_to_scale(context, seen[0], rel=1e-5)


def test_contexts_of_stable_diffusion_3_are_clip_beside_clip_and_then_t5(transformers: Transformers) -> None:
    model = transformers["sd3"]
    context = model.encode_text(["a cat", ""])
    assert context.shape == (2, 333, DIM)
    states = []
    for (words, network), length in zip(model.text_encoder()._pairs, (77, 77, 256), strict=True):
        ids = words(["a cat", ""], padding="max_length", max_length=length, return_tensors="pt")["input_ids"]
        output = network(ids, output_hidden_states=True)
        states.append(output.hidden_states[-2] if length == 77 else output.last_hidden_state)
    expected = torch.zeros(2, 333, DIM)
    expected[:, :77, :8], expected[:, :77, 8:16], expected[:, 77:] = states
    assert_close_to_scale(context, expected, rel=1e-6)


def test_contexts_of_flux_are_t5s_padding_included(transformers: Transformers) -> None:
    model = transformers["flux-dev"]
    context = model.encode_text(["a cat", "dog"])
    ((words, network),) = model.text_encoder()._pairs
    ids = words(["a cat", "dog"], padding="max_length", max_length=512, return_tensors="pt")["input_ids"]
    assert_close_to_scale(context, network(ids).last_hidden_state, rel=1e-6)


@pytest.mark.parametrize(("family", "name"), [("sd3", "pos_embed_max_size"), ("lumina2", "axes_lens")])
def test_what_the_table_of_positions_has_no_room_for_is_refused(
    transformers: Transformers, family: str, name: str
) -> None:
    model = transformers[family]  # 16 x 16 positions of 2 x 2 latents of 4 x 4 pixels
    model.check_side(128)
    with pytest.raises(SettingsError, match=rf"at most 128 x 128 pixels \({name}\), got 136. Set a smaller"):
        model.check_side(136)
    noisy, context = inputs(height=32, width=34)
    with pytest.raises(ModelError, match=rf"latents of at most 32 x 32 \({name}\), got 34 x 32"):
        model.attention(noisy, T, context, model.layers)
    transformers["flux-dev"].check_side(136)
    if family == "lumina2":
        with pytest.raises(ModelError, match=r"contexts of at most 299 tokens \(axes_lens\), got 300"):
            model.features(noisy[..., :8, :8], T, context[:, :1].expand(-1, 300, -1), 0)


@pytest.mark.parametrize("family", ["flux2-dev", "flux2-klein"])
def test_contexts_of_flux_2_are_its_pipelines(transformers: Transformers, family: str) -> None:
    model = transformers[family]
    prompt = "a red cat"
    context = model.encode_text([prompt, "dog"])
    ((words, network),) = model.text_encoder()._pairs
    own = Flux2KleinPipeline._get_qwen3_prompt_embeds
    if family == "flux2-dev":
        own = Flux2Pipeline._get_mistral_3_small_prompt_embeds
    assert_close_to_scale(context, own(network, words, [prompt, "dog"]), rel=1e-6)
    # Padding is on the left: the prompt's tokens are among the last of 512.
    after = 1 if family == "flux2-dev" else 4
    pieces = model.text_encoder().pieces(prompt, 512)
    assert [(piece.position, prompt[piece.start : piece.end]) for piece in pieces] == [
        (512 - after - 3 + number, word) for number, word in enumerate(prompt.split())
    ]
    assert all(piece.kept and piece.known for piece in pieces)
