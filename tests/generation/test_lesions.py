"""Moving lesions: known moves, areas, and what fits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from synthoma.generation.lesions import Move, draw_move, fit_lesion, move_lesion
from synthoma.seeding import generator

Y, X = np.mgrid[:64, :64]
BODY = np.hypot(Y - 31.5, X - 31.5) < 28


def a_lesion(centre: tuple[float, float] = (30, 25), radius: float = 7) -> NDArray[np.uint8]:
    """Two parts, a core and a ring around its right half: nothing about it is symmetric."""
    distance = np.hypot(Y - centre[0], X - centre[1])
    ring = (distance >= radius / 2) & (distance < radius) & (centre[1] + 1 < X)
    return np.stack([distance < radius / 2, ring]).astype(np.uint8)


def middle_of(masks: NDArray[np.uint8]) -> tuple[float, float]:
    y, x = np.argwhere(masks.any(axis=0)).mean(axis=0)
    return float(y), float(x)


def test_the_identity_changes_nothing() -> None:
    masks = a_lesion()
    assert np.array_equal(move_lesion(masks, Move(0, 1, middle_of(masks))), masks)


def test_a_shift_is_a_shift() -> None:
    masks = a_lesion()
    y, x = middle_of(masks)
    moved = move_lesion(masks, Move(0, 1, (y + 5, x + 9)))
    assert np.array_equal(moved, np.roll(masks, (5, 9), axis=(1, 2)))


def a_hook() -> NDArray[np.uint8]:
    """A bar with a hook: its middle is the pixel (20, 20), and only a whole turn maps it to itself."""
    masks = np.zeros((1, 41, 41), dtype=np.uint8)
    masks[0, 20, 16:25] = 1
    masks[0, 19, 16] = masks[0, 21, 24] = 1  # these two alone would let half a turn pass
    masks[0, 17, 20] = masks[0, 22, 19] = masks[0, 21, 21] = 1  # these do not: −3 + 2 + 1 = 0, and −1 + 1 = 0
    assert np.array_equal(np.argwhere(masks[0]).mean(axis=0), (20, 20))
    return masks


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (180, 2), (-90, -1), (0, 0)])
def test_turns_are_numpys(degrees: float, quarters: int) -> None:
    """Counter-clockwise as seen on the screen, where y points down; numpy turns about the same pixel, (20, 20)."""
    masks = a_hook()
    turns = [np.rot90(masks[0], k) for k in range(4)]
    assert len({turn.tobytes() for turn in turns}) == 4
    assert np.array_equal(move_lesion(masks, Move(degrees, 1, (20, 20)))[0], turns[quarters % 4])


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (180, 2), (0, 0)])
def test_a_volume_is_turned_in_the_plane_of_its_slices(degrees: float, quarters: int) -> None:
    """Slice by slice as a picture is, and moved along z."""
    masks = np.zeros((1, 9, 41, 41), dtype=np.uint8)
    masks[:, 3:6] = a_hook()[:, None]
    moved = move_lesion(masks, Move(degrees, 1, (5, 20, 20)))
    wanted = np.zeros_like(masks)
    wanted[:, 4:7] = np.rot90(a_hook()[0], quarters)
    assert np.array_equal(moved, wanted)


def test_a_lesion_is_fitted_into_the_body_of_a_volume() -> None:
    body = np.broadcast_to(BODY, (12, 64, 64))
    masks = np.zeros((2, 12, 64, 64), dtype=np.uint8)
    masks[:, 4:8] = a_lesion()[:, None]
    fitted = fit_lesion(generator(3), masks, body, 30, (1, 1), 0.95)
    assert fitted is not None
    assert not (fitted.any(axis=0) & ~body).any()
    assert fitted.sum() == pytest.approx(masks.sum(), rel=0.15)
    centres = {draw_move(generator(0, i), body, 30, (0.8, 1.25)).centre[0] for i in range(100)}
    assert centres == set(range(12))  # anywhere along z


@settings(deadline=None, max_examples=30)
@given(
    rotate=st.floats(-180, 180),
    scale=st.floats(0.7, 1.6),
    y=st.floats(20, 43),
    x=st.floats(20, 43),
)
def test_area_grows_with_the_square_of_the_scale_and_parts_stay_apart(
    rotate: float, scale: float, y: float, x: float
) -> None:
    masks = a_lesion(radius=9)
    moved = move_lesion(masks, Move(rotate, scale, (y, x)))
    for before, after in zip(masks, moved, strict=True):
        area = scale**2 * before.sum()
        half_the_rim = np.sqrt(np.pi * area)  # pixels that lie half inside may fall to either side
        assert after.sum() == pytest.approx(area, abs=half_the_rim)
    assert set(np.unique(moved)) <= {0, 1}
    assert moved.dtype == np.uint8
    assert moved.sum(axis=0).max() <= 1  # core and ring did not overlap before either
    assert np.hypot(*(np.array(middle_of(moved)) - (y, x))) < 1


def test_what_leaves_the_frame_is_lost() -> None:
    masks = a_lesion()
    assert 0 < move_lesion(masks, Move(0, 1, (0.0, 30.0))).sum() < masks.sum()


def test_no_lesion_moves_nowhere() -> None:
    empty = np.zeros((2, 64, 64), dtype=np.uint8)
    assert not move_lesion(empty, Move(10, 1, (30, 30))).any()
    assert fit_lesion(generator(0), empty, BODY, 30, (0.8, 1.25), 0.95) is None


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_a_move_is_drawn_within_its_bounds(seed: int) -> None:
    move = draw_move(generator(seed), BODY, 30, (0.8, 1.25))
    assert abs(move.rotate_deg) <= 30
    assert 0.8 <= move.scale <= 1.25
    assert BODY[int(move.centre[0]), int(move.centre[1])]


def test_growing_and_shrinking_are_equally_likely() -> None:
    scales = [draw_move(generator(0, i), BODY, 30, (0.5, 2)).scale for i in range(400)]
    assert np.mean(np.log(scales)) == pytest.approx(0, abs=0.06)  # standard error 0.02


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), inside=st.sampled_from([0.6, 0.95, 1.0]))
def test_a_fitted_lesion_lies_in_the_body(seed: int, inside: float) -> None:
    masks = a_lesion(radius=9)
    fitted = fit_lesion(generator(seed), masks, BODY, 30, (1, 1), inside)
    if fitted is None:
        return  # drawn 40 times, and never inside: possible, and no lesion is better than half of one
    assert not (fitted.any(axis=0) & ~BODY).any()
    assert fitted.any(axis=0).sum() >= inside * masks.any(axis=0).sum()


def test_nearly_every_lesion_of_usual_size_fits() -> None:
    found = [fit_lesion(generator(0, i), a_lesion(), BODY, 30, (0.8, 1.25), 0.95) for i in range(30)]
    assert sum(lesion is not None for lesion in found) >= 29


def test_a_lesion_larger_than_the_body_fits_nowhere() -> None:
    small = np.hypot(Y - 31.5, X - 31.5) < 6
    assert fit_lesion(generator(0), a_lesion(radius=14), small, 30, (0.8, 1.25), 0.95) is None
