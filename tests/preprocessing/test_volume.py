"""Resizing a volume keeps aspect, place and small lesions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import center_of_mass, gaussian_filter

from synthoma.errors import ScanError
from synthoma.preprocessing import ResizeVolume
from synthoma.records import Grid, Scan

SPACINGS = [(1.0, 1.0, 1.0), (4.0, 0.9, 1.2), (0.7, 2.0, 2.0)]


def oblique(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    """A grid turned about two axes."""
    c, s = np.cos(0.3), np.sin(0.3)
    about_z, about_x = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag(spacing[::-1])
    affine[:3, 3] = (-71.3, 12.5, 33.0)
    return Grid.from_affine(shape, affine)


def worlds(grid: Grid) -> Any:
    """World coordinates of every voxel, (z, y, x, 3)."""
    z, y, x = np.indices(grid.shape)
    return (np.stack([x, y, z, np.ones_like(x)], axis=-1) @ grid.affine.T)[..., :3]


def sitk_image(array: Any, grid: Grid) -> Any:
    """As SimpleITK has it; directions are columns for x, y, z. LPS or RAS is no matter as long as both are the same."""
    import SimpleITK as sitk  # noqa: N813 (its own name for it)

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(np.asarray(grid.direction)[::-1].T.ravel().tolist())
    return image


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize(("size", "enlarge"), [((48, 40, 44), True), ((12, 16, 10), False), ((40, 40, 40), False)])
def test_simpleitk_finds_the_same_values(spacing: Any, interpolation: Any, size: Any, enlarge: bool) -> None:
    """The values are those that SimpleITK finds at the world positions that the new grid claims."""
    import SimpleITK as sitk  # noqa: N813 (its own name for it)

    shape = (14, 20, 17)
    image = gaussian_filter(np.random.default_rng(0).normal(size=shape), 1.0).astype(np.float32)
    before = oblique(shape, spacing)
    step = ResizeVolume(size=size, enlarge=enlarge, interpolation=interpolation)
    after = step(Scan({"t1": image}, {}, before, "P1"))
    factor = np.asarray(after.grid.spacing_mm) / before.spacing_mm
    assert np.ptp(after.grid.spacing_mm) < 1e-9
    smooth = gaussian_filter(image, np.maximum((factor - 1) / 2, 0), mode="nearest")
    like = sitk_image(np.zeros(size, dtype=np.float32), after.grid)
    method = sitk.sitkBSpline if interpolation == "cubic" else sitk.sitkLinear
    found = sitk.GetArrayFromImage(sitk.Resample(sitk_image(smooth, before), like, sitk.Transform(), method, 99.0))
    # Beyond the last centres SimpleITK repeats the border and ours fades to the background; splines see it from afar.
    border = 4 if interpolation == "cubic" else 0
    index = (np.concatenate([worlds(after.grid), np.ones((*size, 1))], -1) @ np.linalg.inv(before.affine).T)[..., 2::-1]
    deep = ((index >= border) & (index <= np.array(shape) - 1 - border)).all(axis=-1)
    assert deep.sum() > 10
    tolerance = 1e-2 if interpolation == "cubic" else 1e-4
    assert np.abs(after.channels["t1"] - found)[deep].max() < tolerance


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(*[st.integers(10, 30)] * 3),
    st.sampled_from(SPACINGS),
    st.tuples(*[st.integers(8, 36)] * 3),
    st.booleans(),
)
def test_a_field_that_is_linear_in_the_world_stays_so(shape: Any, spacing: Any, size: Any, enlarge: bool) -> None:
    """Averaging and interpolating keep it, so each voxel tells where it is; only the frame's edges are blurred."""
    before = oblique(shape, spacing)
    slope = np.array([0.3, -0.7, 0.5])
    image = (worlds(before) @ slope).astype(np.float32)
    scan = ResizeVolume(size=size, enlarge=enlarge)(Scan({"t1": image}, {}, before, "P1"))
    places = worlds(scan.grid)
    index = (np.concatenate([places, np.ones((*size, 1))], axis=-1) @ np.linalg.inv(before.affine).T)[..., 2::-1]
    border = 4 * np.maximum((np.asarray(scan.grid.spacing_mm) / spacing - 1) / 2, 0)  # four σ
    deep = ((index >= border) & (index <= np.array(shape) - 1 - border)).all(axis=-1)
    assert np.abs(scan.channels["t1"] - places @ slope)[deep].max(initial=0) < 2e-3
    # as small as fits: one axis is filled, none is cut
    extent = np.array(shape) * spacing
    side = np.asarray(scan.grid.spacing_mm) * size
    assert (side >= extent - 1e-6).all()
    assert np.isclose(side, extent).any() or (not enlarge and scan.grid.spacing_mm[0] == pytest.approx(min(spacing)))


def test_a_lesion_stays_at_its_place_and_keeps_its_volume() -> None:
    shape, spacing = (20, 60, 50), (3.0, 1.0, 1.0)
    grid = oblique(shape, spacing)
    distance = np.linalg.norm((np.indices(shape).T - [8, 35, 20]).T * np.array(spacing).reshape(3, 1, 1, 1), axis=0)
    lesion, body = (distance < 9).astype(np.uint8), (distance < 20).astype(np.uint8)
    scan = Scan({"t1": -distance.astype(np.float32)}, {"body": body, "lesion": lesion}, grid, "P1")
    small = ResizeVolume(size=24, crop="body", margin_mm=2)(scan)
    assert small.grid.shape == (24, 24, 24)
    assert small.grid.spacing_mm[0] == pytest.approx((39 + 4 + 1) / 24, rel=0.05)  # the body's box and its margin
    for name in ("body", "lesion"):
        volumes = [s.masks[name].sum() * np.prod(s.grid.spacing_mm) for s in (scan, small)]
        assert volumes[1] == pytest.approx(volumes[0], rel=0.05)
        centres = [(s.grid.affine @ [*center_of_mass(s.masks[name])[::-1], 1])[:3] for s in (scan, small)]
        assert np.linalg.norm(centres[0] - centres[1]) < 0.25


def test_scale_one_copies_every_voxel(make_scan: Callable[..., Scan]) -> None:
    image = np.random.default_rng(0).uniform(1, 2, (10, 12, 15))
    image[:, [0, -1]] = image[:, :, [0, -1]] = 0
    scan = make_scan({"t1": image, "lesion": image > 1.5})
    padded = ResizeVolume(size=20)(scan)
    assert np.array_equal(padded.channels["t1"][5:15, 4:16, 3:18], scan.channels["t1"])
    assert padded.channels["t1"].sum() == pytest.approx(scan.channels["t1"].sum())
    assert np.array_equal(padded.masks["lesion"][5:15, 4:16, 3:18], scan.masks["lesion"])
    assert padded.grid.spacing_mm == (1, 1, 1)
    assert not padded.grid.known
    assert ResizeVolume(size=30, enlarge=True)(scan).grid.spacing_mm == (0.5, 0.5, 0.5)
    assert ResizeVolume(size=(10, 12, 15))(scan).grid == scan.grid


def test_padding_is_background(make_scan: Callable[..., Scan]) -> None:
    image = np.full((8, 20, 10), -3.5)
    image[2:6, 5:15, 3:7] = 2
    scan = make_scan({"t1": image})
    assert ResizeVolume(size=32)(scan).channels["t1"][0, 0, 0] == np.float32(-3.5)
    assert ResizeVolume(size=32)(scan.with_(intensity={"t1": (0.0, 1.0)})).channels["t1"][0, 0, 0] == -1


def test_shrinking_is_antialiased(make_scan: Callable[..., Scan]) -> None:
    stripes = np.tile([0.0, 1.0], (64, 64, 32))
    for axis in range(3):
        small = ResizeVolume(size=16)(make_scan({"t1": np.swapaxes(stripes, axis, 2)})).channels["t1"]
        assert np.abs(small[4:-4, 4:-4, 4:-4] - 0.5).max() < 0.05


def test_cubic_never_overshoots(make_scan: Callable[..., Scan]) -> None:
    image = np.zeros((16, 16, 16))
    image[6:10, 6:10, 6:10] = 1
    step = ResizeVolume(size=40, enlarge=True, interpolation="cubic")
    big = step(make_scan({"t1": image})).channels["t1"]
    assert (big.min(), big.max()) == (0, 1)


def test_no_part_of_a_lesion_vanishes_silently(make_scan: Callable[..., Scan]) -> None:
    masks = {name: np.zeros((40, 64, 64), dtype=bool) for name in ("oedema", "necrosis", "cyst")}
    masks["oedema"][10:30, 20:40, 20:40] = True
    masks["necrosis"][21, 30, 50] = True
    scan = ResizeVolume(size=16)(make_scan({"t1": np.zeros((40, 64, 64)), **masks}))
    assert np.argwhere(scan.masks["necrosis"]).tolist() == [[8, 7, 12]]  # ((21, 30, 50) − start) / 4
    assert scan.masks["cyst"].sum() == 0
    assert 80 < scan.masks["oedema"].sum() <= 125
    assert scan.notes == ("necrosis: too small for the new voxels",)


@pytest.mark.parametrize("masks", [{}, {"body": np.zeros((8, 16, 16), dtype=bool)}])
def test_cropping_without_a_body_is_refused(make_scan: Callable[..., Scan], masks: dict[str, Any]) -> None:
    with pytest.raises(ScanError, match="P1: step resize_volume: expected a mask 'body' to crop to, found none"):
        ResizeVolume(crop="body")(make_scan({"t1": np.zeros((8, 16, 16)), **masks}))


@pytest.mark.parametrize("size", [4, (64, 64), (64, 64, 2000), "big"])
def test_sizes_that_make_no_sense(size: Any) -> None:
    with pytest.raises(ValidationError, match="size"):
        ResizeVolume(size=size)
