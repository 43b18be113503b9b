"""Activation checkpointing changes nothing but what is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synthoma.networks.layers import normalisation
from synthoma.networks.noise import Critic, NoiseGenerator
from synthoma.networks.recompute import apply
from synthoma.networks.resnet import ResNet
from synthoma.networks.unet import UNet


def networks(recompute: bool) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """One of each, with what it is shown; dropout and every norm among them."""
    torch.manual_seed(0)
    classes = torch.eye(2)
    image, volume, noise = torch.randn(2, 2, 32, 32), torch.randn(2, 1, 16, 16, 16), torch.randn(2, 4)
    again: dict[str, Any] = {"recompute": recompute}
    return {
        "unet-batch": (UNet(2, 1, depth=5, width=4, **again), (image,)),
        "unet-instance-linear": (UNet(2, 1, depth=4, width=4, norm="instance", base="linear", **again), (image,)),
        "unet-volume": (UNet(1, 1, depth=3, width=2, spatial_dims=3, **again), (volume,)),
        "resnet": (ResNet(2, 1, width=4, blocks=2, **again), (image,)),
        "resnet-batch-input": (ResNet(2, 2, width=4, blocks=2, norm="batch", base="input", **again), (image,)),
        "resnet-volume": (ResNet(1, 1, width=2, blocks=1, spatial_dims=3, **again), (volume,)),
        "noise": (NoiseGenerator(4, 2, 1, (32, 32), layers=4, width=4, **again), (noise, classes)),
        "noise-volume": (NoiseGenerator(4, 2, 1, (16, 8, 8), layers=3, width=2, **again), (noise, classes)),
        "critic": (Critic(2, 2, width=4, **again), (image, classes)),
        "critic-instance": (Critic(2, 2, width=4, norm="instance", **again), (image, classes)),
    }


NAMES = sorted(networks(False))


def trained(name: str, recompute: bool, steps: int = 3) -> dict[str, Tensor]:
    """Weights, statistics, output and the global random state after some steps."""
    network, inputs = networks(recompute)[name]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    torch.manual_seed(7)
    for _ in range(steps):
        optimiser.zero_grad()
        made = network(*inputs)
        made.square().mean().backward()
        optimiser.step()
    return dict(network.state_dict()) | {"made": made.detach(), "random": torch.get_rng_state()}


@pytest.mark.parametrize("name", NAMES)
def test_every_network_trains_the_same_bit_for_bit(name: str) -> None:
    plain, recomputed = trained(name, False), trained(name, True)
    assert [key for key, value in plain.items() if not torch.equal(value, recomputed[key])] == []


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("critic")])
def test_less_is_kept(name: str) -> None:
    """Bytes that autograd saves for the backward pass, weights left out.

    A critic's layers are a convolution and a ReLU in place: there is nothing between them that could be forgotten.
    """
    kept = []
    for recompute in (False, True):
        network, inputs = networks(recompute)[name]
        weights = {parameter.data_ptr() for parameter in network.parameters()}
        sizes: dict[int, int] = {}

        def note(x: Tensor, sizes: dict[int, int] = sizes, weights: set[int] = weights) -> Tensor:
            if x.data_ptr() not in weights:
                sizes[x.data_ptr()] = x.numel() * x.element_size()
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            network(*inputs)
        kept.append(sum(sizes.values()))
    assert kept[1] < 0.9 * kept[0]


def a_part(norm: Any = "batch") -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), *normalisation(norm, 2, 4), nn.LeakyReLU(0.2, inplace=True), nn.Dropout())


def test_it_is_run_twice_where_there_is_a_backward_pass_and_once_elsewhere() -> None:
    part, x = a_part(), torch.randn(3, 2, 8, 8)
    runs: list[int] = []
    part[0].register_forward_hook(lambda *_: runs.append(1))
    apply(part, x, True).sum().backward()  # type: ignore[no-untyped-call]
    assert len(runs) == 2
    with torch.no_grad():
        apply(part, x, True)
    assert len(runs) == 3
    apply(part, x, False).sum().backward()  # type: ignore[no-untyped-call]
    assert len(runs) == 4


def test_batch_norm_counts_a_batch_once_and_keeps_its_settings() -> None:
    part = a_part()
    norm = part[1]
    assert isinstance(norm, nn.BatchNorm2d)
    for count in (1, 2):
        made = apply(part, torch.randn(3, 2, 8, 8), True)
        before = (norm.running_mean.clone(), norm.running_var.clone())  # type: ignore[union-attr]
        made.sum().backward()  # type: ignore[no-untyped-call]
        assert torch.equal(norm.running_mean, before[0])  # type: ignore[arg-type]
        assert torch.equal(norm.running_var, before[1])  # type: ignore[arg-type]
        assert int(norm.num_batches_tracked) == count  # type: ignore[arg-type]
        assert norm.momentum == 0.1


def test_a_failing_second_run_leaves_the_norms_as_they_were() -> None:
    part = a_part()
    norm = part[1]
    made = apply(part, torch.randn(3, 2, 8, 8), True)

    def fail(*_: Any) -> None:
        raise RuntimeError("no memory")

    part[2].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="no memory"):
        made.sum().backward()  # type: ignore[no-untyped-call]
    assert norm.momentum == 0.1
    assert int(norm.num_batches_tracked) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", ["none", "instance"])
def test_second_derivatives_are_the_same_bit_for_bit(norm: Any) -> None:
    """As a gradient penalty asks for them: every part is then run once more for each backward pass."""
    found = []
    for recompute in (False, True):
        part, x = a_part(norm), torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
        torch.manual_seed(2)
        made = apply(part, x, recompute)
        (slope,) = torch.autograd.grad(made.square().sum(), x, create_graph=True)
        (slope.square().sum() + made.mean()).backward()  # type: ignore[no-untyped-call]
        found.append([slope.detach(), *(p.grad for p in part.parameters())])
    for plain, recomputed in zip(*found, strict=True):
        assert plain is not None
        assert recomputed is not None
        assert torch.equal(plain, recomputed)


def test_autocast_is_that_of_the_first_run() -> None:
    layer, x = nn.Conv2d(2, 4, 3), torch.randn(1, 2, 8, 8)
    gradients = []
    for recompute in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = apply(layer, x, recompute)
        assert made.dtype == torch.bfloat16
        made.float().square().sum().backward()  # type: ignore[no-untyped-call]  # outside
        assert layer.weight.grad is not None
        gradients.append(layer.weight.grad.clone())
    assert torch.equal(*gradients)
