"""Resampling puts every voxel where SimpleITK finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial.transform import Rotation

from synthoma.errors import ScanError
from synthoma.preprocessing import Resample
from synthoma.preprocessing.resampling import resampled_grid, sampled
from synthoma.records import Grid, Scan


def grid_of(shape: Any, spacing: Any, angles: Any, origin: Any) -> Grid:
    """An oblique grid; a negative spacing turns an axis round."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", angles).as_matrix() @ np.diag(spacing[::-1])
    affine[:3, 3] = origin
    return Grid.from_affine(shape, affine)


def itk(array: Any, grid: Grid) -> Any:
    """As SimpleITK has it, in LPS."""
    import SimpleITK as sitk  # noqa: N813 (its own name for it)

    image = sitk.GetImageFromArray(array)
    lps = np.diag([-1.0, -1.0, 1.0])
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(lps @ grid.origin_mm)
    image.SetDirection((lps @ np.asarray(grid.direction)[::-1].T).ravel().tolist())
    return image


def itk_resampled(array: Any, before: Grid, spacing: Any, method: Any) -> Any:
    """What SimpleITK makes of it at this spacing, its middle kept, its size and origin worked out by SimpleITK."""
    import SimpleITK as sitk  # noqa: N813 (its own name for it)

    image = itk(array, before)
    size = [
        max(1, round(n * old / new))
        for n, old, new in zip(image.GetSize(), image.GetSpacing(), spacing[::-1], strict=True)
    ]
    like = sitk.Image(size, sitk.sitkFloat32)
    like.SetSpacing(spacing[::-1])
    like.SetDirection(image.GetDirection())
    middle = np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))
    own = np.array(like.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in size]))
    like.SetOrigin((middle - own).tolist())
    return sitk.Resample(image, like, sitk.Transform(), method, 99.0)


def affine_of(image: Any) -> Any:
    """The NIfTI affine of a SimpleITK image, by where it says its voxels lie."""
    corner = np.array(image.TransformIndexToPhysicalPoint((0, 0, 0)))
    columns = [np.array(image.TransformContinuousIndexToPhysicalPoint(unit)) - corner for unit in np.eye(3).tolist()]
    affine = np.eye(4)
    affine[:3] = np.diag([-1.0, -1.0, 1.0]) @ np.column_stack([*columns, corner])
    return affine


SHAPES = st.tuples(*[st.integers(8, 26)] * 3)
LENGTHS = st.tuples(*[st.floats(0.4, 5)] * 3)
ANGLES = st.tuples(*[st.floats(-3, 3)] * 3)
ORIGINS = st.tuples(*[st.floats(-300, 300)] * 3)


@settings(deadline=None, max_examples=25)
@given(SHAPES, LENGTHS, LENGTHS, ANGLES, ORIGINS, st.sampled_from(["linear", "cubic"]), st.integers(0, 99))
def test_affine_and_values_are_those_of_simpleitk(
    shape: Any, old: Any, new: Any, angles: Any, origin: Any, how: Any, seed: int
) -> None:
    import SimpleITK as sitk  # noqa: N813 (its own name for it)

    before = grid_of(shape, old, angles, origin)
    draw = np.random.default_rng(seed)
    image = gaussian_filter(draw.normal(size=shape), 1).astype(np.float32)
    lesion = (gaussian_filter(draw.normal(size=shape), 1) > 0.1).astype(np.uint8)
    step = Resample(spacing_mm=new, interpolation=how, antialias=False)
    after = step(Scan({"ct": image}, {"nodule": lesion}, before, "P1"))
    method = sitk.sitkBSpline if how == "cubic" else sitk.sitkLinear
    expected = itk_resampled(image, before, new, method)
    assert after.grid.shape == expected.GetSize()[::-1]
    far = np.array([*(n - 1 for n in expected.GetSize()), 1])
    for corner in (np.array([0, 0, 0, 1]), far):
        assert np.abs((after.grid.affine - affine_of(expected)) @ corner).max() < 1e-3
    index = [first + np.arange(n) * by for first, n, by in zip(*geometry(before, after.grid), strict=True)]
    border = 5 if how == "cubic" else 0  # beyond the last centres ours fades to the background, SimpleITK's does not
    inside = crossed([(i >= border) & (i <= n - 1 - border) for i, n in zip(index, shape, strict=True)], np.logical_and)
    tolerance = 5e-3 if how == "cubic" else 1e-4
    assert np.abs(after.channels["ct"] - sitk.GetArrayFromImage(expected))[inside].max(initial=0) < tolerance
    nearest = sitk.GetArrayFromImage(itk_resampled(lesion, before, new, sitk.sitkNearestNeighbor))
    tie = crossed([np.abs(i - np.floor(i) - 0.5) < 1e-4 for i in index], np.logical_or)
    clear = (nearest != 99) & ~tie
    assert np.array_equal(after.masks["nodule"][clear], nearest[clear])


def crossed(flags: Any, how: Any) -> Any:
    """Flags along z, y, x joined to one a voxel."""
    z, y, x = flags
    return how(how(z[:, None, None], y[None, :, None]), x[None, None, :])


def geometry(before: Grid, after: Grid) -> tuple[Any, Any, Any]:
    """First voxel, number and step of a grid along z, y, x, in voxels of another."""
    back = np.linalg.inv(before.affine) @ after.affine
    return back[:3, 3][::-1], after.shape, np.diag(back)[:3][::-1]


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(*[st.integers(6, 24)] * 3),
    st.tuples(*[st.integers(6, 24)] * 3),
    st.tuples(*[st.sampled_from([1.0, 0.5, 0.37, 1.7, 2.0, 3.3])] * 3),
    st.tuples(*[st.floats(-6, 12)] * 3),
    st.sampled_from([1, 3]),
    st.sampled_from([0.0, -1000.0]),
)
def test_matrices_are_scipys_filters(shape: Any, new: Any, step: Any, start: Any, order: Any, outside: float) -> None:
    image = np.random.default_rng(1).normal(0, 300, shape).astype(np.float32)
    by, first = np.array(step), np.array(start)
    smooth = gaussian_filter(image.astype(np.float64), np.maximum((by - 1) / 2, 0), mode="nearest")
    expected = affine_transform(smooth, by, first, new, order=order, mode="grid-constant", cval=outside)
    found = sampled(image, new, first, by, order, outside)
    assert np.abs(found - expected).max() < 1e-5 * (np.ptp(image) + abs(outside))


def test_only_the_wanted_axes_change(make_scan: Callable[..., Scan]) -> None:
    values = np.random.default_rng(0).normal(size=(6, 20, 20))
    scan = make_scan({"ct": values}, grid=grid_of((6, 20, 20), (5.0, 0.5, 0.5), (0, 0, 0), (0, 0, 0)))
    assert Resample(spacing_mm=(None, 1.0, 1.0))(scan).grid.spacing_mm == (5, 1, 1)
    assert Resample(spacing_mm=(None, 1.0, 1.0))(scan).grid.shape == (6, 10, 10)
    assert Resample(spacing_mm=1)(scan).grid.shape == (30, 10, 10)
    assert Resample(spacing_mm=(5, 0.5, None))(scan) is scan
    unknown = make_scan({"ct": values})
    with pytest.raises(ScanError, match="P1: step resample: expected a file that tells the spacing, found none"):
        Resample()(unknown)


def test_shrinking_is_antialiased_and_never_overshoots(make_scan: Callable[..., Scan]) -> None:
    stripes, grid = np.tile([0.0, 1.0], (24, 24, 12)), grid_of((24,) * 3, (1, 1, 1), (0, 0, 0), (0, 0, 0))
    for axis in range(3):
        scan = make_scan({"ct": np.swapaxes(stripes, axis, 2)}, grid=grid)
        small = Resample(spacing_mm=4)(scan).channels["ct"]
        assert np.abs(small[1:-1, 1:-1, 1:-1] - 0.5).max() < 0.05
        assert np.ptp(Resample(spacing_mm=4.5, antialias=False)(scan).channels["ct"]) > 0.5
        big = Resample(spacing_mm=0.4)(scan).channels["ct"]
        assert (big.min(), big.max()) == (0, 1)


@pytest.mark.parametrize("how", ["nearest", "linear"])
def test_a_finding_never_vanishes_silently(make_scan: Callable[..., Scan], how: Any) -> None:
    masks = {name: np.zeros((20, 40, 40), dtype=bool) for name in ("nodule-1", "nodule-2", "liver")}
    masks["nodule-1"][5:15, 10:30, 10:30] = True
    masks["nodule-2"][7, 33, 6] = True
    grid = grid_of((20, 40, 40), (1.0, 1.0, 1.0), (0.3, 0.2, 0.1), (5, 5, 5))
    labels = {"nodule-1": "benign", "nodule-2": "malignant"}
    scan = make_scan({"ct": np.zeros((20, 40, 40)), **masks}, grid=grid, labels=labels, organs=("liver",))
    after = Resample(spacing_mm=5.0, masks=how)(scan)
    assert np.argwhere(after.masks["nodule-2"]).tolist() == [[1, 6, 1]]
    assert after.notes == ("nodule-2: too small for the new voxels",)
    assert after.masks["nodule-1"].sum() * 125 == pytest.approx(4000, rel=0.1)
    assert (after.labels, after.organs, after.lesions) == (labels, ("liver",), ("nodule-1", "nodule-2"))


def test_background_lies_around_and_bad_values_are_refused(make_scan: Callable[..., Scan]) -> None:
    grid = grid_of((9, 21, 21), (1.0, 1.0, 1.0), (0, 0, 0), (0, 0, 0))
    air = np.full((9, 21, 21), -1000.0)
    air[2:7, 5:15, 5:15] = 40
    after = Resample(spacing_mm=2.5)(make_scan({"ct": air}, grid=grid))
    assert after.channels["ct"][0, 0, 0] == -1000
    normalised = make_scan({"ct": air / 1000}, grid=grid, intensity={"ct": (-1.0, 1.0)})
    assert Resample(spacing_mm=2.5)(normalised).channels["ct"][0, 0, 0] == -1
    air[3, 3, 3] = np.nan
    with pytest.raises(ScanError, match="P1: step resample, channel ct: expected finite values, found NaN"):
        Resample(spacing_mm=2.5)(make_scan({"ct": air}, grid=grid))
    with pytest.raises(ScanError, match=r"expected at most 2147483648 voxels, found 9000 × 21000 × 21000\.\nRaise"):
        Resample(spacing_mm=0.001)(make_scan({"ct": air}, grid=grid))


@pytest.mark.parametrize("spacing", [0, -1, (1, 1), "thin", (1, 1, 500)])
def test_spacings_that_make_no_sense(spacing: Any) -> None:
    with pytest.raises(ValidationError, match="spacing_mm"):
        Resample(spacing_mm=spacing)


def test_a_point_of_the_new_grid_is_where_it_was_read() -> None:
    grid = grid_of((8, 9, 10), (2.0, 1.0, 0.5), (0.4, -1.0, 2.0), (7, -8, 9))
    start, step = np.array([0.5, -2.0, 3.25]), np.array([1.5, 2.0, 0.25])
    new = resampled_grid(grid, (3, 4, 5), start, step)
    for voxel in ((0, 0, 0), (2, 3, 4)):
        source = start + np.array(voxel) * step
        assert np.allclose(new.affine @ [*voxel[::-1], 1], grid.affine @ [*source[::-1], 1])
