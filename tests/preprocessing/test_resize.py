"""Resizing keeps aspect, place and small lesions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import center_of_mass

from synthoma.errors import ScanError
from synthoma.preprocessing import Resize
from synthoma.records import Grid, Scan


def world_of(grid: Grid, voxel: tuple[float, ...]) -> Any:
    return (grid.affine @ [*voxel[::-1], 1])[:3]


@settings(deadline=None, max_examples=50)
@given(
    st.integers(24, 70),
    st.integers(24, 70),
    st.sampled_from([(1.0, 1.0), (0.9, 1.2), (2.0, 1.0)]),
    st.integers(16, 96),
    st.booleans(),
    st.sampled_from(["none", "body"]),
)
def test_a_point_stays_at_its_place(
    ny: int, nx: int, spacing: tuple[float, float], size: int, enlarge: bool, crop: Any
) -> None:
    y, x = np.indices((ny, nx))
    blob = np.exp(-(((y - 0.6 * ny) / 3) ** 2) - (((x - 0.4 * nx) / 3) ** 2))[None].astype(np.float32)
    direction = ((0.0, 0.0, 1.0), (0.6, 0.8, 0.0), (-0.8, 0.6, 0.0))
    grid = Grid((1, ny, nx), (5.0, *spacing), (3.0, -20.0, 7.0), direction)
    body = (blob > 0.01).astype(np.uint8)
    scan = Resize(size=size, enlarge=enlarge, crop=crop)(Scan({"t1": blob}, {"body": body}, grid, "P1"))
    assert scan.grid.shape == (1, size, size)
    assert scan.grid.spacing_mm[0] == 5
    assert scan.grid.spacing_mm[1] == pytest.approx(scan.grid.spacing_mm[2])
    before = world_of(grid, center_of_mass(blob))
    after = world_of(scan.grid, center_of_mass(scan.channels["t1"]))
    assert np.linalg.norm(after - before) < 0.5 * scan.grid.spacing_mm[1]
    # area in mm² is kept: nothing was cut away or stretched
    areas = [array.sum() * np.prod(g.spacing_mm[1:]) for array, g in ((blob, grid), (scan.channels["t1"], scan.grid))]
    assert areas[1] == pytest.approx(areas[0], rel=0.08)


def test_scale_one_copies_every_pixel(make_scan: Callable[..., Scan]) -> None:
    image = np.random.default_rng(0).uniform(1, 2, (2, 30, 21))
    image[:, [0, -1]] = image[:, :, [0, -1]] = 0
    scan = make_scan({"t1": image, "lesion": image > 1.5})
    padded = Resize(size=40)(scan)
    assert np.array_equal(padded.channels["t1"][:, 5:35, 10:31], scan.channels["t1"])
    assert padded.channels["t1"].sum() == pytest.approx(scan.channels["t1"].sum())
    assert np.array_equal(padded.masks["lesion"][:, 5:35, 10:31], scan.masks["lesion"])
    assert padded.grid.spacing_mm == (1, 1, 1)
    assert Resize(size=60, enlarge=True)(scan).grid.spacing_mm == (1, 0.5, 0.5)


def test_padding_is_background(make_scan: Callable[..., Scan]) -> None:
    image = np.full((1, 20, 10), -3.5)
    image[0, 5:15, 3:7] = 2
    scan = make_scan({"t1": image})
    assert Resize(size=32)(scan).channels["t1"][0, 0, 0] == np.float32(-3.5)
    assert Resize(size=32)(scan.with_(intensity={"t1": (0.0, 1.0)})).channels["t1"][0, 0, 0] == -1


def test_shrinking_is_antialiased(make_scan: Callable[..., Scan]) -> None:
    stripes = np.tile([0.0, 1.0], (1, 64, 32))
    small = Resize(size=16)(make_scan({"t1": stripes})).channels["t1"]
    assert np.abs(small[:, 4:-4, 4:-4] - 0.5).max() < 0.05


def test_cubic_never_overshoots(make_scan: Callable[..., Scan]) -> None:
    image = np.zeros((1, 16, 16))
    image[0, 6:10, 6:10] = 1
    big = Resize(size=64, enlarge=True, interpolation="cubic")(make_scan({"t1": image})).channels["t1"]
    assert big.min() == 0
    assert big.max() == 1


def test_cropping_uses_one_box_for_all_slices(make_scan: Callable[..., Scan]) -> None:
    image = np.random.default_rng(0).uniform(1, 2, (2, 64, 64))
    body = np.zeros((2, 64, 64), dtype=bool)
    body[0, 10:30, 20:30] = body[1, 20:42, 24:36] = True  # together 32 x 16
    scan = Resize(size=32, crop="body", margin_pixels=0)(make_scan({"t1": image, "body": body}))
    assert scan.masks["body"].sum() == body.sum()
    assert np.array_equal(scan.channels["t1"][scan.masks["body"] > 0], image.astype(np.float32)[body])


def test_no_part_of_a_lesion_vanishes_silently(make_scan: Callable[..., Scan]) -> None:
    masks = {name: np.zeros((3, 64, 64), dtype=bool) for name in ("oedema", "necrosis")}
    masks["oedema"][:, 20:40, 20:40] = True
    masks["necrosis"][1, 30, 30] = True
    scan = Resize(size=16)(make_scan({"t1": np.zeros((3, 64, 64)), **masks}))
    assert scan.masks["necrosis"].sum(axis=(1, 2)).tolist() == [0, 1, 0]
    assert scan.masks["oedema"].sum() * 16 == pytest.approx(masks["oedema"].sum(), rel=0.1)
    assert scan.notes == ("necrosis: too small for the new pixels in 1 slices",)


@settings(deadline=None, max_examples=40)
@given(st.integers(5, 40), st.integers(5, 40), st.integers(8, 32), st.sampled_from(["linear", "cubic"]))
def test_the_centre_is_cut_or_padded_and_nothing_is_interpolated(ny: int, nx: int, size: int, how: Any) -> None:
    values = np.random.default_rng(ny * 41 + nx).normal(5, 1, (2, ny, nx)).astype(np.float32)
    values[:, [0, -1]] = values[:, :, [0, -1]] = -3
    direction = ((0.0, 0.0, 1.0), (0.6, 0.8, 0.0), (-0.8, 0.6, 0.0))
    grid = Grid((2, ny, nx), (5.0, 0.7, 1.3), (3.0, -20.0, 7.0), direction)
    before = Scan({"ct": values}, {"nodule": (values > 5).astype(np.uint8)}, grid, "P1")
    after = Resize(size=size, crop="centre", interpolation=how)(before)
    assert after.grid.shape == (2, size, size)
    assert after.grid.spacing_mm == grid.spacing_mm
    found = np.full((2, size, size), -3, np.float32)
    masks = np.zeros((2, size, size), np.uint8)
    back = np.linalg.inv(grid.affine) @ after.grid.affine  # new pixel → old pixel, by way of the patient
    for y in range(size):
        for x in range(size):
            old_x, old_y, _, _ = np.rint(back @ [x, y, 0, 1]).astype(int)
            if 0 <= old_y < ny and 0 <= old_x < nx:
                found[:, y, x] = values[:, old_y, old_x]
                masks[:, y, x] = before.masks["nodule"][:, old_y, old_x]
    np.testing.assert_array_equal(after.channels["ct"], found)
    np.testing.assert_array_equal(after.masks["nodule"], masks)
    lost = (before.masks["nodule"].any(axis=(1, 2)) & ~masks.any(axis=(1, 2))).sum()
    assert after.notes == ((f"nodule: outside the cut in {lost} slices",) if lost else ())
    middle = (back @ [(size - 1) / 2, (size - 1) / 2, 0, 1])[:2]
    assert np.abs(middle - [(nx - 1) / 2, (ny - 1) / 2]).max() <= 0.5 + 1e-6


def test_the_centre_cannot_be_enlarged() -> None:
    with pytest.raises(ValidationError, match="crop 'centre' keeps the pixels as they are: expected enlarge false"):
        Resize(crop="centre", enlarge=True)


@pytest.mark.parametrize("masks", [{}, {"body": np.zeros((1, 16, 16), dtype=bool)}])
def test_cropping_without_a_body_is_refused(make_scan: Callable[..., Scan], masks: dict[str, Any]) -> None:
    with pytest.raises(ScanError, match="P1: step resize: expected a mask 'body' to crop to, found none"):
        Resize(crop="body")(make_scan({"t1": np.zeros((1, 16, 16)), **masks}))
