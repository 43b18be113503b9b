"""Structure losses: blind to contrast, not to where things are."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from synthoma.gans.structure import mind, normalised_gradients, structure_loss

KINDS: tuple[Any, ...] = get_args(get_type_hints(structure_loss)["kind"])


def head(shape: tuple[int, ...] = (32, 32), seed: int = 0) -> Tensor:
    """(1, 1, …): smooth tissue in a body, air around it."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, *[side // 4 for side in shape], generator=random) * 1.2 - 0.6
    image = F.interpolate(coarse, size=shape, mode="bilinear" if len(shape) == 2 else "trilinear")
    axes = torch.meshgrid(*[torch.linspace(-1, 1, side) for side in shape], indexing="ij")
    body = torch.stack(axes).square().sum(dim=0) < 0.7
    return torch.where(body, image, torch.tensor(-0.9))


SHAPES = [(32, 32), (16, 24, 16)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_image_costs_nothing_and_another_something(kind: Any, shape: tuple[int, ...]) -> None:
    image = head(shape)
    assert float(structure_loss(kind, image, image)) == 0
    other = float(structure_loss(kind, image, head(shape, seed=1)))
    assert other > 0.01
    assert float(structure_loss(kind, head(shape, seed=1), image)) == pytest.approx(other, rel=1e-4)  # symmetric


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_shift_costs_more_the_further(kind: Any, shape: tuple[int, ...]) -> None:
    image = head(shape)
    losses = [float(structure_loss(kind, torch.roll(image, shift, dims=-1), image)) for shift in range(4)]
    assert losses == sorted(losses)
    assert losses[1] > 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offset", [-0.4, 0.3])
def test_brightness_costs_nothing(kind: Any, offset: float) -> None:
    image = head()
    assert float(structure_loss(kind, image + offset, image)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reversed_contrast_costs_nothing(kind: Any) -> None:
    """Bright for dark: what MR does to CT. Squares do not see the sign."""
    image = head()
    assert float(structure_loss(kind, -image, image)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, -3.0])
def test_mind_does_not_see_contrast(factor: float) -> None:
    """Distances and their mean grow alike; what is left comes from the constant beside the variance."""
    image = head()
    shift = float(structure_loss("mind", torch.roll(image, 1, dims=-1), image))
    assert float(structure_loss("mind", factor * image + 0.1, image)) < 0.02 * shift


def test_gradients_hardly_see_contrast_where_there_are_edges() -> None:
    """Edges well above the noise of 0.05 count as edges, however high; scaled, they cost less than a shift of one."""
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    blocks = (((y // 8 + x // 8) % 2) * 1.4 - 0.7)[None, None]
    shift = float(structure_loss("gradient", torch.roll(blocks, 1, dims=-1), blocks))
    for factor in (0.5, -0.5, 2.0):
        assert float(structure_loss("gradient", factor * blocks, blocks)) < 0.05 * shift


def test_gradients_see_an_edge_that_is_new_or_gone() -> None:
    """A flat image has no edge to disagree with, and is no way out."""
    image, flat = head(), torch.zeros(1, 1, 32, 32)
    assert float(structure_loss("gradient", flat, image)) > 0.1
    assert float(structure_loss("gradient", image, flat)) > 0.1
    assert float(structure_loss("gradient", flat, flat + 0.2)) == 0


def test_gradients_see_the_direction_of_an_edge() -> None:
    ramp = torch.linspace(-1, 1, 32)[None, None, None, :].expand(1, 1, 32, 32)
    across = float(structure_loss("gradient", ramp.transpose(-1, -2), ramp))
    strength = (2 / 31) ** 2 / ((2 / 31) ** 2 + 0.05**2)  # |a|² = |b|², but for the last column and row, where one is 0
    assert across == pytest.approx((31 * 31 * strength**2 + 2 * 31 * strength) / 32**2, rel=1e-4)


def test_normalised_gradients_by_hand() -> None:
    """Forward differences over their length and 0.05; the last pixel of an axis has none."""
    image = head((8, 6)).double()
    a = image[0, 0].numpy()
    down, right = np.zeros_like(a), np.zeros_like(a)
    down[:-1], right[:, :-1] = a[1:] - a[:-1], a[:, 1:] - a[:, :-1]
    wanted = np.stack([down, right]) / np.sqrt(down**2 + right**2 + 0.05**2)
    np.testing.assert_allclose(normalised_gradients(image)[0].numpy(), wanted, atol=1e-12)


def test_mind_by_hand() -> None:
    """exp(−D/V) with patches of 3 × 3 and the four nearest neighbours, the largest set to 1 (Heinrich 2012, eq. 4)."""
    image = head((10, 12), seed=2).double()
    a = image[0, 0].numpy()
    distances = []
    for axis in (0, 1):
        for shift in (1, -1):
            difference = np.pad((a - np.roll(a, shift, axis=axis)) ** 2, 1)
            windows = np.lib.stride_tricks.sliding_window_view(difference, (3, 3))
            distances.append(windows.mean(axis=(2, 3)))
    distance = np.stack(distances)
    variance = distance.mean(axis=0)
    middle = variance.mean() + 1e-6
    descriptor = np.exp(-distance / variance.clip(0.001 * middle, 1000 * middle))
    np.testing.assert_allclose(mind(image)[0].numpy(), descriptor / descriptor.max(axis=0), atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_finite_and_reaches_the_made_image(kind: Any) -> None:
    """Also where the image is flat, and where both are equal."""
    for made in (head(seed=1), torch.zeros(1, 1, 32, 32), head()):
        made = made.clone().requires_grad_(True)
        source = head().requires_grad_(True)
        (gradient,) = torch.autograd.grad(structure_loss(kind, made, source), made, retain_graph=True)
        assert torch.isfinite(gradient).all()
    made = head(seed=1).requires_grad_(True)
    (gradient,) = torch.autograd.grad(structure_loss(kind, made, head()), made)
    assert float(gradient.abs().sum()) > 0
    with torch.no_grad():
        stepped = made - 1e-3 * gradient / gradient.abs().max()
        assert structure_loss(kind, stepped, head()) < structure_loss(kind, made, head())


@pytest.mark.parametrize("kind", KINDS)
def test_channels_are_averaged_so_that_their_number_may_differ(kind: Any) -> None:
    image = head()
    both = torch.cat([image + 0.1, image - 0.1], dim=1)
    assert float(structure_loss(kind, both, image)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_a_batch_do_not_mix(kind: Any) -> None:
    made, source = torch.cat([head(seed=1), head(seed=2)]), torch.cat([head(), head(seed=3)])
    alone = [float(structure_loss(kind, made[[i]], source[[i]])) for i in range(2)]
    assert float(structure_loss(kind, made, source)) == pytest.approx(sum(alone) / 2, rel=1e-5)
