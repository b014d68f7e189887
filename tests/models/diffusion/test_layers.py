"""Layers are found in every family, chosen by name or rule, and asked for in vain only loudly."""

import pytest

from models.diffusion.networks import make_unet
from semcorr.errors import LayerError
from semcorr.models.diffusion import FAMILIES, DiffusionModel, select_layers
from semcorr.models.diffusion.layers import cross_attention_layers


def names(model: DiffusionModel, *spec: str) -> list[str]:
    return [layer.name for layer in model.select_layers(spec)]


def test_layers_of_the_four_level_families(models: dict[str, DiffusionModel]) -> None:
    for family, heads in (("sd1", [8] * 16), ("sd2", [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1])):
        layers = models[family].layers
        assert [layer.section for layer in layers] == ["down"] * 6 + ["mid"] + ["up"] * 9
        assert [layer.scale for layer in layers] == [1, 1, 2, 2, 4, 4, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]
        assert [layer.heads for layer in layers] == heads
        assert layers[0].name == "down_blocks.0.attentions.0"
        assert layers[-1].name == "up_blocks.3.attentions.2"


def test_sdxl_names_its_transformer_blocks(models: dict[str, DiffusionModel]) -> None:
    layers = models["sdxl"].layers
    # Two attentions of 2 and two of 3 on the way down, one of 3, three of 3 and three of 2 on the way up.
    assert [sum(layer.section == section for layer in layers) for section in ("down", "mid", "up")] == [10, 3, 15]
    assert layers[0].name == "down_blocks.1.attentions.0.transformer_blocks.0"
    assert {layer.scale for layer in layers} == {2, 4}
    # The same three positions as in the other families; more maps, because the attentions are deeper.
    chosen = models["sdxl"].select_layers()
    assert len(chosen) == 10
    assert {layer.name.rsplit(".transformer_blocks", 1)[0] for layer in chosen} == {
        "up_blocks.0.attentions.0",
        "up_blocks.0.attentions.1",
        "up_blocks.0.attentions.2",
        "up_blocks.1.attentions.0",
    }


def test_default_is_the_papers_four(models: dict[str, DiffusionModel]) -> None:
    four = [f"up_blocks.1.attentions.{n}" for n in range(3)] + ["up_blocks.2.attentions.0"]
    assert names(models["sd1"], *FAMILIES["sd1"].layers) == four
    assert [layer.name for layer in models["sd2"].select_layers()] == four


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (["mid/8"], ["mid_block.attentions.0"]),
        (["up/2:0,2"], ["up_blocks.2.attentions.0", "up_blocks.2.attentions.2"]),
        (["any/4:1"], ["down_blocks.2.attentions.1"]),
        (["any/8"], ["mid_block.attentions.0"]),
        # The U-Net's order, each layer once.
        (
            ["up/1:0", "down/1", "down_blocks.0.attentions.1"],
            ["down_blocks.0.attentions.0", "down_blocks.0.attentions.1", "up_blocks.3.attentions.0"],
        ),
    ],
)
def test_rules(models: dict[str, DiffusionModel], spec: list[str], expected: list[str]) -> None:
    assert names(models["sd1"], *spec) == expected


def test_one_string_is_one_rule(models: dict[str, DiffusionModel]) -> None:
    assert len(models["sd1"].select_layers("up/4")) == 3


@pytest.mark.parametrize("wrong", ["up/16", "down/8", "up/2:3", "up_blocks.9.attentions.0", "attn2", ""])
def test_a_layer_that_is_not_there_lists_those_that_are(models: dict[str, DiffusionModel], wrong: str) -> None:
    model = models["sd1"]
    with pytest.raises(LayerError) as caught:
        model.select_layers(["up/4", wrong])
    message = str(caught.value)
    assert repr(wrong) in message
    assert all(layer.name in message for layer in model.layers)
    assert "(up/2, 8 heads)" in message


def test_a_misspelt_name_is_put_right(models: dict[str, DiffusionModel]) -> None:
    with pytest.raises(LayerError, match=r"Did you mean 'up_blocks\.1\.attentions\.0'\?"):
        models["sd1"].select_layers(["up_blocks.1.attention.0"])


def test_asking_for_nothing_is_an_error(models: dict[str, DiffusionModel]) -> None:
    with pytest.raises(LayerError, match="expected at least one"):
        models["sd1"].select_layers([])


def test_a_network_without_cross_attention_says_so() -> None:
    plain = make_unet(
        "sd1",
        down_block_types=("DownBlock2D",) * 4,
        up_block_types=("UpBlock2D",) * 4,
        mid_block_type="UNetMidBlock2D",
    )
    assert cross_attention_layers(plain) == ()
    with pytest.raises(LayerError, match="no cross-attention layers at all"):
        select_layers((), ["up/4"])
