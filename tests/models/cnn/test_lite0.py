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
    total = max(side - stride, 0) if stride == 2 else side - 1  # of even sides, TensorFlow's "same"
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
    image = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    outputs = model.block_outputs(image, range(16), 78)
    expected = independent_blocks(((image - 127 / 255) / (128 / 255))[None], published)
    for output, right in zip(outputs, expected, strict=True):
        scale = float(right.abs().max())
        assert torch.allclose(output.double(), right[0], rtol=0, atol=2e-5 * scale)


def test_the_scores_equal_an_independent_forward_pass(
    model: ConvolutionalModel, published: dict[str, torch.Tensor]
) -> None:
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    last = convolve(independent_blocks(images, published)[-1], published, "_conv_head", "_bn1").clamp(0, 6)
    right = last.mean(dim=(2, 3)) @ published["_fc.weight"].double().T + published["_fc.bias"].double()
    assert torch.allclose(model.network(images).double(), right, rtol=0, atol=1e-4 * float(right.abs().max()))


@pytest.mark.parametrize(("block", "tolerance"), [(4, 2), (10, 5), (14, 6)])
def test_cells_are_centred_on_their_middles(model: ConvolutionalModel, block: int, tolerance: float) -> None:
    # Arithmetic of the padding alone says half a cell to the right; what the trained kernels look at says otherwise.
    random = torch.Generator().manual_seed(0)
    noise = F.interpolate(torch.rand(1, 3, 32, 32, generator=random), size=(512, 512), mode="bilinear")
    images = ((noise - 127 / 255) / (128 / 255)).requires_grad_()
    (output,) = model.network.outputs(images, [block])
    stride, middle, pixels = model.network.strides[block], output.shape[-1] // 2, torch.arange(512) + 0.5
    offsets = []
    for cell in range(middle - 2, middle + 2):
        (gradient,) = torch.autograd.grad(output[0, :, cell, cell].square().sum(), images, retain_graph=True)
        weight = gradient[0].square().sum(dim=0)
        centre = torch.stack(((weight.sum(dim=0) * pixels).sum(), (weight.sum(dim=1) * pixels).sum())) / weight.sum()
        offsets.append(centre - (cell + 0.5) * stride)
    assert torch.stack(offsets).mean(dim=0).abs().max() < tolerance


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
    coarse, fine = model.block_outputs(image, [14, 10], 181)
    assert coarse.shape == (192, 4, 8)
    assert fine.shape == (112, 8, 16)


def test_half_precision_gives_nearly_the_same(model: ConvolutionalModel) -> None:
    half = ConvolutionalModel.from_pretrained("lite0", dtype="bfloat16", device="cpu")
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(2))
    (exact,), (rounded,) = model.block_outputs(image, [10], 64), half.block_outputs(image, [10], 64)
    assert rounded.dtype == torch.float32
    assert F.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0) > 0.98


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
