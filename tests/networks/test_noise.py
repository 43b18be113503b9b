"""The networks of the WGAN-GP: sizes by hand, what decides an image, what a score sees."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from synthoma.networks.noise import Critic, NoiseGenerator


def n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def one_hot(*labels: int, classes: int = 2) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(labels), classes).float()


@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize(
    ("shape", "layers"),
    [((32, 32), 5), ((64, 64), 5), ((96, 96), 5), ((256, 256), 5), ((64, 32), 4), ((32, 32), 2), ((16, 32, 16), 4)],
    ids=str,
)
def test_an_image_has_the_size_asked_for(shape: tuple[int, ...], layers: int, upsample: Any) -> None:
    network = NoiseGenerator(6, 2, 3, shape, layers=layers, width=1, upsample=upsample)
    with torch.no_grad():
        made = network(torch.randn(2, 6), one_hot(0, 1))
    assert made.shape == (2, 3, *shape)
    assert made.abs().max() <= 1
    convolutions = [m for m in network.modules() if "Conv" in type(m).__name__]
    assert len(convolutions) == layers


@pytest.mark.parametrize(("shape", "start"), [((256, 256), 16), ((96, 96), 6), ((64, 64), 4), ((32, 32), 2)])
def test_the_parameters_by_hand(shape: tuple[int, int], start: int) -> None:
    """Five layers from 128 numbers and 2 classes: 512, 256, 128, 64 features with batch norm, then the image."""
    with torch.device("meta"):
        network = NoiseGenerator(128, 2, 1, shape)
    wanted = 130 * 512 * start * start + 16 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 1)
    assert n_parameters(network) == wanted + 2 * (512 + 256 + 128 + 64) + 1


@pytest.mark.parametrize(("norm", "biases"), [("instance", 1), ("none", 512 + 256 + 128 + 64 + 1)])
def test_biases_are_where_no_norm_follows(norm: Any, biases: int) -> None:
    with torch.device("meta"):
        network = NoiseGenerator(128, 2, 1, (64, 64), norm=norm)
    assert sum(p.numel() for p in network.parameters() if p.ndim == 1) == biases


def test_noise_and_class_decide_every_pixel() -> None:
    torch.manual_seed(0)
    network = NoiseGenerator(4, 2, 1, (16, 16), layers=3, width=4).eval()
    noise = torch.randn(1, 4)
    with torch.no_grad():
        first, other_class = network(noise, one_hot(0)), network(noise, one_hot(1))
        other_noise = network(torch.randn(1, 4), one_hot(0))
        assert torch.equal(network(noise, one_hot(0)), first)
    for other in (other_class, other_noise):
        assert float((first != other).float().mean()) > 0.9


@pytest.mark.parametrize(("shape", "layers"), [((20, 32), 4), ((8, 8), 5), ((32, 30), 3), ((16, 16, 4), 4)])
def test_a_size_that_cannot_be_reached_by_doubling(shape: tuple[int, ...], layers: int) -> None:
    with pytest.raises(ValueError, match=f"sides must be divisible by {2 ** (layers - 1)}"):
        NoiseGenerator(4, 2, 1, shape, layers=layers)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_networks_know_their_dimensions(spatial_dims: int) -> None:
    assert NoiseGenerator(4, 2, 1, [8] * spatial_dims, layers=3, width=2).spatial_dims == spatial_dims


def test_resize_leaves_no_checkerboard() -> None:
    """A constant map stays constant inside (Odena et al. 2016); transposed, it gets a period."""
    torch.manual_seed(0)
    ripple = {}
    for upsample in ("transpose", "resize"):
        last = NoiseGenerator(4, 2, 1, (32, 32), layers=3, width=4, upsample=upsample).layers[-1]
        ripple[upsample] = float(last(torch.ones(1, 4, 16, 16))[..., 4:-4, 4:-4].detach().std())
    assert ripple["resize"] < 1e-6 < ripple["transpose"]


def test_weights_start_at_a_fiftieth() -> None:
    torch.manual_seed(0)
    for network in (NoiseGenerator(32, 2, 1, (32, 32), width=8), Critic(1, 2, width=16)):
        kernels = torch.cat([p.flatten() for p in network.parameters() if p.ndim == 4]).detach()
        assert abs(float(kernels.std()) - 0.02) < 5e-4
        assert all(not m.bias.any() for m in network.modules() if isinstance(m, nn.Conv2d) and m.bias is not None)


@pytest.mark.parametrize(
    ("shape", "layers", "scores"),
    [
        ((64, 64), 3, (8, 8)),
        ((32, 96), 3, (4, 12)),
        ((32, 32), 4, (2, 2)),
        ((50, 50), 2, (12, 12)),
        ((16,) * 3, 2, (4,) * 3),
    ],
    ids=str,
)
@pytest.mark.parametrize("norm", ["none", "instance"])
def test_a_score_for_every_patch(shape: tuple[int, ...], layers: int, scores: tuple[int, ...], norm: Any) -> None:
    critic = Critic(2, 3, layers=layers, width=2, norm=norm, spatial_dims=len(shape))
    assert critic(torch.randn(2, 2, *shape), one_hot(0, 2, classes=3)).shape == (2, 1, *scores)


def test_the_critics_parameters_by_hand() -> None:
    """(1 + 2) → 64 → 128 → 256 by 4 × 4 with stride 2, then 3 × 3 to a score; a bias each."""
    with torch.device("meta"):
        critic = Critic(1, 2)
    assert n_parameters(critic) == 16 * (3 * 64 + 64 * 128 + 128 * 256) + (64 + 128 + 256) + 9 * 256 + 1


def test_batch_norm_is_refused_and_no_norm_mixes_images() -> None:
    with pytest.raises(ValueError, match="cannot have batch norm"):
        Critic(1, 2, norm="batch")
    for norm in ("none", "instance"):
        torch.manual_seed(0)
        critic, images = Critic(1, 2, width=4, norm=norm), torch.randn(3, 1, 32, 32)
        alone = critic(images[1:2], one_hot(1))
        torch.testing.assert_close(critic(images, one_hot(0, 1, 0))[1:2], alone, rtol=1e-4, atol=1e-7)


def test_each_score_sees_38_by_38_pixels() -> None:
    """Three 4 × 4 with stride 2: 22 pixels; 3 × 3 at an eighth: 2 · 8 more."""
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 96, 96, dtype=torch.float64, requires_grad=True)
    scores = Critic(1, 2, width=4).double()(image, one_hot(0))
    scores[0, 0, 6, 6].backward()
    assert image.grad is not None
    rows = image.grad[0, 0].nonzero()[:, 0]
    assert int(rows.max() - rows.min()) + 1 == 38


def test_the_class_is_shown_everywhere() -> None:
    torch.manual_seed(0)
    critic, image = Critic(1, 2, width=4), torch.zeros(1, 1, 64, 64)
    difference = critic(image, one_hot(0)) - critic(image, one_hot(1))
    assert (difference != 0).all()
