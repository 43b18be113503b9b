"""The ResNet generator: its size by hand, layer by layer against the paper, what it sees and where it starts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from synthoma.networks.resnet import ResNet

# resnet_9blocks of junyanz/pytorch-CycleGAN-and-pix2pix with 3 → 3 channels and 64 features. i inputs, o outputs.
#
#   c7s1-64     7 · 7 · i · 64         3,136 i   bias 64
#   d128        3 · 3 · 64 · 128      73,728     bias 128
#   d256        3 · 3 · 128 · 256    294,912     bias 256
#   R256, nine  2 · 3 · 3 · 256²   1,179,648     bias 512, each
#   u128        3 · 3 · 256 · 128    294,912     bias 128
#   u64         3 · 3 · 128 · 64      73,728     bias 64
#   c7s1-o      7 · 7 · 64 · o         3,136 o   bias o
#
# Instance norm has no parameters, and takes the bias of the convolution before it away again: only the last layer's
# has an effect, and only that one is here.
INNER = 73_728 + 294_912 + 9 * 1_179_648 + 294_912 + 73_728
BIASES = 64 + 128 + 256 + 9 * 512 + 128 + 64


def n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def on_meta(*args: Any, **settings: Any) -> ResNet:
    with torch.device("meta"):  # shapes only, no memory
        return ResNet(*args, **settings)


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 3), (1, 1), (1, 2)])
def test_the_parameters_of_the_reference_without_its_idle_biases(inputs: int, outputs: int) -> None:
    assert n_parameters(on_meta(inputs, outputs)) == INNER + 3_136 * (inputs + outputs) + outputs


def test_the_printed_sizes() -> None:
    """The reference prints "11.378 M"; 5,248 idle biases less are 11.373 M. Without a norm every bias has an effect."""
    assert round(n_parameters(on_meta(3, 3)) / 1e6, 3) == 11.373
    assert round((n_parameters(on_meta(3, 3)) + BIASES) / 1e6, 3) == 11.378
    assert n_parameters(on_meta(3, 3, norm="none")) == n_parameters(on_meta(3, 3)) + BIASES
    batch = 2 * (64 + 128 + 256 + 9 * 512 + 128 + 64)  # a scale and a shift a feature
    assert n_parameters(on_meta(3, 3, norm="batch")) == n_parameters(on_meta(3, 3)) + batch


def words(module: nn.Module) -> str:
    """A layer as a word: ``c3s2p1 64-128`` is a convolution of 3 × 3, stride 2, padding 1, 64 to 128 features."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        name = "c" if isinstance(module, nn.Conv2d) else "t"
        size = f"{name}{module.kernel_size[0]}s{module.stride[0]}p{module.padding[0]}"
        more = "" if isinstance(module, nn.Conv2d) else f"o{module.output_padding[0]}"
        return f"{size}{more} {module.in_channels}-{module.out_channels}"
    if isinstance(module, nn.ReflectionPad2d):
        return f"reflect{module.padding[0]}"
    if isinstance(module, nn.InstanceNorm2d):
        assert not module.affine
        assert not module.track_running_stats
        return "norm"
    return "relu" if isinstance(module, nn.ReLU) else ""


def test_it_is_the_papers_layer_by_layer() -> None:
    """Zhu et al. 2017, section 7.2: c7s1-64, d128, d256, R256 nine times, u128, u64, c7s1-3."""
    found = [word for module in on_meta(3, 3).modules() if (word := words(module))]
    block = ["reflect1", "c3s1p0 256-256", "norm", "relu", "reflect1", "c3s1p0 256-256", "norm"]
    wanted = [
        *["reflect3", "c7s1p0 3-64", "norm", "relu"],
        *["c3s2p1 64-128", "norm", "relu"],
        *["c3s2p1 128-256", "norm", "relu"],
        *(9 * block),
        *["t3s2p1o1 256-128", "norm", "relu"],
        *["t3s2p1o1 128-64", "norm", "relu"],
        *["reflect3", "c7s1p0 64-3"],
    ]
    assert found == wanted


def test_a_block_adds_to_what_it_is_given() -> None:
    torch.manual_seed(0)
    block = ResNet(1, 1, width=2, blocks=1).blocks[0]
    x = torch.randn(2, 8, 6, 6)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    assert torch.equal(block(x), x)  # no ReLU behind the sum: negative numbers stay


@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize("shape", [(32, 32), (64, 32), (36, 44), (256, 256)])
def test_an_image_keeps_its_size(shape: tuple[int, int], upsample: Any) -> None:
    with torch.no_grad():
        assert ResNet(3, 2, width=2, blocks=1, upsample=upsample)(torch.randn(1, 3, *shape)).shape == (1, 2, *shape)


@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("base", ["none", "input"])
def test_a_volume_keeps_its_size(norm: Any, upsample: Any, base: Any) -> None:
    network = ResNet(1, 1, width=2, blocks=2, norm=norm, upsample=upsample, base=base, spatial_dims=3)
    assert network(torch.randn(2, 1, 16, 8, 12)).shape == (2, 1, 16, 8, 12)


def field(blocks: int, size: int = 96) -> int:
    """Pixels of the input, along an axis, that one pixel in the middle of the output depends on."""
    torch.manual_seed(0)
    network = ResNet(1, 1, width=2, blocks=blocks, norm="none").double()  # a norm would join all pixels
    image = torch.randn(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    network(image)[0, 0, size // 2, size // 2].backward()
    assert image.grad is not None
    rows = image.grad[0, 0].nonzero()[:, 0]
    return int(rows.max() - rows.min()) + 1


def test_each_block_widens_the_field_by_16_pixels() -> None:
    """Two convolutions of 3 × 3 at a quarter of the size: 2 · 2 · 4 pixels a block."""
    fields = [field(blocks) for blocks in (0, 1, 2)]
    assert fields[1] - fields[0] == fields[2] - fields[1] == 16
    assert 13 < fields[0] <= 13 + 2 * 6 + 8  # 7 + 2 + 4 on the way down; what the way up adds depends on the pixel


def test_the_output_is_an_intensity() -> None:
    made = ResNet(1, 1, width=2, blocks=1)(100 * torch.randn(2, 1, 32, 32))
    assert made.abs().max() <= 1


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_base_starts_as_the_input_and_learns(spatial_dims: int) -> None:
    torch.manual_seed(0)
    network = ResNet(2, 2, width=2, blocks=1, base="input", spatial_dims=spatial_dims)
    x = torch.rand(2, 2, *[16] * spatial_dims) * 2 - 1
    assert torch.equal(network(x), x)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(2):  # the first step moves the last layer only: it starts at 0
        optimiser.zero_grad()
        (network(x) - x.square()).square().mean().backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert not torch.equal(network(x), x)


def test_the_base_needs_as_many_outputs_as_inputs() -> None:
    with pytest.raises(ValueError, match="base='input' needs as many outputs as inputs, got 1 and 2"):
        ResNet(1, 2, base="input")


def test_no_blocks_are_allowed() -> None:
    assert ResNet(1, 1, width=2, blocks=0)(torch.randn(1, 1, 16, 16)).shape == (1, 1, 16, 16)


def test_weights_start_as_in_the_paper() -> None:
    """N(0, 0.02), biases 0 (Zhu et al. 2017, section 7.1)."""
    torch.manual_seed(0)
    network = ResNet(1, 1, width=16, blocks=2)
    kernels = torch.cat([p.flatten() for p in network.parameters() if p.ndim == 4]).detach()
    assert abs(float(kernels.std()) - 0.02) < 2e-4
    assert abs(float(kernels.mean())) < 2e-4
    assert not any(p.any() for p in network.parameters() if p.ndim == 1)


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    torch.manual_seed(0)
    network, x = ResNet(1, 1, width=4, blocks=2), torch.randn(3, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=0, atol=1e-5)
