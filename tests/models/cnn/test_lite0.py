"""EfficientNet-Lite0: against an independent forward pass, by what it recognises, and where its cells are centred."""

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F

from semcorr.errors import LayerError, ModelError, SettingsError
from semcorr.models.cnn import ConvolutionalModel, published_lite0
from semcorr.models.cnn.checkpoint import ConvolutionalCheckpoint
from semcorr.models.cnn.lite0 import EfficientNetLite0

STRIDED = {1: 3, 3: 5, 5: 3, 11: 5}
"""The blocks that halve their input, and the size of their kernel; all other kernels follow from the weights."""


@pytest.fixture(scope="module")
def model() -> ConvolutionalModel:
    return ConvolutionalModel.from_pretrained("lite0", device="cpu")


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(published_lite0.weights_file(), weights_only=True)
    return weights


def convolve(x: torch.Tensor, weights: dict[str, torch.Tensor], conv: str, norm: str, stride: int = 1) -> torch.Tensor:
    """Convolve by unfolding an explicitly padded image into columns, and normalise by the definition."""
    kernel = weights[f"{conv}.weight"].double()
    outputs, per_group, side, _ = kernel.shape
    total = side - 1  # of odd sides, and without a stride, TensorFlow's "same"
    before, after = total // 2, total - total // 2
    padded = F.pad(x, (before, after, before, after))
    size = [(length - side) // stride + 1 for length in padded.shape[-2:]]
    columns = F.unfold(padded, side, stride=stride).unflatten(1, (x.shape[1], side * side))
    if per_group == 1 and outputs == x.shape[1]:
        result = (columns * kernel.reshape(1, outputs, side * side, 1)).sum(dim=2)
    else:
        result = torch.einsum("bckn,ock->bon", columns, kernel.flatten(2))
    mean, variance, scale, shift = (
        weights[f"{norm}.{name}"].double()[:, None] for name in ("running_mean", "running_var", "weight", "bias")
    )
    normal = (result - mean) / torch.sqrt(variance + 1e-3) * scale + shift
    return normal.unflatten(2, size)


def independent_blocks(x: torch.Tensor, weights: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Every block's output, from the published weights and the network's definition alone."""
    x = convolve(x.double(), weights, "_conv_stem", "_bn0", 2).clamp(0, 6)
    results = []
    for number in range(16):
        path, y, stride = f"_blocks.{number}", x, 2 if number in STRIDED else 1
        if f"{path}._expand_conv.weight" in weights:
            y = convolve(y, weights, f"{path}._expand_conv", f"{path}._bn0").clamp(0, 6)
        if number in STRIDED:
            assert weights[f"{path}._depthwise_conv.weight"].shape[-1] == STRIDED[number]
        y = convolve(y, weights, f"{path}._depthwise_conv", f"{path}._bn1", stride).clamp(0, 6)
        y = convolve(y, weights, f"{path}._project_conv", f"{path}._bn2")
        x = x + y if stride == 1 and x.shape == y.shape else y
        results.append(x)
    return results


def test_every_block_equals_an_independent_forward_pass(
    model: ConvolutionalModel, published: dict[str, torch.Tensor]
) -> None:
    image = torch.rand(3, 65, 97, generator=torch.Generator().manual_seed(0))
    outputs = model.block_outputs(image, range(16), 96)
    expected = independent_blocks(((image - 127 / 255) / (128 / 255))[None], published)
    for output, right in zip(outputs, expected, strict=True):
        scale = float(right.abs().max())
        assert torch.allclose(output.features.double(), right[0], rtol=0, atol=2e-5 * scale)


def test_the_scores_equal_an_independent_forward_pass(
    model: ConvolutionalModel, published: dict[str, torch.Tensor]
) -> None:
    images = torch.rand(1, 3, 65, 65, generator=torch.Generator().manual_seed(1))
    last = convolve(independent_blocks(images, published)[-1], published, "_conv_head", "_bn1").clamp(0, 6)
    right = last.mean(dim=(2, 3)) @ published["_fc.weight"].double().T + published["_fc.bias"].double()
    assert torch.allclose(model.network(images).double(), right, rtol=0, atol=1e-4 * float(right.abs().max()))


@pytest.mark.parametrize("block", [0, 2, 10, 14])
def test_a_cell_is_centred_where_its_position_says(block: int) -> None:
    network = EfficientNetLite0().eval()
    for module in network.modules():  # equal weights everywhere: what a cell sees is symmetric around its centre
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 1 / (module.weight[0].numel() * 4))
    checkpoint = ConvolutionalCheckpoint(
        model_id="even", revision=None, fingerprint="", family="", network=network, mean=(0, 0, 0), std=(1, 1, 1)
    )
    side = 513
    (output,) = ConvolutionalModel(checkpoint).block_outputs(torch.ones(3, side, side), [block], side)
    images = torch.ones(1, 3, side, side, requires_grad=True)
    cell = output.features.shape[-1] // 2
    network.outputs(images, [block])[0][0, 0, cell, cell].backward()
    assert images.grad is not None
    weight = images.grad[0, 0].double()
    centre = float((weight.sum(dim=0) * (torch.arange(side) + 0.5)).sum() / weight.sum())
    positions = output.positions(torch.full((2,), centre / side, dtype=torch.float64))
    assert positions.tolist() == pytest.approx([cell + 0.5] * 2, abs=1e-4)


@pytest.mark.skipif("SEMCORR_TEST_DATA" not in os.environ, reason="SEMCORR_TEST_DATA names no folder of photographs")
@pytest.mark.parametrize(
    ("pattern", "classes"),
    [
        ("animals/macaque/*.jpg", {373}),  # ImageNet's class 373 is the macaque
        ("pf-willow/car(G)/*.png", {436, 479, 511, 581, 627, 751, 817}),  # kinds of cars, and their wheels
        ("pf-willow/winebottle(M)/*.png", {440, 737, 907, 966}),  # bottles of beer, pop and wine, and red wine
    ],
)
def test_it_recognises_what_photographs_show(model: ConvolutionalModel, pattern: str, classes: set[int]) -> None:
    files = sorted(Path(os.environ["SEMCORR_TEST_DATA"]).glob(pattern))
    assert files
    right = 0
    for file in files:
        with PIL.Image.open(file) as image:
            square = np.asarray(image.convert("RGB").resize((224, 224)), dtype=np.float32)
        pixels = torch.from_numpy((square - 127) / 128).permute(2, 0, 1)[None]
        right += bool(set(model.network(pixels)[0].topk(3).indices.tolist()) & classes)
    assert right >= 0.7 * len(files)


def test_maps_cover_the_image_in_its_own_proportions(model: ConvolutionalModel) -> None:
    image = torch.rand(3, 100, 200)
    coarse, fine = model.block_outputs(image, [14, 10], 256)
    assert coarse.features.shape == (192, 5, 9)
    assert fine.features.shape == (112, 9, 17)
    corners = torch.tensor([[0.5 / 257, 0.5 / 129], [256.5 / 257, 128.5 / 129]])
    assert torch.allclose(coarse.positions(corners), torch.tensor([[0.5, 0.5], [8.5, 4.5]]))
    assert torch.allclose(fine.positions(corners), torch.tensor([[0.5, 0.5], [16.5, 8.5]]))


def test_half_precision_gives_nearly_the_same(model: ConvolutionalModel) -> None:
    half = ConvolutionalModel.from_pretrained("lite0", dtype="bfloat16", device="cpu")
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(2))
    (exact,), (rounded,) = model.block_outputs(image, [10], 64), half.block_outputs(image, [10], 64)
    assert rounded.features.dtype == torch.float32
    assert F.cosine_similarity(exact.features.flatten(), rounded.features.flatten(), dim=0) > 0.98


def test_a_block_or_resolution_that_is_not_there_is_refused(model: ConvolutionalModel) -> None:
    with pytest.raises(LayerError, match="has 16 blocks, 0 to 15: got 16"):
        model.check([3, 16], 512)
    with pytest.raises(SettingsError, match="resolution of 31 pixels is too small"):
        model.check([3], 31)


def test_weights_of_another_content_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "weights.pth"
    other.write_bytes(published_lite0.weights_file().read_bytes()[:-1] + b"!")
    monkeypatch.setattr(published_lite0, "weights_file", lambda: other)
    with pytest.raises(ModelError, match="another content than expected"):
        ConvolutionalModel.from_pretrained("lite0")


def test_a_revision_of_the_bundled_network_is_refused() -> None:
    with pytest.raises(ModelError, match="no revisions"):
        ConvolutionalModel.from_pretrained("lite0", revision="main")
