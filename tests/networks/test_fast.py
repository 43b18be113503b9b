"""The fast convolutions compute what PyTorch's do, in value, gradient and gradient of the gradient."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthoma.networks import fast, winograd
from synthoma.networks.winograd import convolve


def pair(kernel: int, shape: tuple[int, ...], outputs: int = 3, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """An image and weights that ask for gradients."""
    random = torch.Generator().manual_seed(kernel)
    image = torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)
    weight = torch.randn(outputs, shape[1], kernel, kernel, generator=random, dtype=torch.float64).to(dtype)
    return [image.requires_grad_(True), weight.requires_grad_(True)]


# 4 i and 3 i pixels fit the tiles; the other sizes are cut at the border
SIZES = [(6, 6), (7, 9), (5, 14), (4, 4), (13, 8)]


@pytest.mark.parametrize(("kernel", "padding", "size"), list(itertools.product((3, 4), (0, 1, 2), SIZES)))
def test_winograds_convolution_is_the_convolution(kernel: int, padding: int, size: tuple[int, int]) -> None:
    image, weight = pair(kernel, (3, 2, *size))
    ours, wanted = convolve(image, weight, padding), F.conv2d(image, weight, padding=padding)
    torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=1e-10)
    grad = torch.randn_like(wanted)
    gradients = torch.autograd.grad(ours, [image, weight], grad)
    for got, right in zip(gradients, torch.autograd.grad(wanted, [image, weight], grad), strict=True):
        torch.testing.assert_close(got, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kernel", [3, 4])
def test_gradients_of_gradients(kernel: int) -> None:
    """A gradient penalty asks for them."""
    image, weight = pair(kernel, (1, 2, 6, 6), outputs=2)
    assert torch.autograd.gradgradcheck(lambda x, w: convolve(x, w, 1), (image, weight))


@pytest.mark.parametrize("frozen", ["image", "weight"])
def test_only_the_gradient_that_is_asked_for(frozen: str) -> None:
    image, weight = pair(3, (1, 2, 6, 6))
    (image if frozen == "image" else weight).requires_grad_(False)
    convolve(image, weight).sum().backward()  # type: ignore[no-untyped-call]
    assert (image.grad is None) == (frozen == "image")
    assert (weight.grad is None) == (frozen == "weight")


def test_samples_do_not_depend_on_how_many_are_transformed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    image, weight = pair(3, (5, 2, 10, 10))
    whole = convolve(image, weight)
    gradients = torch.autograd.grad(whole.square().sum(), [image, weight])
    monkeypatch.setattr(winograd, "TOGETHER", 8)  # of 4 tiles each: parts of 2, 2 and 1
    parts = convolve(image, weight)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts.square().sum(), [image, weight]), gradients)


def error(result: Tensor, exact: Tensor) -> float:
    """Root mean square of the difference, as a share of that of ``exact``."""
    return float(((result.detach().double() - exact.detach()).square().mean() / exact.detach().square().mean()).sqrt())


@pytest.mark.parametrize("kernel", [3, 4])
def test_float32_errs_hardly_more_than_the_direct_sum(kernel: int) -> None:
    image, weight = pair(kernel, (1, 256, 18, 18), outputs=64, dtype=torch.float32)
    exact = F.conv2d(image.double(), weight.double())
    assert error(convolve(image, weight), exact) < 4e-6


# inputs, outputs, kernel, padding, size: to few, from few, many channels
LAYERS = [
    (8, 1, 7, 0, 12),
    (8, 2, 4, 1, 9),
    (1, 8, 7, 0, 12),
    (2, 8, 3, 1, 9),
    (128, 128, 3, 0, 34),
    (128, 128, 4, 1, 26),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs", "kernel", "padding", "size"), LAYERS)
def test_a_layer_is_pytorchs(inputs: int, outputs: int, kernel: int, padding: int, size: int, bias: bool) -> None:
    torch.manual_seed(0)
    reference = nn.Conv2d(inputs, outputs, kernel, 1, padding, bias=bias)
    layer = fast.Conv2d(inputs, outputs, kernel, 1, padding, bias=bias)
    layer.load_state_dict(reference.state_dict())
    check(layer, reference, torch.randn(2, inputs, size, size))


@pytest.mark.parametrize(("kernel", "stride", "padding", "more"), [(4, 2, 1, 0), (3, 2, 1, 1), (5, 1, 0, 0)])
def test_a_transposed_layer_is_pytorchs(kernel: int, stride: int, padding: int, more: int) -> None:
    torch.manual_seed(0)
    reference = nn.ConvTranspose2d(6, 2, kernel, stride, padding, more)
    layer = fast.ConvTranspose2d(6, 2, kernel, stride, padding, more)
    layer.load_state_dict(reference.state_dict())
    check(layer, reference, torch.randn(2, 6, 5, 7))


@pytest.mark.parametrize("outputs", [1, 6])
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (2, 3, 4)])
def test_a_doubling_layer_is_the_nearest_neighbour_and_a_convolution(size: tuple[int, ...], outputs: int) -> None:
    torch.manual_seed(0)
    smooth, doubling = ((nn.Conv2d, fast.DoublingConv2d), (nn.Conv3d, fast.DoublingConv3d))[len(size) - 2]
    reference = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), smooth(3, outputs, 3, padding=1)).double()
    layer: Any = doubling(3, outputs).double()
    layer.load_state_dict(reference[1].state_dict())
    image = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(layer(image), reference(image), rtol=1e-12, atol=1e-12)
    both = [_gradients_of_gradients(network, image) for network in (layer, reference)]
    for got, right in zip(*both, strict=True):
        torch.testing.assert_close(got, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 6])
def test_a_doubling_layer_in_float32_and_bf16(outputs: int) -> None:
    torch.manual_seed(0)
    layer = fast.DoublingConv2d(6, outputs)
    image = torch.randn(2, 6, 5, 7)
    wanted = F.conv2d(F.interpolate(image, scale_factor=2), layer.weight, layer.bias, padding=1)
    made = layer(image)
    assert ("ConvolutionBackward0" in type(made.grad_fn).__name__) == (outputs > fast.FEW)
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=2e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = layer(image)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), wanted, rtol=2e-2, atol=2e-2)


def _gradients_of_gradients(network: nn.Module, image: Tensor) -> list[Tensor]:
    """Of the image and the weights; then those of the image's gradient's size, as a gradient penalty asks for them."""
    (first,) = torch.autograd.grad(network(image).square().sum(), image, create_graph=True)
    return [first, *torch.autograd.grad(first.square().sum(), [image, *network.parameters()])]


def check(layer: Any, reference: nn.Module, image: Tensor) -> None:
    """The same values and gradients, by another way."""
    image.requires_grad_(True)
    ours, wanted = layer(image), reference(image)
    assert "ConvolutionBackward0" not in type(ours.grad_fn).__name__ or layer.in_channels <= fast.FEW  # not PyTorch's
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=2e-5)
    grad = torch.randn_like(wanted)
    both = [
        torch.autograd.grad(made, [image, *network.parameters()], grad)
        for made, network in ((ours, layer), (wanted, reference))
    ]
    for got, right in zip(*both, strict=True):
        torch.testing.assert_close(got, right, rtol=1e-4, atol=float(right.abs().max()) * 1e-5)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (fast.Conv2d(128, 128, 3, 2), (1, 128, 34, 34)),  # stride
        (fast.Conv2d(64, 64, 3), (1, 64, 66, 66)),  # too narrow for Winograd, too wide for the others
        (fast.Conv2d(128, 128, 3), (1, 128, 10, 10)),  # too small
        (fast.Conv2d(128, 128, 1), (1, 128, 34, 34)),  # nothing to save
        (fast.ConvTranspose2d(8, 8, 4, 2, 1), (1, 8, 8, 8)),
    ],
    ids=["stride", "channels", "size", "kernel", "transposed"],
)
def test_elsewhere_pytorchs_own_kernel_runs(layer: nn.Module, shape: tuple[int, ...]) -> None:
    assert type(layer(torch.randn(shape)).grad_fn).__name__ == "ConvolutionBackward0"


@pytest.mark.parametrize("layer", [fast.Conv2d(128, 128, 3), fast.Conv2d(128, 1, 3)], ids=["many", "few"])
def test_in_bf16_and_float64_too(layer: Any) -> None:
    image = torch.randn(1, 128, 34, 34)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = layer(image)
    assert made.dtype == torch.bfloat16
    assert type(made.grad_fn).__name__ == "ConvolutionBackward0"
    assert type(layer.double()(image.double()).grad_fn).__name__ == "ConvolutionBackward0"
