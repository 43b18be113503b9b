"""Augmentation against SciPy and by its properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage

from synthoma.cohort import AugmentOptions
from synthoma.cohort.augment import Augmentation, augment, draw_augmentation
from synthoma.options import Options
from synthoma.seeding import generator

STILL = {"flip_x": False, "flip_y": False, "rotate_deg": 0.0, "scale": 1.0, "shift_y": 0.0, "shift_x": 0.0}
PLAIN = {"gamma": 1.0, "contrast": 1.0, "brightness": 0.0}
MOVING = AugmentOptions(rotate_deg=90, scale=0.5, shift=0.5)


def noise(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    values = generator(seed, "noise").uniform(-1, 1, shape).astype(np.float32)
    return torch.from_numpy(values)


def apply(images: torch.Tensor, masks: torch.Tensor, options: AugmentOptions, **changes: Any) -> Any:
    drawn = Augmentation(**(STILL | PLAIN | changes))
    return augment(images, masks, [drawn] * len(images), options)


def source(frame: tuple[int, int], angle: float, scale: float, shift: tuple[float, float]) -> NDArray[Any]:
    """Where each pixel comes from, (2, y, x), when a picture is turned about its centre, scaled, then shifted."""
    radians = np.deg2rad(angle)
    # axes (y, x): a turn of +90° takes +x to +y
    turn = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]]) * scale
    centre = (np.array(frame) - 1)[:, None, None] / 2
    return np.tensordot(np.linalg.inv(turn), np.indices(frame) - centre - np.array(shift)[:, None, None], 1) + centre


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    angle=st.floats(-90, 90),
    scale=st.floats(0.7, 1.4),
    shift_y=st.floats(-0.3, 0.3),
    shift_x=st.floats(-0.3, 0.3),
    frame=st.sampled_from([(20, 20), (24, 15)]),
)
def test_moves_equal_scipy(angle: float, scale: float, shift_y: float, shift_x: float, frame: tuple[int, int]) -> None:
    images, masks = noise((1, 2, *frame)), (noise((1, 2, *frame), 1) > 0).float()
    moved, cut = apply(images, masks, MOVING, rotate_deg=angle, scale=scale, shift_y=shift_y, shift_x=shift_x)
    places = source(frame, angle, scale, (shift_y * frame[0], shift_x * frame[1]))
    clear = (np.abs(places % 1 - 0.5) > 1e-3).all(axis=0)  # no tie between two neighbours
    for channel in range(2):
        shifted = images[0, channel].numpy().astype(float) + 1
        expected = ndimage.map_coordinates(shifted, places, order=1, mode="grid-constant") - 1
        assert np.abs(moved[0, channel].numpy() - expected).max() < 1e-4
        nearest = ndimage.map_coordinates(masks[0, channel].numpy(), places, order=0, mode="grid-constant")
        assert np.array_equal(cut[0, channel].numpy()[clear], nearest[clear])
    assert set(cut.unique().tolist()) <= {0.0, 1.0}


def test_directions() -> None:
    """A bright pixel right of the centre: shifts and turns go where the settings say."""
    images = torch.full((1, 1, 9, 9), -1.0)
    images[0, 0, 4, 6] = 1
    masks = (images > 0).float()

    def place(**changes: Any) -> tuple[int, ...]:
        moved, cut = apply(images, masks, MOVING, **changes)
        assert np.array_equal(moved[0, 0] > 0, cut[0, 0] > 0)
        return tuple(int(i) for i in np.argwhere(cut[0, 0].numpy() > 0)[0])

    assert place() == (4, 6)
    assert place(shift_y=1 / 9) == (5, 6)
    assert place(shift_x=-2 / 9) == (4, 4)
    assert place(rotate_deg=90) == (6, 4)
    assert place(scale=1.5) == (4, 7)


def test_flips_are_exact() -> None:
    images, masks = noise((3, 2, 5, 7)), (noise((3, 2, 5, 7), 1) > 0).float()
    options = AugmentOptions(flip_left_right=True, flip_up_down=True)
    flipped, cut = apply(images, masks, options, flip_x=True)
    assert np.array_equal(flipped, images.numpy()[..., ::-1])
    assert np.array_equal(cut, masks.numpy()[..., ::-1])
    flipped, _ = apply(images, masks, options, flip_y=True)
    assert np.array_equal(flipped, images.numpy()[..., ::-1, :])


def test_volumes_move_in_the_plane() -> None:
    volumes, masks = noise((1, 2, 3, 16, 16)), (noise((1, 1, 3, 16, 16), 1) > 0).float()
    moved, cut = apply(volumes, masks, MOVING, rotate_deg=30)
    for z in range(3):
        plane, mask = apply(volumes[:, :, z], masks[:, :, z], MOVING, rotate_deg=30)
        assert torch.equal(moved[:, :, z], plane)
        assert torch.equal(cut[:, :, z], mask)


@hypothesis_settings(max_examples=25, deadline=None)
@given(gamma=st.floats(0.5, 2), contrast=st.floats(0.6, 1.7), brightness=st.floats(-0.3, 0.3))
def test_intensity_keeps_order_and_background(gamma: float, contrast: float, brightness: float) -> None:
    images = noise((1, 2, 8, 8))
    images[..., :3] = -1
    masks = torch.ones((1, 1, 8, 8))
    options = AugmentOptions(gamma=0.9, contrast=0.9, brightness=0.9)
    changed, same = apply(images, masks, options, gamma=gamma, contrast=contrast, brightness=brightness)
    assert torch.equal(same, masks)
    assert (changed[..., :3] == -1).all()
    assert changed.min() >= -1
    assert changed.max() <= 1
    # one monotone curve for both channels: sorting all pixels by the old value sorts them by the new
    assert (changed.flatten()[images.flatten().argsort()].diff() >= 0).all()


def test_off_by_default() -> None:
    options = AugmentOptions()
    assert not any((options.flip_left_right, options.flip_up_down, options.moves, options.recolours))
    for seed in range(20):
        drawn = draw_augmentation(options, generator(seed, "draw"))
        assert drawn == Augmentation(**(STILL | PLAIN))


def test_a_setting_does_not_shift_the_draws_of_another() -> None:
    alone = draw_augmentation(AugmentOptions(gamma=0.2), generator(0, "draw"))
    both = draw_augmentation(AugmentOptions(gamma=0.2, rotate_deg=9, flip_up_down=True), generator(0, "draw"))
    assert alone.gamma == both.gamma != 1


def test_draws_stay_in_their_range() -> None:
    options = AugmentOptions(flip_left_right=True, rotate_deg=5, scale=0.25, shift=0.1, brightness=0.2)
    drawn = [draw_augmentation(options, generator(0, "draw", i)) for i in range(400)]
    turns = np.array([one.rotate_deg for one in drawn])
    scales = np.array([one.scale for one in drawn])
    assert -5 <= turns.min() < -4.5
    assert 4.5 < turns.max() <= 5
    assert 0.8 <= scales.min() < 0.82
    assert 1.22 < scales.max() <= 1.25
    assert max(abs(one.shift_x) for one in drawn) <= 0.1
    assert 150 < sum(one.flip_x for one in drawn) < 250
    assert not any(one.flip_y for one in drawn)


class Block(Options):
    augment: AugmentOptions = AugmentOptions()


def test_named_settings() -> None:
    minimal = Block.model_validate({"augment": "minimal"}).augment
    assert minimal.rotate_deg == 5
    assert not minimal.flip_left_right
    assert Block.model_validate({"augment": "none"}) == Block()
    with pytest.raises(ValidationError, match=r"unknown augmentation 'minmal'\. Did you mean 'minimal'"):
        Block.model_validate({"augment": "minmal"})
    with pytest.raises(ValidationError, match="less than or equal to 180"):
        AugmentOptions(rotate_deg=200)
    with pytest.raises(ValidationError, match="flip_horizontal"):
        AugmentOptions.model_validate({"flip_horizontal": True})
