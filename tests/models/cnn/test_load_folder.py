"""VGG and ResNet in folders of timm and transformers: against independent forward passes, and what is refused."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from closeness import assert_close_to_scale
from models.cnn.networks import (
    MEAN,
    STD,
    VGG_STAGES,
    save_timm,
    timm_resnet,
    timm_vgg,
    transformers_resnet,
)
from semcorr.errors import ModelError
from semcorr.models.cnn import ConvolutionalModel

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def load(model: str | Path, **options: Any) -> ConvolutionalModel:
    return ConvolutionalModel.from_pretrained(model, device="cpu", **options)


def random_image(height: int, width: int) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(5))


def outputs(model: ConvolutionalModel, image: Tensor) -> list[Tensor]:
    return model.block_outputs(image, range(model.depth), round((image.shape[1] * image.shape[2]) ** 0.5))


def normalised(image: Tensor, mean: list[float], std: list[float]) -> Tensor:
    return ((image.movedim(0, -1) - torch.tensor(mean)) / torch.tensor(std)).movedim(-1, 0)[None].double()


# --- independent forward passes ---------------------------------------------------------------------------------------


def convolve(x: Tensor, tensors: dict[str, Tensor], name: str, norm: str | None = None, stride: int = 1) -> Tensor:
    """Convolve by unfolding the padded image into columns, then normalise by the definition, in double precision."""
    kernel = tensors[f"{name}.weight"].double()
    side = kernel.shape[-1]
    size = [(length - 1) // stride + 1 for length in x.shape[-2:]]
    columns = F.unfold(x, side, padding=side // 2, stride=stride)
    result = kernel.flatten(1) @ columns
    if f"{name}.bias" in tensors:
        result = result + tensors[f"{name}.bias"].double()[:, None]
    if norm is not None:
        mean, variance, scale, shift = (
            tensors[f"{norm}.{kind}"].double()[:, None] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        result = (result - mean) / torch.sqrt(variance + 1e-5) * scale + shift
    return result.unflatten(2, size)


def maximum(x: Tensor, side: int, padding: int) -> Tensor:
    """The maximum of windows two pixels apart, by unfolding."""
    size = [(length + 2 * padding - side) // 2 + 1 for length in x.shape[-2:]]
    padded = F.pad(x, (padding,) * 4, value=-torch.inf)
    columns = F.unfold(padded, side, stride=2).unflatten(1, (x.shape[1], side * side))
    return columns.amax(dim=2).unflatten(2, size)


def vgg_by_definition(x: Tensor, tensors: dict[str, Tensor], name: str) -> list[Tensor]:
    results, index = [], 0
    for stage, count in enumerate(VGG_STAGES[name.removesuffix("_bn")]):
        x = maximum(x, 2, 0) if stage else x
        for _ in range(count):
            norm = f"features.{index + 1}" if name.endswith("_bn") else None
            x = convolve(x, tensors, f"features.{index}", norm).clamp(min=0)
            results.append(x)
            index += 3 if norm else 2
        index += 1
    return results


def resnet_by_definition(x: Tensor, tensors: dict[str, Tensor], depths: tuple[int, ...]) -> list[Tensor]:
    x = maximum(convolve(x, tensors, "conv1", "bn1", 2).clamp(min=0), 3, 1)
    results = [x]
    for stage, depth in enumerate(depths):
        for block in range(depth):
            path, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            count = 3 if f"{path}.conv3.weight" in tensors else 2
            x = y = x.clamp(min=0)
            for number in range(1, count + 1):
                # timm has the stride in the convolution of 3 x 3: the second of three, the first of two.
                own = stride if number == count - 1 else 1
                y = convolve(y, tensors, f"{path}.conv{number}", f"{path}.bn{number}", own)
                y = y.clamp(min=0) if number < count else y
            if f"{path}.downsample.0.weight" in tensors:
                x = convolve(x, tensors, f"{path}.downsample.0", f"{path}.downsample.1", stride)
            x = x + y
            results.append(x)
    return results


@pytest.mark.parametrize("name", ["vgg11", "vgg19", "vgg16_bn"])
def test_every_block_of_a_vgg_equals_an_independent_forward_pass(tmp_path: Path, name: str) -> None:
    tensors = timm_vgg(name)
    model = load(save_timm(tmp_path / name, f"{name}.tv_in1k", tensors))
    assert (model.family, model.depth) == (name.removesuffix("_bn"), sum(VGG_STAGES[model.family]))
    image = random_image(64, 48)
    expected = vgg_by_definition(normalised(image, MEAN, STD), tensors, name)
    for output, right in zip(outputs(model, image), expected, strict=True):
        assert_close_to_scale(output.double(), right[0], rel=1e-5)


@pytest.mark.parametrize(
    ("family", "depths", "bottleneck"), [("resnet50", (3, 4, 6, 3), True), ("resnet18", (2, 2, 2, 2), False)]
)
def test_every_block_of_timms_resnet_equals_an_independent_forward_pass(
    tmp_path: Path, family: str, depths: tuple[int, ...], bottleneck: bool
) -> None:
    tensors = timm_resnet(depths, bottleneck=bottleneck)
    model = load(save_timm(tmp_path / family, family, tensors))
    assert (model.family, model.depth) == (family, 1 + sum(depths))
    image = random_image(96, 64)
    expected = resnet_by_definition(normalised(image, MEAN, STD), tensors, depths)
    for output, right in zip(outputs(model, image), expected, strict=True):
        assert_close_to_scale(output.double(), right[0], rel=1e-4)


def before_last_relus(network: nn.Module, pixels: Tensor) -> list[Tensor]:
    """What the stem of transformers' own network puts out, and its blocks before their last ReLU."""
    trunk: Any = getattr(network, "resnet", network)
    kept: list[Tensor] = []
    layers = [layer for stage in trunk.encoder.stages for layer in stage.layers]
    hooks = [trunk.embedder.register_forward_hook(lambda _, __, output: kept.append(output))]
    hooks += [layer.activation.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0])) for layer in layers]
    with torch.no_grad():
        network(pixels)
    for hook in hooks:
        hook.remove()
    return kept


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"head": True},
        {"layer_type": "basic"},
        {"downsample_in_bottleneck": True},
        {"depths": [3, 4, 6, 3], "hidden_sizes": [8, 8, 12, 16]},
    ],
)
def test_every_block_of_transformers_resnet_is_that_of_its_own_forward_pass(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    network = transformers_resnet(**config)
    network.save_pretrained(tmp_path)
    model = load(tmp_path)
    image = random_image(96, 64)
    pixels = normalised(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    expected = before_last_relus(network.double(), pixels)
    assert len(expected) == model.depth
    for output, right in zip(outputs(model, image), expected, strict=True):
        assert_close_to_scale(output.double(), right[0], rel=1e-4)


def test_colours_are_those_of_transformers_preprocessor(tmp_path: Path) -> None:
    network = transformers_resnet()
    network.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    image = random_image(64, 64)
    expected = before_last_relus(network.double(), normalised(image, MEAN, STD))[0]
    assert_close_to_scale(outputs(load(tmp_path), image)[0].double(), expected[0], rel=1e-5)


def flattened(network: nn.Module) -> nn.Module:
    """The same network with weights that average, so that it is linear but for its maxima."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(1 / weight[0].numel() if weight.ndim == 4 else 0)
    return network


def test_a_cell_of_a_vgg_is_centred_on_its_middle(tmp_path: Path) -> None:
    network = flattened(load(save_timm(tmp_path / "a", "vgg11", timm_vgg("vgg11"))).network)
    side = 512
    position = torch.arange(side) + 0.5
    # The maximum moves a slope and its mirror image by the same amount, so their difference is the centre.
    for number, stride in enumerate(network.strides):
        rising, falling, ones = (
            network.outputs(values.expand(1, 3, side, side), [number])[0][0, 0]
            for values in (position, side - position, torch.ones(side))
        )
        cell = rising.shape[-1] // 2  # in the middle, where no padding is seen
        centre = ((rising - falling) / ones)[cell, cell] / 2 + side / 2
        assert float(centre) / stride == pytest.approx(cell + 0.5, abs=2e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near(tmp_path: Path, dtype: Any) -> None:
    folder = save_timm(tmp_path / "vgg", "vgg11", timm_vgg("vgg11"))
    exact, half = load(folder), load(folder, dtype=dtype)
    assert (half.dtype, half.fingerprint) == (getattr(torch, dtype), exact.fingerprint)
    image = random_image(32, 48)
    for one, other in zip(outputs(half, image), outputs(exact, image), strict=True):
        assert one.dtype == torch.float32
        assert 0 < (one - other).norm() / other.norm() < 0.05


def test_shards_and_a_variant_are_read(tmp_path: Path) -> None:
    network = transformers_resnet()
    network.save_pretrained(tmp_path / "one")
    network.save_pretrained(tmp_path / "shards", max_shard_size="4KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    assert load(tmp_path / "shards").fingerprint == load(tmp_path / "one").fingerprint
    network.half().save_pretrained(tmp_path / "half", variant="fp16")
    image = random_image(32, 32)
    near, exact = outputs(load(f"{tmp_path}/half:fp16"), image)[-1], outputs(load(tmp_path / "one"), image)[-1]
    assert 0 < (near - exact).norm() / exact.norm() < 0.02


def test_the_fingerprint_tells_weights_and_colours_apart(tmp_path: Path) -> None:
    tensors = timm_vgg("vgg11")
    prints = {load(save_timm(tmp_path / "a", "vgg11", tensors)).fingerprint}
    prints.add(load(save_timm(tmp_path / "b", "vgg11", tensors, pretrained_cfg={"mean": [0, 0, 0]})).fingerprint)
    tensors["features.0.bias"] = tensors["features.0.bias"] + 1e-3
    prints.add(load(save_timm(tmp_path / "c", "vgg11", tensors)).fingerprint)
    assert len(prints) == 3


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def vgg(tmp_path: Path) -> Path:
    return save_timm(tmp_path / "vgg", "vgg11_bn", timm_vgg("vgg11_bn"))


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    return save_timm(tmp_path / "resnet", "resnet26", timm_resnet((2, 2, 2, 2), bottleneck=True))


def refusal(model: str | Path, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load(model, **options)
    return str(caught.value)


def change(folder: Path, **entries: Any) -> None:
    file = folder / CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def without(folder: Path, *names: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({name: value for name, value in tensors.items() if name not in names}, folder / WEIGHTS)


@pytest.mark.parametrize(
    "name", ["features.0.weight", "features.4.bias", "features.5.running_var", "features.8.weight"]
)
def test_a_missing_weight_of_a_vgg_is_named(vgg: Path, name: str) -> None:
    without(vgg, name)
    assert f"the weight {name} is missing" in refusal(vgg)


def test_a_missing_convolution_of_a_vgg_is_named(tmp_path: Path) -> None:
    folder = save_timm(tmp_path / "vgg", "vgg19", timm_vgg("vgg19"))
    without(folder, "features.12.weight", "features.12.bias")
    assert "the weight features.12.weight is missing" in refusal(folder)


@pytest.mark.parametrize(
    "name",
    ["conv1.weight", "bn1.bias", "layer2.0.conv1.weight", "layer3.1.conv3.weight", "layer4.0.downsample.0.weight"],
)
def test_a_missing_weight_of_a_resnet_is_named(resnet: Path, name: str) -> None:
    without(resnet, name)
    assert f"the weight {name} is missing" in refusal(resnet)


def test_a_missing_weight_of_transformers_is_named_by_its_own_name(tmp_path: Path) -> None:
    transformers_resnet().save_pretrained(tmp_path)
    name = "encoder.stages.1.layers.0.layer.2.normalization.running_mean"
    without(tmp_path, name)
    assert f"the weight {name} is missing" in refusal(tmp_path)


def test_weights_of_another_network_are_refused(vgg: Path, resnet: Path, tmp_path: Path) -> None:
    change(vgg, architecture="vgg19_bn")
    assert "its configuration is of vgg19, and its weights are those of vgg11" in refusal(vgg)
    change(vgg, architecture="resnet50")
    assert "the weight conv1.weight is missing" in refusal(vgg)
    change(resnet, architecture="resnet50")
    assert "its configuration is of resnet50, and its weights are those of resnet26" in refusal(resnet)
    tensors = load_file(resnet / WEIGHTS)
    attention = {"layer1.0.se.fc1.weight": torch.zeros(2)}  # squeeze-and-excitation
    other = save_timm(tmp_path / "other", "resnet26", tensors | attention)
    assert "1 weights have no counterpart in the network, the first is layer1.0.se.fc1.weight" in refusal(other)
    groups = {"layer1.0.conv2.weight": torch.zeros(4, 2, 3, 3)}  # as ResNeXt has them
    other = save_timm(tmp_path / "groups", "resnet26", tensors | groups)
    assert "layer1.0.conv2.weight has the shape (4, 2, 3, 3), expected (any, 4, 3, 3)" in refusal(other)
    grey = {"conv1.weight": torch.zeros(4, 1, 7, 7)}
    other = save_timm(tmp_path / "grey", "resnet26", tensors | grey)
    assert "conv1.weight has the shape (4, 1, 7, 7), expected (any, 3, 7, 7)" in refusal(other)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"architecture": "efficientnet_b0"}, "is a network of type 'efficientnet_b0'."),
        ({"architecture": "resnet50d"}, "is a network of type 'resnet50d'. Did you mean 'resnet50'?"),
        ({"architecture": None, "model_type": "vit"}, "is a network of type 'vit'."),
        ({"architecture": None}, "is a network of type 'None'."),
        ({"architecture": "resnet"}, "is a network of type 'resnet'."),
        ({"model_args": {"output_stride": 16}}, "model_args in config.json are {'output_stride': 16}, expected none"),
        ({"pretrained_cfg": {"mean": [0.5]}}, "ValueError"),
        ({"pretrained_cfg": {"std": [0.2, 0.0, 0.2]}}, "std is [0.2, 0.0, 0.2], expected numbers above 0"),
    ],
)
def test_a_configuration_of_another_network_is_refused(resnet: Path, config: dict[str, Any], reason: str) -> None:
    change(resnet, **config)
    message = refusal(resnet)
    assert reason in message
    assert ("of type" not in message) or "Expected a VGG (vgg11 to vgg19, or with _bn) or a ResNet" in message


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu' in config.json, expected 'relu'"),
        ({"downsample_in_first_stage": True}, "downsample_in_first_stage is True in config.json, expected False"),
        ({"depths": [1, 2, 3]}, "its configuration is of resnet20, and its weights are those of resnet14"),
        ({"depths": None}, "TypeError"),
    ],
)
def test_a_resnet_of_transformers_with_other_parts_is_refused(
    tmp_path: Path, config: dict[str, Any], reason: str
) -> None:
    transformers_resnet().save_pretrained(tmp_path)
    change(tmp_path, **config)
    assert reason in refusal(tmp_path)


def test_pickles_are_refused_unread(vgg: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (vgg / "sprung",)

    (vgg / WEIGHTS).unlink()
    (vgg / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    assert "the weights are pickled (pytorch_model.bin)" in refusal(vgg)
    assert "pytorch_model.bin is a pickle" in refusal(vgg / "pytorch_model.bin")
    assert not (vgg / "sprung").exists()


def test_files_that_are_missing_or_broken(vgg: Path, tmp_path: Path) -> None:
    for name in (CONFIG, WEIGHTS):
        folder = Path(shutil.copytree(vgg, tmp_path / name))
        (folder / name).unlink()
        message = refusal(folder)
        assert f"is not a VGG or ResNet as timm or transformers saves it: {name} is missing (in {folder})" in message
        assert "Expected 'lite0', which is bundled, a folder with config.json" in message
    (vgg / WEIGHTS).write_bytes((vgg / WEIGHTS).read_bytes()[:1000])
    assert f"The network of {vgg} cannot be read: SafetensorError" in refusal(vgg)
    (vgg / CONFIG).write_text("{")
    assert f"The configuration of {vgg} cannot be read" in refusal(vgg)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lite1", "Unknown convolutional network 'lite1'.\nExpected 'lite0'"),
        ("./nothing", "There is no model at './nothing': no such folder.\nExpected 'lite0'"),
        (Path("lite0"), "There is no model at 'lite0': no such folder."),
        ("timm/absent", "HF_HUB_OFFLINE is set"),
        ("lite0:fp16", "'lite0' is bundled: it has no revisions and variants, got 'fp16'"),
    ],
)
def test_names_that_mean_nothing(name: str | Path, reason: str) -> None:
    assert reason in refusal(name)


def test_a_variant_and_a_revision_that_are_not_there(vgg: Path) -> None:
    assert "it has no whole variant 'fp16': there is none" in refusal(vgg, variant="fp16")
    assert "only hub ids take a revision" in refusal(vgg, revision="main")


def test_loading_and_refusing_print_nothing(vgg: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(vgg)
    without(vgg, "features.0.weight")
    refusal(vgg)
    assert capfd.readouterr() == ("", "")
