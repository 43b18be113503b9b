"""Differentiable augmentation: each change against a plain loop, and what it does to gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthoma.gans import Engine
from synthoma.gans.diffaugment import NUMBERS, Change, differentiable_augmentation, draw_changes

ALL: tuple[Change, ...] = get_args(Change)
CPU = torch.device("cpu")
SHAPES = [(8, 8), (32, 32), (33, 34), (35, 6), (4, 6, 9)]


def images_of(shape: tuple[int, ...], n: int = 6, channels: int = 2, seed: int = 0) -> Tensor:
    """None of them is 0 anywhere: 0 is what is filled in."""
    return torch.rand(n, channels, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def drawn_for(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, NUMBERS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shifted(image: NDArray[Any], numbers: NDArray[Any]) -> NDArray[Any]:
    """Zhao's translation, pixel by pixel: pixel i becomes pixel i + t, t a whole number of −most … most."""
    shifts = []
    for axis, size in enumerate(image.shape[1:]):
        most = int(size * 0.125 + 0.5)
        shifts.append(int(np.floor(numbers[2 + axis] * (2 * most + 1))) - most)
    made = np.zeros_like(image)
    for place in np.ndindex(*image.shape[1:]):
        source = tuple(i + t for i, t in zip(place, shifts, strict=True))
        if all(0 <= i < size for i, size in zip(source, image.shape[1:], strict=True)):
            made[(slice(None), *place)] = image[(slice(None), *source)]
    return made


def cut(image: NDArray[Any], numbers: NDArray[Any]) -> NDArray[Any]:
    """Zhao's cutout: a box of half of each side, its middle anywhere; its offset is one of size + (1 − side % 2)."""
    made = image.copy()
    boxes = []
    for axis, size in enumerate(image.shape[1:]):
        side = int(size * 0.5 + 0.5)
        offset = int(np.floor(numbers[5 + axis] * (size + (1 - side % 2))))
        boxes.append({min(max(i + offset - side // 2, 0), size - 1) for i in range(side)})  # clamped, as in the paper
    for place in itertools.product(*boxes):
        made[(slice(None), *place)] = 0
    return made


LOOPS: dict[Change, Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]] = {
    "brightness": lambda image, numbers: image + (numbers[0] - 0.5),
    "contrast": lambda image, numbers: (image - image.mean()) * (numbers[1] + 0.5) + image.mean(),
    "translation": shifted,
    "cutout": cut,
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("change", ALL)
def test_each_change_is_that_of_the_paper(change: Change, shape: tuple[int, ...]) -> None:
    for seed in range(4):
        images, drawn = images_of(shape, seed=seed), drawn_for(6, seed)
        drawn[0], drawn[1] = 0, 1 - 1e-9  # the ends of what can be drawn
        wanted = [LOOPS[change](image, numbers) for image, numbers in zip(images.numpy(), drawn.numpy(), strict=True)]
        made = differentiable_augmentation(images, (change,), drawn)
        torch.testing.assert_close(made, torch.from_numpy(np.stack(wanted)), rtol=0, atol=1e-12)


def test_changes_are_made_in_the_order_asked_for() -> None:
    images, drawn = images_of((8, 8)), drawn_for(6)
    for changes in (ALL, ALL[::-1]):
        wanted = images.numpy()
        for change in changes:
            wanted = np.stack([LOOPS[change](image, row) for image, row in zip(wanted, drawn.numpy(), strict=True)])
        made = differentiable_augmentation(images, changes, drawn)
        torch.testing.assert_close(made, torch.from_numpy(wanted), rtol=0, atol=1e-12)


def test_nothing_asked_for_changes_nothing_and_draws_nothing() -> None:
    images = images_of((8, 8))
    engine, other = Engine(CPU), Engine(CPU)
    drawn = draw_changes(6, (), engine)
    assert drawn is None
    assert differentiable_augmentation(images, (), drawn) is images
    assert torch.equal(engine.uniform(3), other.uniform(3))


@pytest.mark.parametrize("change", ["brightness", "contrast", "translation"])
def test_the_middle_of_the_draw_is_the_identity(change: Change) -> None:
    """Brightness and contrast at ½, a shift of 0. A cutout always cuts."""
    images = images_of((8, 8))
    made = differentiable_augmentation(images, (change,), torch.full((6, NUMBERS), 0.5, dtype=torch.float64))
    torch.testing.assert_close(made, images, rtol=0, atol=1e-12)


def test_each_sample_is_changed_by_its_own_numbers() -> None:
    images, drawn = images_of((8, 8)), drawn_for(6)
    together = differentiable_augmentation(images, ALL, drawn)
    for i in range(6):
        alone = differentiable_augmentation(images[[i]], ALL, drawn[[i]])
        torch.testing.assert_close(together[[i]], alone, rtol=0, atol=1e-12)
    same = differentiable_augmentation(images[:1].expand(6, -1, -1, -1), ALL, drawn)
    assert len({image.numpy().tobytes() for image in same}) == 6


def test_what_is_drawn_for_one_change_does_not_move_another() -> None:
    """Asking for cutout, too, shifts the images by as much as before."""
    alone, both = (draw_changes(4, changes, Engine(CPU, seed=3)) for changes in (("translation",), ALL))
    assert alone is not None
    assert both is not None
    assert torch.equal(alone, both)


@pytest.mark.parametrize("change", ALL)
def test_the_gradient_flows_exactly(change: Change) -> None:
    """First and second derivatives, as the gradient penalty needs them."""
    images, drawn = images_of((4, 6), n=2).requires_grad_(True), drawn_for(2)

    def shown(x: Tensor) -> Tensor:
        return differentiable_augmentation(x, (change,), drawn).square()

    assert torch.autograd.gradcheck(shown, (images,))
    assert torch.autograd.gradgradcheck(shown, (images,))


def test_pixels_that_are_cut_or_shifted_out_get_no_gradient() -> None:
    images, drawn = images_of((16, 16), n=4).requires_grad_(True), drawn_for(4)
    (gradient,) = torch.autograd.grad(differentiable_augmentation(images, ("cutout",), drawn).sum(), images)
    hidden = differentiable_augmentation(images, ("cutout",), drawn) == 0
    assert hidden.any()
    assert torch.equal(gradient == 0, hidden)
    (gradient,) = torch.autograd.grad(differentiable_augmentation(images, ("translation",), drawn).sum(), images)
    assert set(gradient.flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_stays_what_it_is(half: torch.dtype) -> None:
    images, drawn = images_of((8, 8)).to(half), drawn_for(6).float()
    made = differentiable_augmentation(images, ALL, drawn)
    assert made.dtype == half
    exact = differentiable_augmentation(images.float(), ALL, drawn)
    torch.testing.assert_close(made.float(), exact, rtol=0.05, atol=0.05)


def test_shifts_are_spread_evenly_over_their_range() -> None:
    """32 pixels: −4 … 4, each as likely (n = 4000, so a share of 1/9 has a standard error of 0.005)."""
    ramp = torch.arange(1.0, 33).expand(4000, 1, 32, 32)
    drawn = Engine(CPU, seed=1).uniform(4000, NUMBERS)
    made = differentiable_augmentation(ramp, ("translation",), drawn)
    shifts = made[:, 0, 16, 16] - 17
    counts = [int((shifts == shift).sum()) for shift in range(-4, 5)]
    assert sum(counts) == 4000
    assert max(abs(count / 4000 - 1 / 9) for count in counts) < 0.025
