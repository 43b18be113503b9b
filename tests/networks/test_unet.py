"""The U-Net: its size by hand, its shapes, its linear start."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from synthoma.networks.layers import Norm
from synthoma.networks.unet import UNet, depth_for

NORMS: tuple[Norm, ...] = ("batch", "instance", "none")


def n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# The pix2pix reference's unet_256 (64 features, 4 × 4 kernels), counted by hand from networks.py of
# junyanz/pytorch-CycleGAN-and-pix2pix. i inputs, o outputs; weights are in × out × 16.
#
#   down  1  i → 64        1,024 i     no norm
#         2  64 → 128      131,072     norm 128
#         3  128 → 256     524,288     norm 256
#         4  256 → 512   2,097,152     norm 512
#       5–7  512 → 512   4,194,304     norm 512, each
#         8  512 → 512   4,194,304     no norm (innermost)
#   up    8  512 → 512   4,194,304     norm 512
#       7–5  1024 → 512  8,388,608     norm 512, each
#         4  1024 → 256  4,194,304     norm 256
#         3  512 → 128   1,048,576     norm 128
#         2  256 → 64      262,144     norm 64
#         1  128 → o       2,048 o     no norm; bias o always
#
# Batch norm has a scale and a shift a feature (2 ×), and the convolutions have no bias. Instance norm has no
# parameters, and the reference a bias in every convolution: 64 + 128 + 256 + 5 · 512 down, 4 · 512 + 256 + 128 + 64 up.
# A norm takes a bias before it away again; here the two convolutions without a norm keep theirs: 64 + 512. Without any
# norm all have one.
INNER = 131_072 + 524_288 + 2_097_152 + 4 * 4_194_304 + 4_194_304 + 3 * 8_388_608 + 4_194_304 + 1_048_576 + 262_144
BATCH = 2 * (128 + 256 + 4 * 512 + 4 * 512 + 256 + 128 + 64)
BIASES = 64 + 128 + 256 + 5 * 512 + 4 * 512 + 256 + 128 + 64


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("norm", "own"), [("batch", BATCH), ("instance", 64 + 512), ("none", BIASES)])
def test_the_parameters_of_the_reference(norm: Any, own: int, channels: int) -> None:
    with torch.device("meta"):  # shapes only, no memory
        network = UNet(channels, channels, depth=8, width=64, norm=norm)
    assert n_parameters(network) == INNER + 1_024 * channels + 2_048 * channels + channels + own


def test_the_printed_size_of_the_reference() -> None:
    """pix2pix prints "54.414 M" for its generator of 3 → 3 channels with batch norm."""
    with torch.device("meta"):
        assert round(n_parameters(UNet(3, 3)) / 1e6, 3) == 54.414


def test_biases_are_where_no_norm_follows() -> None:
    """Beside batch norm the reference has none in the first and innermost convolutions either."""
    biases = {
        norm: {n for n, p in UNet(1, 1, depth=3, width=4, norm=norm).named_parameters() if n.endswith("bias")}
        for norm in NORMS
    }
    of_norms = {"down.1.2.bias", "up.1.2.bias", "up.2.2.bias"}
    assert biases["batch"] == {"up.0.1.bias", *of_norms}
    assert biases["instance"] == {"up.0.1.bias", "down.0.0.bias", "down.2.1.bias"}
    assert biases["none"] == biases["instance"] | {"down.1.1.bias", "up.1.1.bias", "up.2.1.bias"}
    instance = UNet(1, 1, depth=3, width=4, norm="instance")
    assert not any(list(m.parameters()) for m in instance.modules() if isinstance(m, nn.InstanceNorm2d))


@pytest.mark.parametrize(("size", "depth"), [(256, 8), (512, 8), (128, 7), (96, 5), (64, 6), (32, 5), (33, 0), (6, 1)])
def test_depth_follows_the_size(size: int, depth: int) -> None:
    assert depth_for(size) == depth


@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize("size", [64, 96, 128, 256])
def test_an_image_keeps_its_size(size: int, upsample: Any) -> None:
    network = UNet(3, 2, depth=depth_for(size), width=4, upsample=upsample).eval()
    assert network(torch.randn(1, 3, size, size)).shape == (1, 2, size, size)


def test_a_rectangle_keeps_its_size() -> None:
    assert UNet(1, 1, depth=4, width=4)(torch.randn(2, 1, 32, 48)).shape == (2, 1, 32, 48)


@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_a_volume_keeps_its_size(norm: Any, upsample: Any) -> None:
    network = UNet(2, 1, depth=3, width=4, norm=norm, upsample=upsample, spatial_dims=3)
    assert network(torch.randn(1, 2, 16, 16, 16)).shape == (1, 1, 16, 16, 16)


def test_the_output_is_an_intensity() -> None:
    made = UNet(1, 1, depth=4, width=4)(100 * torch.randn(2, 1, 32, 32))
    assert made.abs().max() <= 1


@pytest.mark.parametrize("recompute", [False, True])
def test_every_level_has_a_skip(recompute: bool) -> None:
    """The decoder of a level reads what the encoder of that level made, and what is below. Its ReLU makes the same of
    a skip whether or not the encoder's LeakyReLU has been there, in place."""
    network = UNet(1, 1, depth=4, width=4, recompute=recompute)
    made: dict[int, torch.Tensor] = {}
    read: dict[int, torch.Tensor] = {}
    for level in range(4):
        network.down[level].register_forward_hook(lambda _m, _i, out, level=level: made.update({level: out.clone()}))
        network.up[level].register_forward_pre_hook(
            lambda _m, inputs, level=level: read.update({level: inputs[0].clone()})
        )
    network(torch.randn(2, 1, 32, 32))
    assert torch.equal(read[3].relu(), made[3].relu())
    for level in range(3):
        features = made[level].shape[1]
        assert torch.equal(read[level][:, :features].relu(), made[level].relu())
        assert not recompute or torch.equal(read[level][:, :features], made[level])
        assert read[level].shape[1] == 2 * features


def test_dropout_is_where_the_reference_has_it() -> None:
    """pix2pix: in the three levels between the innermost and those that narrow (512 → 512 features)."""
    with torch.device("meta"):
        levels = [level for level, up in enumerate(UNet(1, 1).up) if any(isinstance(m, nn.Dropout) for m in up)]  # type: ignore[attr-defined]
    assert levels == [4, 5, 6]


def test_dropout_acts_in_training_only() -> None:
    network = UNet(1, 1, depth=6, width=4, norm="instance")
    x = torch.randn(1, 1, 64, 64)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_linear_base_starts_as_the_fit(spatial_dims: int) -> None:
    torch.manual_seed(0)
    network = UNet(3, 2, depth=3, width=4, base="linear", spatial_dims=spatial_dims)
    weight, bias = torch.randn(2, 3), torch.randn(2)
    network.set_linear(weight, bias)
    x = torch.rand(2, 3, *[16] * spatial_dims) * 2 - 1
    x[:, :, :4] = -1  # background: −1 in every channel, whatever the fit says
    wanted = torch.einsum("oi,ni...->no...", weight, x) + bias.reshape(1, 2, *[1] * spatial_dims)
    wanted[:, :, :4] = -1
    torch.testing.assert_close(network(x), wanted, rtol=1e-5, atol=1e-5)


def test_the_linear_base_learns_the_rest() -> None:
    torch.manual_seed(0)
    network = UNet(1, 1, depth=3, width=4, base="linear", norm="instance")
    network.set_linear(torch.ones(1, 1), torch.zeros(1))
    x = torch.randn(2, 1, 16, 16)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(2):  # the first step moves the last layer only: it starts at 0
        optimiser.zero_grad()
        (network(x) - x.square()).square().mean().backward()
        optimiser.step()
    moved = [name for name, p in network.named_parameters() if name.endswith("weight") and p.grad.abs().sum() > 0]  # type: ignore[union-attr]
    assert len(moved) == sum(name.endswith("weight") for name, _ in network.named_parameters())


def test_no_linear_fit_without_its_layer() -> None:
    with pytest.raises(ValueError, match="base='none'"):
        UNet(1, 1, depth=2, width=4).set_linear(torch.ones(1, 1), torch.zeros(1))


def test_a_unet_of_one_level_is_none() -> None:
    with pytest.raises(ValueError, match="depth must be at least 2, got 1"):
        UNet(1, 1, depth=1)


def test_weights_start_as_in_the_paper() -> None:
    """N(0, 0.02); norm scales N(1, 0.02); biases 0."""
    torch.manual_seed(0)
    network = UNet(1, 1, depth=5, width=16)
    kernels = torch.cat([p.flatten() for n, p in network.named_parameters() if p.ndim == 4]).detach()
    assert abs(float(kernels.std()) - 0.02) < 2e-4
    assert abs(float(kernels.mean())) < 2e-4
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    scales = torch.cat([norm.weight for norm in norms]).detach()
    assert abs(float(scales.mean()) - 1) < 5e-3
    assert abs(float(scales.std()) - 0.02) < 5e-3
    assert all(not norm.bias.any() for norm in norms)


def test_resize_leaves_no_checkerboard() -> None:
    """A constant in front of the upsampling stays constant inside (Odena et al. 2016); transposed, it gets a period."""
    torch.manual_seed(0)
    flat = torch.ones(1, 8, 16, 16)
    ripple = {}
    for upsample in ("transpose", "resize"):
        made = UNet(1, 1, depth=2, width=4, norm="none", upsample=upsample).up[0](flat)[..., 4:-4, 4:-4]
        ripple[upsample] = float(made.detach().std())
    assert ripple["resize"] < 1e-6 < ripple["transpose"]
